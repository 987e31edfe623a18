"""Trainings are kept: each is made once, whatever is killed or damaged in between."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from assets.embedding.serving import Serving
from assets.evaluation import left_out_embeddings as left_out
from assets.evaluation.left_out_embeddings import left_out_embeddings
from assets.inputs.workspace import Workspace
from embedder.baselines.rates import ModelMean
from embedder.downstream.left_out import LeftOut, fit_without
from embedder.matrix import CorrectnessMatrix
from embedder.questions import Questions

SETS = [frozenset(names) for names in (["a"], ["b"], ["c"], ["a", "b"], ["a", "c"], ["b", "c"])]


def make_served(version: str = "v1", seed: int = 0) -> Serving:
    """Six models' answers to twenty questions of each of "a", "b", "c"."""
    rng = np.random.default_rng(seed)
    names = np.repeat(np.array(["a", "b", "c"], object), 20)
    texts = np.array([f"question {number}" for number in range(60)], object)
    matrix = CorrectnessMatrix(
        labels=(rng.random((60, 6)) < np.linspace(0.2, 0.8, 6)).astype(np.float32),
        models=tuple("uvwxyz"),
        question_ids=texts,
        benchmarks=names,
        categories=names,
        splits=np.array(["train", "train", "test"] * 20, object),
        texts=texts,
    )
    questions = Questions(texts, rng.standard_normal((60, 4)).astype(np.float32), names)
    return Serving(version, ModelMean().fit(matrix, questions), matrix, questions)


class Watched:
    """A progress bar that remembers, and does something at a step."""

    def __init__(self, at: int = 0, does: object = None) -> None:
        self.seen: list[tuple[int, int]] = []
        self._at, self._does = at, does

    def __call__(self, done: int, total: int, label: str) -> None:
        self.seen.append((done, total))
        if done == self._at and callable(self._does):
            self._does()


def assert_same(found: dict[frozenset[str], LeftOut], expected: dict[frozenset[str], LeftOut]) -> None:
    assert list(found) == list(expected)
    for names, one in expected.items():
        np.testing.assert_array_equal(found[names].embeddings, one.embeddings)
        assert set(found[names].text) == set(names)
        for name in names:
            np.testing.assert_array_equal(found[names].text[name], one.text[name])


@pytest.fixture
def expected() -> dict[frozenset[str], LeftOut]:
    served = make_served()
    return {names: fit_without(served.matrix, served.questions, names) for names in SETS}


@pytest.fixture
def in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(left_out, "WORTH_PROCESSES", 0.0)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})


def files(workspace: Workspace) -> list[Path]:
    return sorted(workspace.home.glob("left_out/*/*"))


def test_what_is_there_is_not_trained_again(workspace: Workspace, expected: dict[frozenset[str], LeftOut]) -> None:
    watched = Watched()
    workspace = replace(workspace, progress=watched)
    first = left_out_embeddings(workspace, make_served(), SETS[:3])
    assert watched.seen == [(1, 3), (2, 3), (3, 3)]
    written = {path: path.stat().st_mtime_ns for path in files(workspace)}
    watched.seen.clear()
    everything = left_out_embeddings(workspace, make_served(), SETS)
    assert watched.seen == [(1, 3), (2, 3), (3, 3)]
    assert_same(everything, expected)
    assert_same(first, {names: expected[names] for names in SETS[:3]})
    assert written.items() <= {path: path.stat().st_mtime_ns for path in files(workspace)}.items()
    assert len(files(workspace)) == 6


def test_what_was_interrupted_goes_on(workspace: Workspace, expected: dict[frozenset[str], LeftOut]) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        left_out_embeddings(replace(workspace, progress=Watched(4, stop)), make_served(), SETS)
    watched = Watched()
    assert_same(left_out_embeddings(replace(workspace, progress=watched), make_served(), SETS), expected)
    assert watched.seen == [(1, 2), (2, 2)]


@pytest.mark.usefixtures("in_processes")
def test_processes_find_what_one_does_though_some_are_killed(
    workspace: Workspace, expected: dict[frozenset[str], LeftOut]
) -> None:
    started: list[int] = []

    def kill() -> None:
        for process in multiprocessing.active_children():
            started.append(process.pid or 0)
            process.kill()

    watched = Watched(2, kill)  # the first is trained in this process
    assert_same(left_out_embeddings(replace(workspace, progress=watched), make_served(), SETS), expected)
    assert watched.seen == [(done, 6) for done in range(1, 7)]
    assert len(started) == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "another's"])
def test_a_damaged_file_is_made_again(
    damage: str, workspace: Workspace, expected: dict[frozenset[str], LeftOut], caplog: pytest.LogCaptureFixture
) -> None:
    left_out_embeddings(workspace, make_served(), SETS[:2])
    victim, other = files(workspace)
    content = victim.read_bytes()
    victim.write_bytes(
        {
            "cut": content[:-9],
            "flipped": content[:-1] + bytes([content[-1] ^ 1]),
            "foreign": b"not a tensor in it",
            "another's": other.read_bytes(),
        }[damage]
    )
    watched = Watched()
    with caplog.at_level(logging.WARNING):
        found = left_out_embeddings(replace(workspace, progress=watched), make_served(), SETS[:2])
    assert_same(found, {names: expected[names] for names in SETS[:2]})
    assert watched.seen == [(1, 1)]
    assert f"{victim} is damaged" in caplog.text
    assert victim.read_bytes() == content


def test_other_answers_are_trained_on_though_the_version_is_the_same(workspace: Workspace) -> None:
    one = left_out_embeddings(workspace, make_served(seed=0), SETS[:1])
    two = left_out_embeddings(workspace, make_served(seed=1), SETS[:1])
    assert not np.array_equal(one[SETS[0]].text["a"], two[SETS[0]].text["a"])


def test_what_no_longer_serves_is_removed(workspace: Workspace) -> None:
    left_out_embeddings(workspace, make_served("v1"), SETS[:1])
    left_out_embeddings(workspace, make_served("v2"), SETS[:1])
    assert [path.parent.name for path in files(workspace)] == ["v2"]


def test_nothing_to_leave_out(workspace: Workspace) -> None:
    assert left_out_embeddings(workspace, make_served(), []) == {}


KILLED = """
import importlib.util, multiprocessing, os, signal, sys
from pathlib import Path
from assets.evaluation import left_out_embeddings as left_out
from assets.inputs.workspace import Workspace
from harness.registry import Registry

spec = importlib.util.spec_from_file_location("served", sys.argv[1])
served = importlib.util.module_from_spec(spec)
spec.loader.exec_module(served)
os.sched_getaffinity = lambda _: {0, 1}
left_out.WORTH_PROCESSES = 0.0

def progress(done, total, label):
    if done == 3:
        print(*(process.pid for process in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

home = Path(sys.argv[2])
workspace = Workspace(home, Registry(home, (), ()), progress=progress)
left_out.left_out_embeddings(workspace, served.make_served(), served.SETS)
"""


def test_a_killed_command_leaves_no_processes_and_loses_no_training(
    workspace: Workspace, expected: dict[frozenset[str], LeftOut]
) -> None:
    repository = Path(__file__).parents[3]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, __file__, str(workspace.home)],
        cwd=repository,
        env=os.environ | {"PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    workers = [int(pid) for pid in killed.stdout.split()]
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while (alive := [pid for pid in workers if _runs(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive
    watched = Watched()
    assert_same(left_out_embeddings(replace(workspace, progress=watched), make_served(), SETS), expected)
    assert watched.seen == [(1, 3), (2, 3), (3, 3)]


def _runs(pid: int) -> bool:
    """Whether the process exists and is no zombie, whose parent has yet to look."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
