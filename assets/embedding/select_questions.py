"""Which few questions a model is asked that is onboarded, and how it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow.compute as pc

from assets.inputs.entries import ENTRY, attempt_digest, entry_digest
from assets.inputs.workspace import Workspace
from embedder.errors import EmbedderError
from harness.checks import FIRST, check_share_unanswered
from harness.errors import HarnessError
from harness.registry import BenchmarkEntry
from warehouse.lake import question_ids

from .onboarded import answers_that_hold, open_pool
from .serving import serving_version

if TYPE_CHECKING:
    from embedder.spectral.fold_in import ModelPool
    from harness.evaluate import LoadedModel
    from harness.tasks import TaskIndex

BATCH = 16  # questions between two looks at the answers


class CannotOnboard(EmbedderError):
    """A model cannot be onboarded; the message says why and what to do instead."""


@dataclass(frozen=True)
class Asked:
    """What a model was asked now, and what it could not be asked."""

    answers: Mapping[str, int]  # by benchmark
    failed: Mapping[str, HarnessError]  # by benchmark; recorded in the lake


def check_onboarding(name: str, budget: int, workspace: Workspace) -> None:
    """Check that a model of this name can be onboarded from `budget` answers; this reads neither weights nor tasks.

    Raises:
        NoEmbedder: none was fitted yet.
        CannotOnboard: the model has been evaluated, or there are fewer training questions.
    """
    serving_version(workspace)
    registered = [benchmark.name for benchmark in _benchmarks_of(name, workspace)]
    evaluated = [benchmark for benchmark, model in workspace.lake.pairs() if model == name]
    if evaluated and set(registered) <= set(evaluated):
        raise CannotOnboard(
            f"{name} has been evaluated in full: it has answered all benchmarks, and nothing is left to predict."
        )
    if evaluated:
        raise CannotOnboard(
            f"{name} has answered {', '.join(evaluated[:3])}{', …' if evaluated[3:] else ''} in full, and a model is "
            "either evaluated or onboarded: leave `budget` out of its entry and use `embedllm run`, or register it "
            "under another name."
        )
    is_candidate = (pc.field("split") == "train") & pc.field("benchmark").isin(registered)
    _check_budget(budget, workspace.lake.questions().filter(is_candidate).num_rows)


def ask(workspace: Workspace, model: LoadedModel, budget: int, tasks: TaskIndex) -> Asked:
    """Ask `model` the training questions that say most about it, until the lake has `budget` answers of it.

    They are chosen in batches, across benchmarks, given the answers so far. Each answer is in the lake before the next
    batch is chosen, so that an interview that was killed continues where it was. A benchmark that fails is left out,
    and its failure is recorded.

    Raises:
        NoEmbedder: none was fitted yet.
        CannotOnboard: the model has been evaluated, or there are fewer training questions.
        HarnessError: no benchmark could be asked.
    """
    check_onboarding(model.name, budget, workspace)
    interview = _Interview.prepare(workspace, model, tasks)
    if interview.places:
        _check_budget(budget, len(interview.places))
    label = f"{model.name}: answers"
    while (missing := budget - interview.answered) > 0 and interview.is_open.any():
        workspace.progress(interview.answered, budget, label)
        interview.ask(min(BATCH, missing))
    if interview.failed and not interview.answered:
        raise next(iter(interview.failed.values()))
    workspace.progress(interview.answered, budget, label)
    return Asked(interview.given, interview.failed)


def _benchmarks_of(name: str, workspace: Workspace) -> Sequence[BenchmarkEntry]:
    """Return the benchmarks that the model is asked; all, where it is not registered yet."""
    registry = workspace.registry
    entry = next((model for model in registry.models if model.name == name), None)
    return registry.benchmarks_of(entry) if entry else registry.benchmarks


def _check_budget(budget: int, questions: int) -> None:
    if budget > questions:
        raise CannotOnboard(
            f"A budget of {budget:,} is more than the {questions:,} training questions there are to choose from: lower "
            "it, or leave it out and evaluate the model in full with `embedllm run`."
        )


class _Place(NamedTuple):
    """Where lm-eval finds a question."""

    benchmark: BenchmarkEntry
    task: str
    doc_id: int


@dataclass
class _Interview:
    """A model, the pool's Q questions, and how far it has been asked."""

    workspace: Workspace
    model: LoadedModel
    tasks: TaskIndex
    pool: ModelPool
    answers: np.ndarray  # (Q,): 1, 0, or NaN where not asked
    is_open: np.ndarray  # (Q,) bool: may be asked
    places: dict[int, _Place] = field(default_factory=dict)  # by row of the pool: training questions
    asked: dict[str, int] = field(default_factory=dict)  # by benchmark
    given: dict[str, int] = field(default_factory=dict)  # answers, by benchmark
    failed: dict[str, HarnessError] = field(default_factory=dict)

    @classmethod
    def prepare(cls, workspace: Workspace, model: LoadedModel, tasks: TaskIndex) -> _Interview:
        """Return an interview with the training questions of every benchmark that can be loaded, and the answers that
        hold."""
        pool, _ = open_pool(workspace)
        count = len(pool.matrix.question_ids)
        interview = cls(workspace, model, tasks, pool, np.full(count, np.nan), np.zeros(count, bool))
        for benchmark in workspace.registry.benchmarks_of(model.entry):
            try:
                interview._find(benchmark)
            except HarnessError as error:
                interview._fail(benchmark, error)
        known = answers_that_hold(workspace).get(model.name, {})
        interview.answers = np.array([known.get(question, np.nan) for question in pool.matrix.question_ids], float)
        interview.is_open[list(interview.places)] = True
        interview.is_open &= np.isnan(interview.answers)
        return interview

    @property
    def answered(self) -> int:
        return int((~np.isnan(self.answers)).sum())

    def ask(self, count: int) -> None:
        """Ask the `count` most informative questions."""
        chosen: dict[BenchmarkEntry, list[int]] = {}
        for row in self.pool.most_informative(self.answers, self.is_open, count).tolist():
            chosen.setdefault(self.places[row].benchmark, []).append(row)
        for benchmark, rows in chosen.items():
            try:
                self._ask(benchmark, rows)
            except HarnessError as error:
                self._fail(benchmark, error)

    def _find(self, benchmark: BenchmarkEntry) -> None:
        """Find the places of a benchmark's training questions; answers that were given by other weights are dropped."""
        from harness.evaluate import fingerprint

        lake, matrix = self.workspace.lake, self.pool.matrix
        known = lake.onboarding_metadata(benchmark.name, self.model.name)
        if known and known["fingerprint"] != fingerprint(self.model, benchmark, self.tasks):
            lake.drop_onboarding(self.model.name, benchmark.name)
        questions = self.tasks.questions(benchmark)
        ids = question_ids(benchmark.name, questions["text"].to_pylist())
        documents = zip(questions["task"].to_pylist(), questions["doc_id"].to_pylist(), strict=True)
        place = dict(zip(ids, documents, strict=True))
        for row in np.flatnonzero((matrix.benchmarks == benchmark.name) & (matrix.splits == "train")).tolist():
            if matrix.question_ids[row] in place:  # it may have left the benchmark, or come from an import alone
                self.places[row] = _Place(benchmark, *place[matrix.question_ids[row]])

    def _ask(self, benchmark: BenchmarkEntry, rows: list[int]) -> None:
        from harness.evaluate import evaluate

        row_of = {(self.places[row].task, self.places[row].doc_id): row for row in rows}
        subset: dict[str, list[int]] = {}
        for task, doc_id in row_of:
            subset.setdefault(task, []).append(doc_id)
        keep = self.workspace.keep_answers
        done = evaluate(self.model, benchmark, self.tasks, subset=subset, keep_answers=keep)
        stamp = {ENTRY: entry_digest(self.model.entry, benchmark, self.workspace)}
        if done.answers.num_rows:  # else none of these few was answered
            self.workspace.lake.write_onboarding(
                benchmark.name, self.model.name, done.answers, done.questions, {**done.metadata, **stamp}
            )
        self.model.forget(benchmark.name)  # its answers are in the lake now
        for answer in done.answers.select(["task", "doc_id", "correct"]).to_pylist():
            self.answers[row_of[answer["task"], answer["doc_id"]]] = answer["correct"]
        self.is_open[rows] = False
        asked = self.asked[benchmark.name] = self.asked.get(benchmark.name, 0) + len(rows)
        answered = self.given[benchmark.name] = self.given.get(benchmark.name, 0) + done.answers.num_rows
        if asked >= FIRST:
            check_share_unanswered(asked - answered, asked)

    def _fail(self, benchmark: BenchmarkEntry, error: HarnessError) -> None:
        """Record the failure of a benchmark, of which nothing more is asked."""
        entry = attempt_digest(self.model.entry, benchmark, self.workspace)
        self.workspace.lake.record_failure(benchmark.name, self.model.name, error.kind, str(error), entry=entry)
        self.failed[benchmark.name] = error
        self.is_open &= self.pool.matrix.benchmarks != benchmark.name
