"""With `ask_hub`, what lies elsewhere is compared too, and what cannot be is said."""

from collections.abc import Callable

import pytest

from assets.inputs.entries import ENTRY, entry_digest
from assets.inputs.local_state import LocalState
from assets.inputs.workspace import Workspace
from harness.errors import ModelNotFound
from harness.fingerprints import fingerprint_of
from pipelines.automation.answers import find_unanswered

CONFIGS = {"sums": "its definition"}
ELSEWHERE = "its branch on the hub, its task or lm-eval's version"


@pytest.fixture
def workspace(workspace: Workspace, answer: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Oak, of the hub's branch main at commit 1, has answered both benchmarks."""
    import importlib.metadata

    from harness.tasks import TaskIndex

    monkeypatch.setattr("harness.identity._resolved", lambda repository, revision: "commit 1")
    monkeypatch.setattr(TaskIndex, "configs", lambda self, benchmark: CONFIGS)
    oak, version = workspace.registry.model("org/oak"), importlib.metadata.version("lm_eval")
    for benchmark in workspace.registry.benchmarks:
        known = {
            ENTRY: entry_digest(oak, benchmark, workspace),
            "fingerprint": fingerprint_of(oak, benchmark, CONFIGS, 0, version),
        }
        answer(benchmark.name, "org/oak", "10", **known)
    return workspace


def oak(workspace: Workspace, local: LocalState) -> list[str]:
    return [want.tell() for want in find_unanswered(workspace, local).get("org/oak", [])]


def test_a_branch_that_has_moved_is_seen_only_when_the_hub_is_asked(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert oak(workspace, LocalState(workspace, ask_hub=True)) == []
    monkeypatch.setattr("harness.identity._resolved", lambda repository, revision: "commit 2")
    assert oak(workspace, LocalState(workspace)) == []
    asking = LocalState(workspace, ask_hub=True)
    assert oak(workspace, asking) == [f"sums: changed ({ELSEWHERE})", f"trees: changed ({ELSEWHERE})"]
    assert asking.unknown == []


def test_a_hub_out_of_reach_is_said_and_changes_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: str) -> str:
        raise ModelNotFound("the hub cannot be reached")

    monkeypatch.setattr("harness.identity._resolved", unreachable)
    asking = LocalState(workspace, ask_hub=True)
    assert oak(workspace, asking) == []
    assert asking.unknown == ["model 'org/oak': the hub cannot be reached"]
