"""The asset graph, stage by stage."""

import dagster as dg

from harness.entries import Registry

from .correctness_matrix import build_correctness_matrix
from .coverage import build_coverage
from .embedder import embedder
from .experiment import lake_tables
from .experiments import EXPERIMENTS
from .imported_results import imported_results
from .onboarding import onboarded
from .question_embeddings import question_embeddings
from .report import report
from .responses import build_responses
from .warehouse import warehouse
from .workspace import Workspace
from .zoo import zoo


def build_assets(registry: Registry) -> list[dg.AssetsDefinition]:
    """Every asset over this registry, in the order in which the chain runs."""
    return [
        *([zoo] if registry.made_by == "zoo" else []),
        *([build_responses(registry)] if registry.benchmarks else []),
        imported_results,
        build_correctness_matrix(registry),
        build_coverage(registry),
        question_embeddings,
        embedder,
        onboarded,
        *EXPERIMENTS,
        warehouse,
        report,
    ]


def build_resources(workspace: dg.ConfigurableResource[Workspace] | Workspace) -> dict[str, object]:
    """What the assets need."""
    return {"workspace": workspace, "lake_tables": lake_tables}
