"""The asset graph, stage by stage."""

import dagster as dg

from harness.entries import Registry

from .checks import CHECKS
from .correctness_matrix import build_correctness_matrix
from .coverage import build_coverage
from .embedder import embedder
from .experiments import EXPERIMENTS
from .imported_results import imported_results
from .onboarding import onboarded
from .provenance import EXPENSIVE
from .question_embeddings import question_embeddings
from .report import report
from .responses import build_responses
from .zoo import zoo

_EXPENSIVE = {experiment.asset.key for experiment in EXPERIMENTS if experiment.expensive}


def build_assets(registry: Registry) -> list[dg.AssetsDefinition]:
    """Every asset over this registry, in the order in which the chain runs."""
    assets = [
        *([zoo] if registry.made_by == "zoo" else []),
        *([build_responses(registry)] if registry.benchmarks else []),
        imported_results,
        build_correctness_matrix(registry),
        build_coverage(registry),
        question_embeddings,
        embedder,
        onboarded,
        *(experiment.asset for experiment in EXPERIMENTS),
        report,
    ]
    return [asset.map_asset_specs(_tag_expensive) for asset in assets]


def _tag_expensive(spec: dg.AssetSpec) -> dg.AssetSpec:
    return spec.merge_attributes(tags=EXPENSIVE) if spec.key in _EXPENSIVE else spec


def build_checks() -> list[dg.AssetChecksDefinition]:
    """What must hold of the data, whoever made it."""
    return list(CHECKS)
