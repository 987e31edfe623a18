"""Whether a cluster has a node for what a run needs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

__all__ = ["RAY_CONFIG", "find_shortage"]

RAY_CONFIG = "dagster-ray/config"
_NAMES = {"num_gpus": ("GPU", "GPUs"), "num_cpus": ("CPU", "processor cores"), "memory": ("memory", "bytes of memory")}


def find_shortage(tags: Mapping[str, str]) -> str | None:
    """Return what no node of the Ray cluster has that a run with these tags asks for, in words; None where one has it
    all, or nobody knows: the cluster does not tell, or is none of Ray's."""
    wanted = json.loads(tags.get(RAY_CONFIG, "{}"))
    nodes = _read_nodes() if wanted else []
    if not nodes or any(_has_room(node, wanted) for node in nodes):
        return None
    return ", ".join(
        f"{wanted[name]:,} {words} (the most on one is {max(node.get(key, 0) for node in nodes):,.0f})"
        for name, (key, words) in _NAMES.items()
        if wanted.get(name, 0) > max(node.get(key, 0) for node in nodes)
    )


def _has_room(node: Mapping[str, float], wanted: Mapping[str, float]) -> bool:
    return all(wanted.get(name, 0) <= node.get(key, 0) for name, (key, _) in _NAMES.items())


def _read_nodes() -> list[Mapping[str, float]]:
    """Return what each node that is alive has in all."""
    address = os.environ.get("RAY_API_SERVER_ADDRESS")
    if not address:
        return []
    from ray.util.state import list_nodes  # pyright: ignore[reportMissingImports]
    from ray.util.state.exception import RayStateApiException  # pyright: ignore[reportMissingImports]
    from requests import RequestException

    try:
        nodes: Any = list_nodes(address=address, filters=[("state", "=", "ALIVE")], raise_on_missing_output=False)
    except (RayStateApiException, RequestException, OSError):
        return []
    return [dict(node.resources_total) for node in nodes if node.resources_total]
