"""Kill -9 at random moments while ten models come in: everything completes without help, and nobody sees a half state.

EMBEDLLM_FAULTS is the number of kills; EMBEDLLM_FAULTS_SEED repeats the plan of a run that failed.
"""

import itertools
import os
import random
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from warehouse.files import locked

VICTIMS = ("worker", "daemon", "web server", "code server", "everything")
KILLS = max(int(os.environ.get("EMBEDLLM_FAULTS", len(VICTIMS))), 1)
SEED = int(os.environ.get("EMBEDLLM_FAULTS_SEED", random.SystemRandom().randrange(1_000_000)))
ENDS_IT = ("daemon", "web server", "everything")  # without these, the UI ends
BENCHMARKS, QUESTIONS, MODELS = 3, 40, 12
PAIRS = BENCHMARKS * MODELS
GROUPS = 4  # in which the models come
LOOKS = 31.0  # seconds in which the UI looks twice for what there is to do
AFTERWARDS = 420.0  # seconds that what is left to do may take; half a minute on an idle machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900 + 60 * KILLS)]
Finished = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Event:
    """A kill, or models that come."""

    after: int  # so many pairs of model and benchmark have been answered
    pause: float  # and seconds later
    victim: str = ""
    models: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.victim or f"{len(self.models)} models"


@dataclass(frozen=True)
class Siege:
    """A home after all this, and what was seen meanwhile."""

    home: Any
    reader: Any
    runs_beside_command: int  # that the UI started while a command held the home
    command_beside_work: Finished  # `embedllm run` while the UI asked a model
    second_ui: Finished
    command_beside_idle_ui: Finished


@pytest.fixture(scope="module")
def siege(
    tmp_path_factory: pytest.TempPathFactory,
    undisturbed: Callable[[], Any],  # which is made while the UI starts
    crowd: tuple[str, ...],
    write_registry: Callable[..., Path],
    add_model: Callable[[Path, str], None],
    embedllm_of: Callable[..., Any],
    home_of: Callable[[Any], Any],
    ui_of: Callable[[Any], Any],
    reader_of: Callable[[Path], Any],
    wait: Callable[..., None],
) -> Siege:
    folder = tmp_path_factory.mktemp("siege")
    registry = write_registry(folder / "registry", crowd[:2])
    command = embedllm_of(folder / "home", registry)
    home, ui, reader = home_of(command), ui_of(command), reader_of(command.home / "warehouse.duckdb")
    happened: list[str] = []
    try:
        with reader:
            runs = _open(home, ui, wait)
            beside_work = _run_beside_work(home, ui, wait)
            for event in _plan(crowd, random.Random(SEED)):
                wait(lambda event=event: home.answered() >= event.after, f"{event.after} answers, then {event}")
                if event.after == PAIRS:
                    wait(home.is_refreshing, "a refresh")
                time.sleep(event.pause)
                for model in event.models:
                    add_model(registry, model)
                if event.victim:
                    wait(lambda event=event: ui.kill(event.victim), f"a {event.victim} to kill", every=0.05)
                if event.victim in ENDS_IT:
                    wait(ui.has_ended, "the UI to end")
                if event.victim == "code server":
                    ui.stop()
                if event.victim not in ("", "worker"):
                    ui.start()
                happened.append(f"{time.strftime('%T')} {event}")
            wait(lambda: not home.to_do(), "everything to be done", seconds=AFTERWARDS, every=2)
            wait(lambda: reader.looks > 3, "somebody to have looked several times")
        second, beside_idle = command("ui", "--port", "1"), command("run")
    except BaseException as error:
        error.add_note(f"EMBEDLLM_FAULTS_SEED={SEED} ({', '.join(happened)}); to do: {home.to_do()}")
        raise
    finally:
        ui.stop()
    return Siege(home, reader, runs, beside_work, second, beside_idle)


def _open(home: Any, ui: Any, wait: Callable[..., None]) -> int:
    """Starts the UI while a command is at work; how many runs it starts meanwhile."""
    with locked(home.path / ".lock"):
        ui.start()
        wait(ui.is_up, "the UI")
        home.evaluate_at_once(2)
        time.sleep(LOOKS)
        return home.count_runs()


def _run_beside_work(home: Any, ui: Any, wait: Callable[..., None]) -> Finished:
    wait(home.evaluating, "the UI to ask a model")
    workers = ui.workers()
    for worker in workers:
        worker.suspend()  # so that it is not done before the command looks
    try:
        return home.command("run")
    finally:
        for worker in workers:
            worker.resume()


def _plan(models: Sequence[str], chance: random.Random) -> list[Event]:
    """The first two models are there; the others come while there is something to ask still. Kills come any time, the
    last of them in a refresh."""
    cuts = [2, *sorted(chance.sample(range(3, len(models)), GROUPS - 1)), len(models)]
    events = [
        Event(chance.randrange(BENCHMARKS * start), chance.uniform(0, 2), models=tuple(models[start:end]))
        for start, end in itertools.pairwise(cuts)
    ]
    several = max(KILLS - len(VICTIMS), 0)
    victims = [*chance.sample(VICTIMS, min(KILLS, len(VICTIMS))), *chance.choices(VICTIMS, k=several)]
    moments = [*(chance.randrange(PAIRS) for _ in victims[1:]), PAIRS]
    events += [Event(moment, chance.uniform(0, 3), victim) for moment, victim in zip(moments, victims, strict=True)]
    return sorted(events, key=lambda event: event.after)


def test_every_model_arrives_once_and_all_is_as_if_nothing_had_been_killed(
    siege: Siege, undisturbed: Callable[[], Any], differences: Callable[[Any, Any], list[str]]
) -> None:
    rows = siege.home.rows(
        "SELECT model, count(*) AS answers, count(DISTINCT question_id) AS questions "
        "FROM responses GROUP BY ALL ORDER BY ALL"
    )
    assert [(row["answers"], row["questions"]) for row in rows] == [(BENCHMARKS * QUESTIONS,) * 2] * MODELS
    assert siege.home.rows("SELECT DISTINCT status FROM coverage") == [{"status": "done"}]
    assert siege.home.rows("FROM failures") == []
    assert differences(siege.home, undisturbed()) == []


def test_nothing_is_left_behind(siege: Siege) -> None:
    assert siege.home.unfinished() == []
    assert siege.home.held_locks() == []
    assert siege.home.leftovers() == []


def test_readers_never_saw_a_half_state(siege: Siege) -> None:
    assert siege.reader.problems == []
    assert siege.reader.looks > 3  # of what is published once, at the end


def test_a_second_ui_says_that_there_is_one(siege: Siege) -> None:
    assert siege.second_ui.returncode == 1
    assert f"{siege.home.path} has a UI running already" in siege.second_ui.stderr


def test_the_ui_starts_nothing_while_a_command_works(siege: Siege) -> None:
    assert siege.runs_beside_command == 0


def test_a_command_says_that_the_ui_is_at_work(siege: Siege) -> None:
    assert siege.command_beside_work.returncode == 1
    assert "runs at work" in siege.command_beside_work.stderr


def test_a_command_beside_an_idle_ui_finds_everything_done(siege: Siege) -> None:
    assert siege.command_beside_idle_ui.returncode == 0, siege.command_beside_idle_ui.stderr
    assert "Nothing changed" in siege.command_beside_idle_ui.stderr
