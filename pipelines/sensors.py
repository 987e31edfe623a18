"""What runs by itself, while the daemon does (docs/operate.md): each can be switched off in the UI under Automation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import dagster as dg

from assets.partitions import MODELS
from assets.workspace import Workspace

from .jobs import REASON

EVERY = 5  # seconds between two looks
RUNNING = dg.DefaultSensorStatus.RUNNING
COLLECTION = dg.AssetSelection.key_prefixes("responses")


def build_sensors(open_workspace: Callable[[], Workspace]) -> list[dg.SensorDefinition]:
    """Partitions follow the registry, evaluations follow the partitions, everything else follows the answers."""

    @dg.sensor(
        name="registry",
        description="Keeps the partitions equal to models.yaml; answers of a model no longer there stay in the lake.",
        minimum_interval_seconds=EVERY,
        default_status=RUNNING,
    )
    def registry(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        wanted = [model.name for model in open_workspace().registry.models]
        known = set(context.instance.get_dynamic_partitions(str(MODELS.name)))
        added = [name for name in wanted if name not in known]
        removed = sorted(known - set(wanted))
        if not added and not removed:
            return dg.SkipReason(f"{len(wanted)} models, as before.")
        context.log.info("Added: %s. Removed: %s.", ", ".join(added) or "none", ", ".join(removed) or "none")
        changes = [MODELS.build_add_request(added), MODELS.build_delete_request(removed)]
        return dg.SensorResult(dynamic_partitions_requests=[change for change in changes if change.partition_keys])

    return [
        registry,
        _automation(
            name="evaluate_what_is_new",
            target=COLLECTION,
            description="Asks every model what it was never asked, or what its entry has changed since: a run a model.",
            run_tags={REASON: "a model or a benchmark is new, or its entry has changed", "dagster/max_retries": "0"},
        ),
        _automation(
            name="refresh_what_changed",
            target=dg.AssetSelection.all() - COLLECTION,
            description="Makes anew what was made from something else than what is there now, once all answers are in.",
            run_tags={REASON: "answers, the registry, a setting or code have changed"},
        ),
    ]


def _automation(
    name: str, description: str, target: dg.AssetSelection, run_tags: Mapping[str, str]
) -> dg.AutomationConditionSensorDefinition:
    """A sensor over the conditions of assets (assets/conditions.py), in the code server, as they are ours."""
    with warnings.catch_warnings(action="ignore", category=dg.BetaWarning):
        return dg.AutomationConditionSensorDefinition(
            name=name,
            description=description,
            target=target,
            run_tags=run_tags,
            minimum_interval_seconds=EVERY,
            default_status=RUNNING,
            emit_backfills=False,
            use_user_code_server=True,
        )
