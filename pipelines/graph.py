"""The asset graph, stage by stage."""

import dagster as dg

from assets.collection.imported_results import imported_results
from assets.collection.responses import build_responses
from assets.collection.zoo import zoo
from assets.embedding.embedder import embedder
from assets.embedding.onboarded import onboarded
from assets.embedding.question_embeddings import question_embeddings
from assets.evaluation.experiment import lake_tables
from assets.evaluation.experiments import EXPERIMENTS
from assets.evaluation.left_out_embeddings import left_out_embeddings
from assets.inputs.workspace import Workspace
from assets.matrix.correctness_matrix import build_correctness_matrix
from assets.matrix.coverage import build_coverage
from assets.report.report import report
from assets.report.warehouse import warehouse
from harness.registry import Registry


def build_assets(registry: Registry) -> list[dg.AssetsDefinition]:
    """Return every asset over this registry, in the order in which the chain runs."""
    return [
        *([zoo] if registry.made_by == "zoo" else []),
        *([build_responses(registry)] if registry.benchmarks else []),
        imported_results,
        build_correctness_matrix(registry),
        build_coverage(registry),
        question_embeddings,
        embedder,
        onboarded,
        left_out_embeddings,
        *EXPERIMENTS,
        warehouse,
        report,
    ]


def build_resources(workspace: dg.ConfigurableResource[Workspace] | Workspace) -> dict[str, object]:
    """Return what the assets need."""
    return {"workspace": workspace, "lake_tables": lake_tables}
