"""One door to the lake: append-only Delta tables with one commit point.

    questions     what can be asked; a row a question, the newest holds
    responses     graded answers, by benchmark and evaluation_id
    evaluations   a row an event (events.py). What has no event is not there: questions and answers are written first
    <table>       tables of later stages, columns as in schema.sql, of which a part is replaced at a time
Any number of processes, on any number of machines, write at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .answers import ANSWERS, FINGERPRINT, SOURCES, Written, accuracy_of, identified, lasting, merged_answers
from .contents import Contents
from .events import EVALUATION, ONBOARDING, Event, Pair, event_rows
from .failures import Failure, next_failure
from .questions import QUESTION_PART, described, merge_questions
from .upkeep import KEPT, Damage, compact, compact_events, find_damage, mend
from .writing import Writing, done

__all__ = ["Lake"]

_OURS = {SOURCES: json.dumps([EVALUATION])}
_MANY_FILES = 100  # of events: each makes the next commit, and the next look, slower
_REPLACED = "It was evaluated anew, because what determines its answers had changed."
_TAKEN_BACK = "Answers that it gave under an earlier entry hold again."


class Lake(Contents):
    """All that was evaluated, imported and computed, at `address`: a folder, or s3://, gs:// or az://…"""

    def __init__(self, address: Path | str) -> None:
        super().__init__(address)
        self._described: dict[str, tuple[pa.Table, pa.Table]] = {}
        self._taken: dict[str, tuple[pa.Table, pa.Table]] = {}

    # --- what is written comes in by one commit

    @contextmanager
    def together(self) -> Iterator[Writing]:
        """What this thread writes in the block reaches the lake in one commit at its end, and at `Writing.commit`.
        Until then nobody sees it. So it does where the block raises: what was finished before is not lost."""
        if (outer := getattr(self._here, "writing", None)) is not None:
            yield outer
            return
        writing = self._here.writing = Writing(self)
        self.tables.look_again("evaluations")  # what is written follows from what there is
        try:
            yield writing
        finally:
            self._here.writing = None
            writing.commit()

    def record(self, events: Sequence[Event]) -> None:
        """The commit: from now on they hold, whoever looks."""
        with self._lock:
            self.tables.look_again("evaluations")
            self._look()
            last = self._in_force.last
            placed = [replace(event, position=last + 1 + i) for i, event in enumerate(events)]
            self.tables.append("evaluations", event_rows(placed))
            self._events |= {event.event_id: event for event in placed}
            self._in_force = self._in_force.after(placed)
            table = self.tables.table("evaluations")
            if table and table.version() == (-1 if self._seen is None else self._seen) + 1:  # nobody else has written
                self._read_from = {uri.rpartition("/")[2] for uri in table.file_uris()}  # faster than `files`
                self._seen = table.version()
                if len(self._read_from) > _MANY_FILES:
                    compact_events(self)

    # --- evaluations

    def write_evaluation(
        self, benchmark: str, model: str, answers: pa.Table, questions: pa.Table, metadata: Mapping[str, str]
    ) -> Written:
        """Takes in the graded answers of one model to a benchmark, and the questions.

        `answers`: task, doc_id, correct, score and any of KNOWN_OF_ANSWERS; a subset of the questions is fine.
        `questions`: task, doc_id, text, category and perhaps target: every question of the benchmark in its own order
        (ids of equal texts depend on it). Answers of another fingerprint that were there are superseded.
        Raises ValueError where answers are absent, null, given twice or to no known question.
        """
        asked = self._describe(benchmark, questions)
        rows = identified(benchmark, model, answers, asked)
        with self.together() as writing:
            self.take_questions(writing, benchmark, asked)
            stored = self.now().answers.get((benchmark, model))
            wanted = done(benchmark, model, rows, _OURS | dict(metadata))
            replaced = stored is not None and stored.fingerprint != wanted.fingerprint
            if stored is not None and replaced:
                writing.add(stored.again("superseded", _REPLACED))
            self._put(writing, wanted, rows, None if replaced else stored)
        return Written(rows.num_rows, accuracy_of(rows), stored is None or stored.digest != wanted.digest)

    def _put(self, writing: Writing, wanted: Event, rows: pa.Table, stored: Event | None) -> None:
        """Adds answers, or only what is new of them."""
        if stored is None or (stored.digest, stored.metadata.get("known")) != (wanted.digest, wanted.metadata["known"]):
            writing.add_answers(wanted, rows)
        elif lasting(stored.metadata) != lasting(wanted.metadata):
            writing.add(replace(wanted, evaluation_id=stored.evaluation_id))
        else:
            self._clear(writing, *wanted.pair)

    def _describe(self, benchmark: str, questions: pa.Table) -> pa.Table:
        """The same questions come with every model."""
        before, known = self._described.get(benchmark, (None, None))
        if known is None or not questions.equals(before):
            known = described(benchmark, questions)
            self._described[benchmark] = questions, known
        return known

    def take_questions(self, writing: Writing, benchmark: str, asked: pa.Table) -> bool:
        """Adds what `asked` (QUESTION_PART) says that the lake does not have, if any. Raises SplitConflictError."""
        stored = self.questions_of(benchmark)
        taken_into, taken = self._taken.get(benchmark, (None, None))
        if stored is not None and stored is taken_into and asked is taken:
            return False  # the same questions come with every model
        merged = merge_questions(stored, asked)
        if stored is None:
            writing.add_questions(benchmark, merged)
        elif merged.equals(stored):
            self._taken[benchmark] = stored, asked
            return False
        else:
            before = {row["question_id"]: row for row in stored.to_pylist()}
            new = [row for row in merged.to_pylist() if before.get(row["question_id"]) != row]
            writing.add_questions(benchmark, pa.Table.from_pylist(new, schema=QUESTION_PART))
        return True

    def supersede(self, benchmark: str, model: str, why: str) -> bool:
        """Keeps the answers of the pair aside, with the reason (one sentence). False where it has none."""
        stored = self.now().answers.get((benchmark, model))
        if stored is not None:
            with self.together() as writing:
                writing.add(stored.again("superseded", why))
                writing.commit()  # what comes next looks whether they still hold
        return stored is not None

    def restore(self, benchmark: str, model: str, fingerprint: str) -> bool:
        """Takes superseded answers of this fingerprint back; those that are in their place are superseded.

        False, with nothing changed, where there are none, or a question of theirs has left the lake.
        """
        in_force = self.now()
        aside = in_force.superseded.get((benchmark, model), {}).get(fingerprint)
        active = in_force.answers.get((benchmark, model))
        if aside is None or (active is not None and active.fingerprint == fingerprint) or not self._asks(aside):
            return False
        with self.together() as writing:
            if active is not None:
                writing.add(active.again("superseded", _TAKEN_BACK))
            writing.add(aside.again("restored"))
            writing.commit()
        return True

    def _asks(self, answers: Event) -> bool:
        """Whether the lake has all questions that these answers are to."""
        known = self.questions_of(answers.benchmark)
        asked = self.rows_of(answers)["question_id"].to_pylist()
        return known is not None and set(asked) <= set(known["question_id"].to_pylist())

    def retire(self, pairs: Iterable[Pair], why: str) -> None:
        """Supersedes the answers of `pairs`, with the reason (one sentence)."""
        answers = self.now().answers
        with self.together() as writing:
            for pair in sorted(set(pairs) & answers.keys()):
                writing.add(answers[pair].again("superseded", why))

    def annotate(self, benchmark: str, model: str, metadata: Mapping[str, str]) -> None:
        """Adds to the metadata of the pair's answers, which hold; its failure, if any, is forgotten."""
        stored = self.now().answers[benchmark, model]
        known = stored.metadata | dict(metadata)
        with self.together() as writing:
            if known != stored.metadata:
                writing.add(stored.again("done", metadata=known))
            else:
                self._clear(writing, benchmark, model)

    # --- failures

    def record_failure(self, benchmark: str, model: str, kind: str, reason: str, entry: str = "") -> None:
        """Remembers why the pair has no (new) answers, until it gets some; `entry`: digest of its registry entry."""
        self.write_failure(benchmark, model, next_failure(self.failure(benchmark, model), kind, reason, entry))

    def write_failure(self, benchmark: str, model: str, failure: Failure) -> None:
        """Takes the place of the pair's failure, if it has one."""
        with self.together() as writing:
            writing.add(
                Event(
                    *("failed", benchmark, model),
                    kind=failure.kind,
                    attempts=failure.attempts,
                    entry=failure.entry,
                    reason=failure.reason,
                    recorded_at=failure.failed_at,
                )
            )

    def forget_failure(self, benchmark: str, model: str) -> None:
        """Nothing is left to be tried again."""
        with self.together() as writing:
            self._clear(writing, benchmark, model)

    def _clear(self, writing: Writing, benchmark: str, model: str) -> None:
        if (benchmark, model) in self.now().failures:
            writing.add(Event("cleared", benchmark, model))

    # --- answers to a chosen few questions, which nothing trains on

    def write_onboarding(
        self, benchmark: str, model: str, answers: pa.Table, questions: pa.Table, metadata: Mapping[str, str]
    ) -> Written:
        """Adds graded answers to those of the same fingerprint; those of another make place.

        All as in `write_evaluation`; a question answered twice has the newer answer.
        """
        asked = self._describe(benchmark, questions)
        rows = identified(benchmark, model, answers, asked)
        with self.together() as writing:
            self.take_questions(writing, benchmark, asked)
            stored = self.now().onboarding.get((benchmark, model))
            goes_on = stored if stored is not None and stored.fingerprint == metadata.get(FINGERPRINT) else None
            rows = merged_answers(self.rows_of(goes_on) if goes_on else ANSWERS.empty_table(), rows)
            wanted = done(benchmark, model, rows, _OURS | dict(metadata), ONBOARDING)
            self._put(writing, wanted, rows, stored)
        return Written(rows.num_rows, accuracy_of(rows), stored is None or stored.digest != wanted.digest)

    def drop_onboarding(self, model: str, benchmark: str | None = None) -> None:
        """Lets the model's onboarding answers (to one benchmark; None: to all) go: better ones took their place."""
        with self.together() as writing:
            for pair, event in sorted(self.now().onboarding.items()):
                if pair[1] == model and benchmark in (None, pair[0]):
                    writing.add(event.again("dropped"))

    # --- tables of later stages

    def add_question_embeddings(
        self, encoder: str, question_ids: Sequence[str], vectors: npt.NDArray[np.float32]
    ) -> None:
        """Adds `vectors` (n, d) of `question_ids` (n) as a part of the table question_embeddings."""
        table = pa.table(
            {
                "question_id": pa.array(question_ids, pa.string()),
                "encoder": pa.array([encoder] * len(question_ids), pa.string()),
                # Lists of variable length, so that encoders of different dimensions fit one table.
                "embedding": pa.array(list(vectors), pa.list_(pa.float32())),
            }
        )
        part = hashlib.sha256("\0".join([encoder, *question_ids]).encode()).hexdigest()[:16]
        self.write_table("question_embeddings", table, part)

    def write_table(self, name: str, table: pa.Table, part: str = "part") -> None:
        """Puts `table` in the place of one part of a later stage's table."""
        self._check_is_later(name)
        self.tables.replace(name, table, part)

    # --- upkeep, see upkeep.py

    def check(self) -> list[Damage]:
        """Reads everything whole; what cannot be read."""
        return find_damage(Lake(self.address))

    def mend(self, *, thoroughly: bool = False) -> list[Damage]:
        """Sets aside what cannot be read, so that it counts as missing and is made again; what that was."""
        fresh = Lake(self.address)  # this one may remember what is lost
        found = mend(fresh, thoroughly=thoroughly)
        if found:
            vars(self).update(vars(fresh))
        return found

    def compact(self, progress: Callable[[int, int, str], None] | None = None, kept: timedelta = KEPT) -> None:
        """Makes few large files of many small ones, and removes what nobody needs any more."""
        compact(self, kept=kept, progress=progress)
