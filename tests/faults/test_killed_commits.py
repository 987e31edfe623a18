"""Kill -9 before and after every commit of an evaluation, an import and a refresh: a rerun ends with the same tables as
if nothing had happened, and meanwhile all of a thing is in the lake or nothing of it."""

import itertools
import os
import random
import shutil
import signal
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from pipelines.cli.app import app
from tests.command import PROCESSES
from warehouse.imports.ingest import import_results
from warehouse.lake import Lake
from warehouse.lake.delta import DeltaTables

TEXTS = list("abcdef")


def evaluate(folder: Path, model: str = "m", grades: str = "110100", fingerprint: str = "f") -> None:
    asked = {"task": ["t"] * len(TEXTS), "doc_id": range(len(TEXTS))}
    correct = [grade == "1" for grade in grades]
    answers = pa.table({**asked, "correct": correct, "score": [float(one) for one in correct]})
    questions = pa.table({**asked, "text": TEXTS, "category": ["t"] * len(TEXTS)})
    Lake(folder / "lake").write_evaluation("sums", model, answers, questions, {"fingerprint": fingerprint})


def evaluate_again(folder: Path) -> None:
    """Under a changed entry: the answers before are superseded."""
    evaluate(folder, "before", "000111", "g")


def bring_in(folder: Path, wrong: int = 0, labelled: bool = True) -> None:
    rows = pd.DataFrame({"prompt_id": range(6)})
    rows["category"] = [f"subject{number % 2}" for number in rows.prompt_id]
    rows["prompt"] = [f"What is the answer to question {number}?" for number in rows.prompt_id]
    rows = rows.merge(pd.DataFrame({"model_name": ["org__a", "org__b"]}), how="cross")
    rows["label"] = (rows.prompt_id + wrong) % 2
    results, labels = folder / "results.parquet", folder / "models.csv"
    rows.to_parquet(results)
    labels.write_text("model,family\norg__a,a\norg__b,b\n")
    import_results(Lake(folder / "lake"), str(results), models=labels if labelled else None, benchmark_of=str)


def bring_in_again(folder: Path) -> None:
    """The source says otherwise now, and has lost what told of the models."""
    bring_in(folder, wrong=1, labelled=False)


def write_tables(folder: Path) -> None:
    lake = Lake(folder / "lake")
    lake.write_table("forecasts", pa.table({"model": ["m"], "predicted": [0.5]}), "part")
    lake.write_table("forecasts", pa.table({"model": ["n"], "predicted": [0.25]}), "another")
    lake.write_table("forecasts", pa.table({"model": ["o"], "predicted": [0.75]}), "part")


def contents(folder: Path) -> dict[str, Any]:
    """Whatever a user can see of a lake, without times."""
    lake = Lake(folder / "lake")
    return {
        "state": lake.state(),
        "questions": lake.questions().to_pylist(),
        "responses": lake.responses().to_pylist(),
        "superseded": lake.superseded().drop_columns("superseded_at").to_pylist(),
        "failures": lake.failures().num_rows,
        "imports": [{k: v for k, v in one.items() if k != "imported_at"} for one in lake.imports()],
        "labels": labels.to_pylist() if (labels := lake.labels()) else None,
        "forecasts": sorted(map(str, rows.to_pylist())) if (rows := lake.read_table("forecasts")) else None,
    }


def is_killed(step: Callable[[Path], None], folder: Path, moment: int) -> bool:
    """Runs it in a process of its own; False where it had ended before the moment came."""
    process = PROCESSES.Process(target=run_and_kill, args=(step, folder, moment))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def run_and_kill(step: Callable[[Path], None], folder: Path, moment: int) -> None:
    """Moments 0 and 1 are before and after the first commit, 2 and 3 before and after the second, and so on."""
    write, moments = DeltaTables._write, itertools.count()

    def pass_a_moment() -> None:
        if next(moments) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def writing(*arguments: Any, **how: Any) -> None:
        pass_a_moment()
        write(*arguments, **how)
        pass_a_moment()

    DeltaTables._write = writing
    step(folder)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Always in the same place, as an import is known by its path."""
    return tmp_path_factory.mktemp("killed") / "home"


@pytest.fixture(scope="module")
def filled(home: Path) -> Path:
    """A copy of the home with what is there before."""
    home.mkdir()
    evaluate(home, "before")
    Lake(home / "lake").record_failure("sums", "m", "failed", "it is broken")
    bring_in(home)
    return home.rename(home.with_name("filled"))


STEPS = {  # and how many commits each makes at least
    "evaluation": (evaluate, 2),
    "evaluation of a changed entry": (evaluate_again, 2),
    "first import": (bring_in, 6),
    "import that says otherwise": (bring_in_again, 3),
    "tables": (write_tables, 3),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_a_kill_at_any_commit_is_made_good_by_the_next_run(name: str, filled: Path, home: Path) -> None:
    step, commits = STEPS[name]

    def fresh() -> Path:
        shutil.rmtree(home, ignore_errors=True)
        return shutil.copytree(filled, home, ignore=shutil.ignore_patterns("lake") if name == "first import" else None)

    untouched = contents(fresh())
    step(home)
    undisturbed = contents(home)
    kills = 0
    while is_killed(step, fresh(), moment=kills):
        if name != "tables":  # of which each part is a thing of its own
            assert contents(home) in (untouched, undisturbed), kills
        step(home)
        assert contents(home) == undisturbed, kills
        kills += 1
    assert kills >= 2 * commits


@pytest.mark.slow
def test_a_refresh_killed_again_and_again_ends_like_one_undisturbed(
    copy: Any, small: Any, differences: Callable[[Any, Any], list[str]]
) -> None:
    """Of a home with answers and nothing else. Every run comes a few commits further."""
    for path in [*copy.path.iterdir(), *(copy.path / "lake").iterdir()]:
        if path.name not in ("lake", "questions", "responses", "evaluations"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    chance, kills = random.Random(0), 0
    step = partial(run_command, environment=copy.command.environment())
    while is_killed(step, copy.path, chance.randrange(1, 30)):
        kills += 1
        assert kills < 50
    assert kills >= 3
    assert copy.to_do() == []
    assert copy.leftovers() == []
    assert copy.lake.check() == []
    assert differences(copy, small) == []


def run_command(_: Path, environment: Mapping[str, str]) -> None:
    os.environ.update(environment)
    app(["run"], standalone_mode=False)
