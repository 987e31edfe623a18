"""What a model needs, in the words of what starts runs on other machines."""

from __future__ import annotations

import json

import dagster as dg

from harness.registry import ModelEntry, Resources

__all__ = ["launcher_tags", "tags_for"]

_RAY, _KUBERNETES = "RayRunLauncher", "K8sRunLauncher"
_GB = 10**9


def tags_for(model: ModelEntry, instance: dg.DagsterInstance) -> dict[str, str]:
    """Return the tags of a run that asks `model`: none where its needs are not known, or runs stay on this machine."""
    return launcher_tags(model.needs, type(instance.run_launcher).__name__) if model.needs else {}


def launcher_tags(resources: Resources, launcher: str) -> dict[str, str]:
    """Return the tags from which the run launcher of this class name sees what a run needs; none for others.

    Ray leaves a run in its queue until a node has room; Kubernetes, a pod pending.
    """
    memory = resources.memory_gb
    if launcher == _RAY:
        config = {"num_cpus": resources.cpus, "num_gpus": resources.gpus}
        return {"dagster-ray/config": json.dumps(config | ({"memory": int(memory * _GB)} if memory else {}))}
    if launcher == _KUBERNETES:
        gpus = {"nvidia.com/gpu": str(resources.gpus)} if resources.gpus else {}
        room = {"memory": f"{int(memory * _GB / 2**20)}Mi"} if memory else {}
        wanted = {"requests": {"cpu": f"{resources.cpus:g}", **room}, "limits": {**gpus, **room}}
        return {"dagster-k8s/config": json.dumps({"container_config": {"resources": wanted}})}
    return {}
