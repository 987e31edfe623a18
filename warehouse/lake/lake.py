"""The one door to the lake: append-only Delta tables with one commit point.

    questions     what can be asked: one row per question, of which the newest holds
    responses     graded answers, by benchmark and evaluation_id
    evaluations   one row per event (events.py); questions and answers are written before it, and do not count without
    <table>       tables of later stages, with the columns of schema.sql, of which one part is replaced at a time
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

from warehouse.database.connect import empty_table

from .answers import ANSWERS, FINGERPRINT, SOURCES, Written, accuracy_of, identify_questions, merge_answers
from .contents import Contents
from .events import EVALUATION, ONBOARDING, Event, Pair, event_rows
from .failures import Failure, next_failure
from .questions import QUESTION_PART, describe_questions, merge_questions
from .upkeep import KEPT, Damage, compact, compact_events, find_damage, mend
from .writing import Writing, done

__all__ = ["Lake"]

_MANY_FILES = 100  # of events: each slows down the next commit and the next look
_REPLACED = "It was evaluated again, because what determines its answers had changed."
_TAKEN_BACK = "Answers that it gave under an earlier entry hold again."


class Lake(Contents):
    """All that was evaluated, imported and computed, at `address`: a folder, or s3://, gs:// or az://…"""

    def __init__(self, address: Path | str) -> None:
        super().__init__(address)
        self._taken: dict[str, tuple[pa.Table, pa.Table]] = {}  # by benchmark, `asked` and the questions it was part of

    # --- the one commit

    @contextmanager
    def together(self) -> Iterator[Writing]:
        """What this thread writes in the block reaches the lake in one commit at its end, and at `Writing.commit`.
        Until then nobody sees it. Where the block raises, what was finished before is committed as well."""
        if (outer := getattr(self._here, "writing", None)) is not None:
            yield outer
            return
        writing = self._here.writing = Writing(self.tables, self.record)
        self.tables.look_again("evaluations")  # what is written follows from what there is
        try:
            yield writing
        finally:
            self._here.writing = None
            writing.commit()

    def record(self, events: Sequence[Event]) -> None:
        """Commit `events`: from now on they hold for everybody."""
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
        """Take in the graded answers of one model to a benchmark, and the questions.

        `answers`: task, doc_id, correct, score and any other columns of ANSWERS; a subset of the questions is fine.
        `questions`: task, doc_id, text, category and perhaps target: every question of the benchmark in its own order
        (ids of equal texts depend on it). Answers of another fingerprint that were there are superseded.
        Raises ValueError where answers are absent, null, given twice or to no known question.
        """
        return self._write(benchmark, model, answers, questions, metadata, EVALUATION)

    def write_onboarding(
        self, benchmark: str, model: str, answers: pa.Table, questions: pa.Table, metadata: Mapping[str, str]
    ) -> Written:
        """Add graded answers to a few chosen questions, which nothing trains on, to those of the same fingerprint;
        those of another are dropped.

        Everything is as in `write_evaluation`; of two answers to a question the newer one counts.
        """
        return self._write(benchmark, model, answers, questions, metadata, ONBOARDING)

    def _write(
        self,
        benchmark: str,
        model: str,
        answers: pa.Table,
        questions: pa.Table,
        metadata: Mapping[str, str],
        source: str,
    ) -> Written:
        asked = describe_questions(benchmark, questions)
        rows = identify_questions(benchmark, model, answers, asked)
        with self.together() as writing:
            self.take_questions(writing, benchmark, asked)
            in_force = self.now()
            before = (in_force.onboarding if source == ONBOARDING else in_force.answers).get((benchmark, model))
            stored = before if before and before.fingerprint == metadata.get(FINGERPRINT) else None
            if source == ONBOARDING:
                rows = merge_answers(self.rows_of(stored) if stored else ANSWERS.empty_table(), rows)
            elif before and not stored:
                writing.add(before.again("superseded", _REPLACED))
            event = done(benchmark, model, rows, {SOURCES: json.dumps([EVALUATION]), **metadata}, source)
            if not stored or (stored.digest, stored.metadata.get("known")) != (event.digest, event.metadata["known"]):
                writing.add_answers(event, rows)
            elif stored.lasting_metadata != event.lasting_metadata:
                writing.add(replace(event, evaluation_id=stored.evaluation_id))
            else:
                self.forget_failure(benchmark, model)
        return Written(rows.num_rows, accuracy_of(rows), before is None or before.digest != event.digest)

    def take_questions(self, writing: Writing, benchmark: str, asked: pa.Table) -> bool:
        """Add what `asked` (QUESTION_PART) says that the lake does not know; return whether there was something. Raises
        SplitConflictError."""
        stored = self.questions_of(benchmark)
        if stored is None:
            writing.add_questions(benchmark, merge_questions(None, asked))
            return True
        taken, taken_into = self._taken.get(benchmark, (None, None))
        if taken_into is stored and asked.equals(taken):
            return False  # the same questions come with every model
        merged = merge_questions(stored, asked)
        if merged.equals(stored):
            self._taken[benchmark] = asked, stored
            return False
        before = {row["question_id"]: row for row in stored.to_pylist()}
        new = [row for row in merged.to_pylist() if before.get(row["question_id"]) != row]
        writing.add_questions(benchmark, pa.Table.from_pylist(new, schema=QUESTION_PART))
        return True

    def supersede(self, benchmark: str, model: str, why: str) -> bool:
        """Set the answers of the pair aside, with the reason (one sentence). Return False where it has none."""
        is_there = (benchmark, model) in self.now().answers
        if is_there:
            self.retire([(benchmark, model)], why)
        return is_there

    def retire(self, pairs: Iterable[Pair], why: str) -> None:
        """Set the answers of `pairs` aside, with the reason (one sentence)."""
        answers = self.now().answers
        with self.together() as writing:
            for pair in sorted(set(pairs) & answers.keys()):
                writing.add(answers[pair].again("superseded", why))
            writing.commit()  # what comes next looks whether they still hold

    def restore(self, benchmark: str, model: str, fingerprint: str) -> bool:
        """Take superseded answers of this fingerprint back; those in their place are superseded.

        Return False, with nothing changed, where there are none, or a question of theirs has left the lake.
        """
        in_force, pair = self.now(), (benchmark, model)
        aside, active = in_force.superseded.get(pair, {}).get(fingerprint), in_force.answers.get(pair)
        if aside is None or (active is not None and active.fingerprint == fingerprint):
            return False
        known = self.questions_of(benchmark)
        asked = self.rows_of(aside)["question_id"].to_pylist()
        if known is None or not set(asked) <= set(known["question_id"].to_pylist()):
            return False
        with self.together() as writing:
            if active is not None:
                writing.add(active.again("superseded", _TAKEN_BACK))
            writing.add(aside.again("restored"))
            writing.commit()
        return True

    def annotate(self, benchmark: str, model: str, metadata: Mapping[str, str]) -> None:
        """Add to the metadata of the pair's answers, which hold; its failure, if any, is forgotten."""
        stored = self.now().answers[benchmark, model]
        known = stored.metadata | dict(metadata)
        with self.together() as writing:
            if known != stored.metadata:
                writing.add(stored.again("done", metadata=known))
            else:
                self.forget_failure(benchmark, model)

    def drop_onboarding(self, model: str, benchmark: str | None = None) -> None:
        """Drop the model's onboarding answers (to one benchmark; None: to all), since better ones took their place."""
        with self.together() as writing:
            for pair, event in sorted(self.now().onboarding.items()):
                if pair[1] == model and benchmark in (None, pair[0]):
                    writing.add(event.again("dropped"))

    # --- failures

    def record_failure(self, benchmark: str, model: str, kind: str, reason: str, entry: str = "") -> None:
        """Remember why the pair has no (new) answers, until it gets some; `entry`: digest of its registry entry."""
        self.write_failure(benchmark, model, next_failure(self.failure(benchmark, model), kind, reason, entry))

    def write_failure(self, benchmark: str, model: str, failure: Failure) -> None:
        """Replace the pair's failure, if it has one."""
        known = vars(failure).copy()
        recorded_at, node = known.pop("failed_at"), known.pop("node")
        metadata = {"node": node} if node else {}
        event = Event("failed", benchmark, model, recorded_at=recorded_at, metadata=metadata, **known)
        with self.together() as writing:
            writing.add(event)

    def forget_failure(self, benchmark: str, model: str) -> None:
        with self.together() as writing:
            if (benchmark, model) in self.now().failures:
                writing.add(Event("cleared", benchmark, model))

    # --- tables of later stages

    def add_question_embeddings(
        self, encoder: str, question_ids: Sequence[str], vectors: npt.NDArray[np.float32]
    ) -> None:
        """Add `vectors` (n, d) of `question_ids` (n) as a part of the table question_embeddings."""
        # Lists of variable length, so that encoders of different dimensions fit one table.
        columns = [question_ids, [encoder] * len(question_ids), list(vectors)]
        table = pa.table(columns, schema=empty_table("question_embeddings").schema)
        part = hashlib.sha256("\0".join([encoder, *question_ids]).encode()).hexdigest()[:16]
        self.write_table("question_embeddings", table, part)

    def write_table(self, name: str, table: pa.Table, part: str = "part") -> None:
        """Replace one part of a later stage's table with `table`."""
        self._check_is_later(name)
        self.tables.replace(name, table, part)

    # --- upkeep, see upkeep.py

    def check(self) -> list[Damage]:
        """Read everything, and return what cannot be read."""
        return find_damage(Lake(self.address))

    def mend(self, *, thoroughly: bool = False) -> list[Damage]:
        """Move away what cannot be read, so that it counts as missing and is made again; return what that was."""
        fresh = Lake(self.address)  # this one may remember what is lost
        found = mend(fresh, fresh.together, thoroughly=thoroughly)
        if found:
            vars(self).update(vars(fresh))
        return found

    def compact(self, progress: Callable[[int, int, str], None] | None = None, kept: timedelta = KEPT) -> None:
        """Merge many small files into few large ones, and remove what nobody needs any more."""
        compact(self, kept=kept, progress=progress)
