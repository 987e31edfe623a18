"""Importing results into the lake: all of a source or nothing of it.

find ─────────▶ read ─────────────────────▶ check ────────▶ merge with the lake ─▶ one commit
sources.py      read.py: layout.py, or      published.py    here                   lake/
log_files.py    logs.py and readers/
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from warehouse.errors import ImportRefused, SplitConflictError
from warehouse.lake import Lake
from warehouse.lake.answers import RUNS, SOURCES, complete_columns
from warehouse.lake.events import Event
from warehouse.lake.questions import describe_questions, digest_rows
from warehouse.lake.writing import Writing, done

from .labels import add_logged_labels, read_labels
from .log_files import find_places
from .logs import Progress
from .options import describe_options
from .problems import NameFault
from .published import Published, open_scratch
from .read import read_results
from .readers.reader import Choices, Notes, Reader, Run
from .shown import lacks_what_it_speaks_of
from .sources import digest_of
from .tables import checked_file

__all__ = ["ImportRefused", "ImportSummary", "OnConflict", "import_results"]

_ROWS = 500_000  # answers that wait in memory to be written

_DISPUTED = "disputed"
"""In the metadata of answers: JSON list of the questions on which sources do not agree."""

OnConflict = Literal["refuse", "majority", "drop", "first"]
"""What happens to two labels for one answer: the import is refused; the more frequent one counts and ties are dropped;
both are dropped; the one that came first counts."""


@dataclass(frozen=True)
class ImportSummary:
    source: str
    rows: int  # answers, each (question, model) counted once
    duplicates: int  # more rows that say the same
    models: int
    questions: int
    benchmarks: int
    changed: bool  # False: the lake held all of it already, or this was a dry run
    lacking: Mapping[str, tuple[int, int]]  # by benchmark: questions that lack what they speak of, and all questions
    overview: pa.Table  # model, benchmark, category, questions, accuracy
    runs: Mapping[tuple[str, str], Run]  # by model and category, how the answers of logs came about
    left_out: Mapping[tuple[str, str], int]  # by file and reason
    remarks: Sequence[str]  # sentences about what was read
    standing: Mapping[tuple[str, str], str]  # by benchmark and model: new, same, replaced, added (to others') or gone
    resolved: int = 0  # answers with two labels, about which `on_conflict` has decided
    resplit: int = 0  # questions that got the split of another with the same text


def import_results(
    lake: Lake,
    source: str | Sequence[str],
    *,
    file_format: str | None = None,
    readers: Sequence[Reader] | None = None,
    choices: Choices | None = None,
    split: Path | None = None,
    models: Path | None = None,
    benchmark_of: Callable[[str], str],
    model_fault: NameFault = lambda name: None,
    benchmark_fault: NameFault = lambda name: None,
    on_conflict: OnConflict = "refuse",
    resplit: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ImportSummary:
    """Import the results at `source` (see `find_places`) into the lake.

    Tables in the layout of EmbedLLM's authors are read as such, and anything else by the first of `readers` (None: all
    that there are) that recognises it, with the user's `choices`; with `file_format` by that one, which gets all files
    if it recognises none. `split`: a table of prompt_id and split, which overrides what tables say about splits.
    `models`: a table of model labels (see `read_labels`). `benchmark_of` returns the benchmark of a published category.
    `model_fault` and `benchmark_fault` return why a name cannot be used; None where it can. With `resplit`, questions
    with the same text get the same split: that of the one nearest to training. With `dry_run` everything is read and
    checked, and nothing written.

    What only this source brought before is replaced; where other sources brought answers of the same benchmark and
    model too, answers are added. Raises ImportRefused, with the lake untouched, where the data are invalid or
    contradict what the lake holds.
    """
    tell = progress or (lambda done, total, what: None)
    tell(0, 1, "import: finding the files")
    places = find_places([source] if isinstance(source, str) else source)
    labels = read_labels(models, model_fault) if models else None
    given = [checked_file(path) for path in (split, models) if path]
    notes = Notes()
    with tempfile.TemporaryDirectory() as folder, open_scratch(Path(folder) / "scratch") as scratch:
        tell(0, 1, "import: reading and checking")
        results, inputs = read_results(
            scratch, Path(folder), places, file_format, readers, choices or Choices(), split, notes, tell
        )
        results.grade(on_conflict)
        results.check_names(benchmark_of, model_fault, benchmark_fault)
        published = results.publish(places.name)
        labels = add_logged_labels(labels, published.runs)
        moved = published.resplit() if resplit else 0
        with lake.still(), lake.together() as writing:
            incoming = _Incoming(lake, writing, places.name, published, on_conflict, dry_run=dry_run)
            try:
                incoming.take_all(tell)
                incoming.withdraw()
                if dry_run:
                    writing.discard()
                else:
                    options = describe_options(choices or Choices(), file_format, on_conflict, resplit=resplit)
                    how = {"formats": list(results.formats), "options": options}
                    incoming.record(split, models, digest_of([*inputs, *given]), labels, how)
            except BaseException:
                writing.discard()
                raise
            return incoming.summary(moved, notes)


class _Incoming:
    """What differs from the lake in an import. Everything that is to be refused is refused before the commit."""

    def __init__(
        self,
        lake: Lake,
        writing: Writing,
        source: str,
        published: Published,
        on_conflict: OnConflict,
        *,
        dry_run: bool,
    ) -> None:
        self.lake = lake
        self.writing = writing
        self.source = source
        self.published = published
        self.on_conflict = on_conflict
        self.dry_run = dry_run
        self.changed = False
        self.resolved = 0
        self.standing: dict[tuple[str, str], str] = {}
        self.lacking: dict[str, tuple[int, int]] = {}
        self.contradictions: list[str] = []

    def summary(self, resplit: int, notes: Notes) -> ImportSummary:
        return ImportSummary(
            source=self.source,
            rows=self.published.rows,
            duplicates=self.published.duplicates,
            models=self.published.models,
            questions=self.published.questions,
            benchmarks=len(self.published.benchmarks),
            changed=self.changed,
            lacking=self.lacking,
            overview=self.published.overview(),
            runs=self.published.runs,
            left_out=notes.left_out,
            remarks=notes.remarks,
            standing=self.standing,
            resolved=self.published.resolved + self.resolved,
            resplit=resplit,
        )

    def take_all(self, tell: Progress) -> None:
        """Take in every benchmark. Raises ImportRefused where names or answers contradict what the lake has."""
        self.refuse_case_twins()
        count = len(self.published.benchmarks)
        for number, benchmark in enumerate(self.published.benchmarks):
            tell(number, count, "benchmarks imported")
            self.take_in(benchmark)
        if self.contradictions:
            more = len(self.contradictions) - 3
            shown = self.contradictions[:3] + ([f"{more} more pairs of model and benchmark differ"] if more > 0 else [])
            remedy = "choose with --on-conflict which of them count: majority, drop or first"
            raise ImportRefused(self.source, [*shown, remedy])
        tell(count, count, "benchmarks imported")

    def refuse_case_twins(self) -> None:
        """Raise ImportRefused where new names differ from names that the lake has and will keep in letter case only:
        most likely they are the same."""
        pairs = self.lake.pairs()
        known = {
            "benchmark": ({benchmark for benchmark, _ in pairs}, self.published.benchmarks),
            "model": ({model for _, model in pairs}, self.published.model_names()),
        }
        problems = []
        for place, (kind, (stored, brought)) in enumerate(known.items()):
            new_names = {name.casefold(): name for name in set(brought) - stored}
            for old in sorted(stored - set(brought)):
                new = new_names.get(old.casefold())
                if new and any(pair[place] == old and not self._is_only_ours(pair) for pair in pairs):
                    problems.append(
                        f"the {kind} name {new!r} differs from {old!r}, which the lake has, in letter case only; "
                        "write it alike"
                    )
        if problems:
            raise ImportRefused(self.source, problems)

    def _is_only_ours(self, pair: tuple[str, str]) -> bool:
        """Return whether this source alone brought the answers of the pair."""
        return _sources(self.lake.now().answers[pair]) == {self.source}

    def take_in(self, benchmark: str) -> None:
        asked = describe_questions(benchmark, self.published.questions_of(benchmark), self.source)
        texts = asked["text"].to_pylist()
        self.lacking[benchmark] = sum(map(lacks_what_it_speaks_of, texts)), len(texts)
        try:
            self.changed |= self.lake.take_questions(self.writing, benchmark, asked)
        except SplitConflictError as error:
            raise ImportRefused(self.source, [f"in {benchmark}, {error}"]) from error
        waiting = 0
        for model, rows in self.published.answers_of(benchmark):
            question_ids = asked["question_id"].take(rows["place"])
            self._take_answers(benchmark, model, complete_columns(rows.append_column("question_id", question_ids)))
            if (waiting := waiting + rows.num_rows) > _ROWS:
                self._spill()
                waiting = 0
        self._spill()

    def _spill(self) -> None:
        if not self.contradictions and not self.dry_run:
            self.writing.spill()

    def _take_answers(self, benchmark: str, model: str, rows: pa.Table) -> None:
        in_force = self.lake.now()
        stored = in_force.answers.get((benchmark, model)) or in_force.without_answers.get((benchmark, model))
        others = _sources(stored) - {self.source} if stored else set()
        metadata: dict[str, str] = {}
        if stored is not None and others:
            metadata = dict(stored.metadata)
            rows = self._merged(stored, rows, others, metadata)
        metadata |= {SOURCES: json.dumps(sorted({self.source, *others}))} | self._runs(benchmark, model, metadata)
        wanted = done(benchmark, model, rows, metadata, self.source)
        self.standing[benchmark, model] = (
            "new"
            if (benchmark, model) not in in_force.answers
            else "same"
            if stored and stored.digest == wanted.digest
            else "added"
            if others
            else "replaced"
        )
        if stored and (stored.digest, stored.metadata["known"]) == (wanted.digest, wanted.metadata["known"]):
            if stored.metadata == wanted.metadata:
                return
            self.writing.add(replace(wanted, evaluation_id=stored.evaluation_id))
        else:
            self.writing.add_answers(wanted, rows)
        self.changed = True

    def _runs(self, benchmark: str, model: str, metadata: Mapping[str, str]) -> dict[str, str]:
        """Return how the answers came about, as far as logs say, as the metadata of an event."""
        own = [
            {"source": self.source, **{k: v for k, v in asdict(run).items() if v and k not in ("model", "labels")}}
            for category in self.published.categories_of(benchmark)
            if (run := self.published.runs.get((model, category)))
        ]
        others = [run for run in json.loads(metadata.get(RUNS, "[]")) if run["source"] != self.source]
        return {RUNS: json.dumps([*others, *own], sort_keys=True)} if others or own else {}

    def _merged(self, before: Event, rows: pa.Table, others: set[str], metadata: dict[str, str]) -> pa.Table:
        """Return the answers of `before`, and those of `rows` to other questions. `metadata` is told on which questions
        the sources do not agree."""
        stored = self.lake.rows_of(before)
        disputed = set(json.loads(metadata.get(_DISPUTED, "[]")))
        known = dict(zip(stored["question_id"].to_pylist(), stored["correct"].to_pylist(), strict=True))
        brought = dict(zip(rows["question_id"].to_pylist(), rows["correct"].to_pylist(), strict=True))
        wrong = {question for question, correct in brought.items() if known.get(question, correct) != correct}
        if wrong and self.on_conflict == "refuse":
            self.contradictions.append(
                f"{len(wrong)} answers of {before.model} to {before.benchmark} differ from those that the lake has "
                f"from {_up_to_three(sorted(others))} (for example to question {min(wrong)})"
            )
        self.resolved += len(wrong)
        if self.on_conflict in ("drop", "majority"):  # one against one: there is no majority
            disputed |= wrong
        new = _without(rows, disputed | known.keys())
        if disputed:
            metadata[_DISPUTED] = json.dumps(sorted(disputed))
        return pa.concat_tables([_without(stored, disputed), new]).sort_by("question_id").combine_chunks()

    def withdraw(self) -> None:
        """Take back what this source alone brought before and brings no more: a model, or a benchmark that has
        another name because the registry groups categories differently."""
        in_force, left = self.lake.now(), set()
        for pair in sorted(in_force.answers.keys() - self.standing.keys()):
            if self._is_only_ours(pair):
                self.standing[pair] = "gone"
                self.writing.add(in_force.answers[pair].again("dropped", "Its import does not bring it any more."))
                self.changed = True
            else:
                left.add(pair[0])
        before = in_force.imports.get(self.source)
        gone = set(before.metadata["benchmarks"] if before else ()) - {*self.published.benchmarks, *left}
        for benchmark in sorted(gone & in_force.questions.keys()):
            self.writing.add(Event("withdrawn", benchmark, source=self.source))
            self.changed = True

    def record(
        self, split: Path | None, models: Path | None, digest: str, labels: pa.Table | None, how: Mapping[str, Any]
    ) -> None:
        """Record what was imported; the labels of models are written first, under a name of their own. `how`: what else
        `imports list` shows, which is no change of the results."""
        before = self.lake.now().imports.get(self.source)
        labels_digest = digest_rows(labels) if labels else None
        metadata: dict[str, Any] = {
            "split": str(split.resolve()) if split else None,
            "labels": str(models.resolve()) if models else None,
            "labels_digest": labels_digest,
            "labels_part": f"{self.source} {labels_digest}" if labels else None,
            "digest": digest,
            "rows": self.published.rows,
            "duplicates": self.published.duplicates,
            "models": self.published.models,
            "questions": self.published.questions,
            "benchmarks": self.published.benchmarks,
        }
        if labels is not None and metadata["labels_part"] not in self.lake.table_parts("imported_models"):
            self.lake.write_table("imported_models", labels, metadata["labels_part"])
            self.changed = True
        if before is None or {name: before.metadata.get(name) for name in metadata} != metadata:
            self.writing.add(Event("imported", source=self.source, metadata={**metadata, **how}))
            self.changed = True


def _sources(event: Event) -> set[str]:
    return set(json.loads(event.metadata[SOURCES]))


def _up_to_three(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _without(rows: pa.Table, questions: Collection[str]) -> pa.Table:
    return rows.filter(~pc.field("question_id").isin(pa.array(questions, pa.string())))
