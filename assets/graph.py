"""The asset graph, stage by stage."""

import dagster as dg

from harness.entries import Registry

from .checks import CHECKS
from .correctness_matrix import build_correctness_matrix
from .embedder import embedder
from .experiments import EXPERIMENTS
from .imported_results import imported_results
from .question_embeddings import question_embeddings
from .report import report
from .responses import build_responses
from .zoo import zoo


def build_assets(registry: Registry) -> list[dg.AssetsDefinition]:
    """Every asset of the registry in force, in the order the chain runs."""
    collection = [build_responses(registry)] if registry.benchmarks else []
    if registry.made_by == "zoo":
        collection.insert(0, zoo)
    return [
        *collection,
        imported_results,
        build_correctness_matrix(registry),
        question_embeddings,
        embedder,
        *(experiment.asset for experiment in EXPERIMENTS),
        report,
    ]


def build_checks() -> list[dg.AssetChecksDefinition]:
    """What must hold of the data, whoever made it."""
    return list(CHECKS)
