"""What a model needs, and how the run launchers of clusters are told."""

import json
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from assets.inputs.entries import entries_as_written
from harness.registry import ModelEntry, Resources
from pipelines.cluster.capacity import find_shortage
from pipelines.launchers import launcher_tags


def entry(**fields: Any) -> ModelEntry:
    return ModelEntry.model_validate({"name": "org/m", "args": {"pretrained": "org/m"}, **fields})


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({}, None),
        ({"size_b": 0.135}, (0, 1, 2.3)),
        ({"size_b": 7}, (1, 2, 16.0)),
        ({"size_b": 70}, (3, 6, 16.0)),
        ({"size_b": 7, "args": {"pretrained": "org/m", "dtype": "float32"}}, (1, 2, 16.0)),
        ({"size_b": 70, "args": {"pretrained": "org/m", "load_in_4bit": True}}, (1, 2, 16.0)),
        ({"size_b": 7, "resources": {"gpus": 2, "cpus": 8, "memory_gb": 64}}, (2, 8, 64)),
        (
            {"backend": "local-completions", "args": {"base_url": "http://x/v1", "model": "m"}, "size_b": 7},
            (0, 1, None),
        ),
    ],
)
def test_what_a_model_needs_follows_from_its_size_unless_its_entry_says_it(fields: dict, needs: tuple | None) -> None:
    found = entry(**fields).needs
    assert (found and (found.gpus, found.cpus, found.memory_gb)) == needs


@pytest.mark.parametrize(
    ("field", "value"), [("gpus", -1), ("gpus", 1.5), ("cpus", 0), ("memory_gb", "80"), ("tpus", 1)]
)
def test_a_mistake_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        entry(resources={field: value})


def test_launchers_are_told_in_their_own_words() -> None:
    resources = Resources(gpus=2, cpus=8, memory_gb=64)
    assert {tag: json.loads(text) for tag, text in launcher_tags(resources, "RayRunLauncher").items()} == {
        "dagster-ray/config": {"num_cpus": 8, "num_gpus": 2, "memory": 64_000_000_000}
    }
    tags = launcher_tags(resources, "K8sRunLauncher")
    assert {tag: json.loads(text) for tag, text in tags.items()} == {
        "dagster-k8s/config": {
            "container_config": {
                "resources": {
                    "requests": {"cpu": "8", "memory": "61035Mi"},
                    "limits": {"nvidia.com/gpu": "2", "memory": "61035Mi"},
                }
            }
        }
    }
    assert launcher_tags(resources, "DefaultRunLauncher") == {}


def test_on_which_machine_a_model_runs_changes_no_answer() -> None:
    plain, placed = entry(), entry(resources={"gpus": 2})
    workspace = SimpleNamespace(seed=0, registry=SimpleNamespace(made_by=None, models=[plain], benchmarks=[]))
    other = SimpleNamespace(seed=0, registry=SimpleNamespace(made_by=None, models=[placed], benchmarks=[]))
    assert entries_as_written(workspace) == entries_as_written(other)  # pyright: ignore[reportArgumentType]


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """What a stand-in for Ray tells of its nodes."""
    found: list[SimpleNamespace] = []
    state, errors = ModuleType("ray.util.state"), ModuleType("ray.util.state.exception")
    state.list_nodes = lambda **_: found  # type: ignore[attr-defined]
    errors.RayStateApiException = type("RayStateApiException", (Exception,), {})  # type: ignore[attr-defined]
    for module in (ModuleType("ray"), ModuleType("ray.util"), state, errors):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:8265")
    return found


def test_what_no_node_has_is_said(nodes: list[SimpleNamespace]) -> None:
    tags = launcher_tags(Resources(gpus=2, cpus=2, memory_gb=10), "RayRunLauncher")
    assert find_shortage(tags) is None  # nobody tells
    nodes.append(SimpleNamespace(resources_total={"CPU": 8.0, "GPU": 1.0, "memory": 6e9}))
    said = "2 GPUs (the most on one is 1), 10,000,000,000 bytes of memory (the most on one is 6,000,000,000)"
    assert find_shortage(tags) == said
    nodes.append(SimpleNamespace(resources_total={"CPU": 8.0, "GPU": 4.0, "memory": 5e10}))
    assert find_shortage(tags) is None
    assert find_shortage({}) is None
