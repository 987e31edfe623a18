"""Trainings without some benchmarks: each is made once, whatever is killed or damaged in between."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import psutil
import pytest

from assets.embedding.serving import Serving
from assets.evaluation import left_out_embeddings as left_out
from assets.inputs.workspace import Workspace
from embedder.baselines.rates import ModelMean
from embedder.downstream.left_out import fit_without, left_out_sets
from embedder.matrix import CorrectnessMatrix
from embedder.questions import Questions
from pipelines.graph import build_resources


def make_served(benchmarks: str = "abc", without: str = "") -> Serving:
    """Six models' answers to twenty questions of each of some of "a", "b", "c" and "d"; those to one of them can be
    left out."""
    rng = np.random.default_rng(0)
    names = np.repeat(np.array(list("abcd"), object), 20)
    texts = np.array([f"question {number}" for number in range(80)], object)
    labels = (rng.random((80, 6)) < np.linspace(0.2, 0.8, 6)).astype(np.float32)
    labels[np.flatnonzero(names == without)[::3]] = np.nan
    vectors = rng.standard_normal((80, 4)).astype(np.float32)
    matrix = CorrectnessMatrix(
        labels=labels,
        models=tuple("uvwxyz"),
        question_ids=texts,
        benchmarks=names,
        categories=names,
        splits=np.array(["train", "train", "test", "val"] * 20, object),
        texts=texts,
    )
    rows = np.isin(names, list(benchmarks))
    matrix, questions = matrix.rows(rows), Questions(texts, vectors, names).rows(rows)
    return Serving("v1", ModelMean().fit(matrix, questions), matrix, questions)


class Home:
    """A home with an embedder, in which trainings are counted."""

    def __init__(self, workspace: Workspace, patch: pytest.MonkeyPatch) -> None:
        self.workspace = replace(workspace, progress=self._progress)
        self.served = make_served()
        self.after: Callable[[int], object] = lambda done: None
        self.trained = 0
        patch.setattr(left_out, "load_serving", lambda _: self.served)

    def _progress(self, done: int, total: int, label: str) -> None:
        self.trained += 1
        assert done == self.trained
        self.after(done)

    def make(self) -> int:
        """How many trainings it took."""
        self.trained = 0
        dg.materialize([left_out.left_out_embeddings], resources=build_resources(self.workspace))
        return self.trained

    def is_right(self) -> bool:
        """Whether all that is read is what a training finds."""
        matrix, questions = self.served.matrix, self.served.questions
        found = left_out.load_left_out(self.workspace)
        assert list(found) == left_out_sets(set(matrix.benchmarks))
        for names, one in found.items():
            expected = fit_without(matrix, questions, names)
            np.testing.assert_array_equal(one.embeddings, expected.embeddings)
            if len(names) == 1:
                np.testing.assert_array_equal(one.text, expected.text)
        return True

    def files(self) -> list[Path]:
        tables = self.workspace.lake.tables
        return [Path(tables.at(left_out.TABLE), path) for path in tables.files(left_out.TABLE)["path"].to_pylist()]


@pytest.fixture
def home(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Home:
    return Home(workspace, monkeypatch)


@pytest.fixture
def in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(left_out, "WORTH_PROCESSES", 0.0)
    monkeypatch.setattr(left_out, "cpu_count", lambda: 2)


def find_workers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "--process-name" in child.cmdline()]


def test_each_is_trained_once(home: Home) -> None:
    assert home.make() == 6  # a, b, c, ab, ac, bc
    assert home.is_right()
    assert home.make() == 0


def test_one_more_benchmark_needs_only_what_is_new(home: Home) -> None:
    home.make()
    home.served = make_served("abcd")
    assert home.make() == 10 - 3  # without ad, bd and cd was trained when d was not there
    assert home.is_right()
    assert len(home.files()) == 10


def test_other_answers_are_trained_on(home: Home) -> None:
    home.make()
    home.served = make_served(without="c")
    assert home.make() == 4  # a, b, ab, and c, whose forecasts are of other questions
    assert home.is_right()
    assert len(home.files()) == 6


@pytest.mark.parametrize(("benchmarks", "trainings"), [("a", 0), ("ab", 2)])
def test_some_benchmark_must_remain(home: Home, benchmarks: str, trainings: int) -> None:
    home.served = make_served(benchmarks)
    assert home.make() == trainings
    assert home.is_right()


def test_who_needs_them_says_what_is_missing(home: Home) -> None:
    home.make()
    home.served = make_served("abcd")
    with pytest.raises(LookupError, match=r"7 of 10 trainings .* materialise left_out_embeddings first"):
        left_out.load_left_out(home.workspace)


def test_a_damaged_file_is_set_aside_and_trained_again(home: Home) -> None:
    home.make()
    victim = home.files()[2]
    victim.write_bytes(victim.read_bytes()[:-9])
    with pytest.raises(dg.Failure, match=f"{victim.name}.* cannot be read"):
        home.make()
    assert home.make() == 1
    assert home.is_right()


@pytest.mark.usefixtures("in_processes")
def test_processes_find_what_one_does_though_some_are_killed(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    killed: list[int] = []

    def kill(done: int) -> None:
        if done == 2:  # the first is trained in this process
            killed.extend(worker.pid for worker in find_workers())
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    home.after = kill
    assert home.make() == 6
    assert home.is_right()
    assert len(killed) == 2
    assert "trainings follow one after the other" in caplog.text


KILLED = """
import os, signal, sys
from pathlib import Path
import pytest
from assets.inputs.workspace import Workspace
from harness.registry import Registry
from tests.assets.evaluation import test_left_out_embeddings as tests

def kill(done):
    if done == 3:
        print(*(worker.pid for worker in tests.find_workers()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

tests.left_out.WORTH_PROCESSES, tests.left_out.cpu_count = 0.0, lambda: 2
home = tests.Home(Workspace(Path(sys.argv[1]), Registry(Path(sys.argv[1]), (), ())), pytest.MonkeyPatch())
home.after = kill
home.make()
"""


def test_a_killed_command_leaves_no_processes_and_loses_no_training(home: Home) -> None:
    repository = Path(__file__).parents[3]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(home.workspace.home)],
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
    assert home.make() == 3
    assert home.is_right()


def _runs(pid: int) -> bool:
    """Whether the process exists and is no zombie, whose parent has yet to look."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
