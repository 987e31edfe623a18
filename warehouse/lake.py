"""The lake: a Parquet file a (benchmark, model), one of questions a benchmark, and what later stages made.

    lake/responses/benchmark=<b>/model=<m>/part.parquet    RESPONSE_PART; metadata: what determined the answers
    lake/responses/benchmark=<b>/model=<m>/failure.json    why the last evaluation failed (failures.py)
    lake/superseded/benchmark=<b>/model=<m>/<id>.parquet   answers under an earlier entry (superseded.py)
    lake/onboarding/benchmark=<b>/model=<m>/part.parquet   RESPONSE_PART: answers to chosen questions only
    lake/questions/benchmark=<b>/part.parquet              QUESTION_PART
    lake/<table>/<part>.parquet                            tables of later stages, columns as in sql/schema.sql
    lake/damaged/...                                       what could not be read, under its path (damage.py)
Names are percent-encoded in paths. One process writes at a time; files appear whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from warehouse.answers import (
    FINGERPRINT,
    Written,
    accuracy_of,
    evaluation_table,
    identified,
    is_imported,
    lasting,
    merged_answers,
    read_responses,
    read_usage,
    response_part_metadata,
)
from warehouse.damage import NO_QUESTIONS, Damage, find_damage, find_new_damage, move_aside
from warehouse.failures import (
    INTERRUPTED,
    Failure,
    failure_table,
    next_failure,
    not_applicable_table,
    read_failure,
    write_failure,
)
from warehouse.files import content_digest, locked, metadata_of, read_metadata, read_parquet, write_parquet
from warehouse.layout import FAILURE, decoded, encoded, file_of, pairs_in, questions_file
from warehouse.questions import EVALUATION, described, merge_questions, read_questions
from warehouse.staging import Staging, open_staging, recover_staging
from warehouse.superseded import archive_path, stage_archive, stage_return, superseded_table

__all__ = ["Lake"]

_OWN = frozenset({"responses", "questions", "superseded", "onboarding", "damaged"})
_REPLACED = "It was evaluated anew, because what determines its answers had changed."
_TAKEN_BACK = "Answers that it gave under an earlier entry hold again."


class Lake:
    """All that was evaluated, imported and computed, as files under `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._digests: dict[Path, tuple[tuple[int, int, int], bytes]] = {}

    # --- paths

    def responses_path(self, benchmark: str, model: str) -> Path:
        return file_of(self.root / "responses", benchmark, model)

    def failure_path(self, benchmark: str, model: str) -> Path:
        return file_of(self.root / "responses", benchmark, model, FAILURE)

    def onboarding_path(self, benchmark: str, model: str) -> Path:
        return file_of(self.root / "onboarding", benchmark, model)

    def questions_path(self, benchmark: str) -> Path:
        return questions_file(self.root, benchmark)

    def table_path(self, name: str, part: str = "part") -> Path:
        if name in _OWN:
            raise ValueError(f"lake/{name} has files of its own: use write_evaluation and {name}()")
        return self.root / name / f"{encoded(part)}.parquet"

    # --- one writer at a time

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """No other process or thread writes during the block; what a killed one left is put right first."""
        with locked(self.root / ".lock"):
            recover_staging(self.root)
            yield

    @contextmanager
    def staging(self) -> Iterator[Staging]:
        """A folder to prepare many files in that reach the lake together."""
        with ExitStack() as stack:
            with self.exclusively():
                staging = stack.enter_context(open_staging(self.root))
            yield staging

    def recover(self) -> None:
        """Completes a landing that was cut short, removes staged files that were not ready to land."""
        with self.exclusively():
            pass

    # --- evaluations

    def write_evaluation(
        self, benchmark: str, model: str, answers: pa.Table, questions: pa.Table, metadata: Mapping[str, str]
    ) -> Written:
        """Takes in the graded answers of one model to a benchmark, and the questions.

        `answers`: task, doc_id, correct, score; a subset of the questions is fine. `questions`: task, doc_id,
        text, category: every question of the benchmark in its own order (ids of equal texts depend on it).
        Answers of another fingerprint that were there are superseded.
        Raises ValueError where answers are absent, null, given twice or to no known question.
        """
        asked = described(benchmark, questions)
        rows = identified(benchmark, model, answers, asked)
        wanted = response_part_metadata(benchmark, model, rows, [EVALUATION]) | dict(metadata)
        path = self.responses_path(benchmark, model)
        with self.exclusively():
            self._write_questions(benchmark, asked)
            stored = read_parquet(path) if path.exists() else None
            known = metadata_of(stored.schema) if stored else {}
            changed = stored is None or not stored.equals(rows)
            if stored is not None and known.get(FINGERPRINT) != wanted.get(FINGERPRINT):
                with open_staging(self.root) as staging:
                    stage_archive(staging, path, _REPLACED)
                    write_parquet(rows.replace_schema_metadata(wanted), staging.path_of(path))
                    staging.land()
            elif changed or lasting(known) != lasting(wanted):
                write_parquet(rows.replace_schema_metadata(wanted), path)
            self.failure_path(benchmark, model).unlink(missing_ok=True)
        return Written(rows.num_rows, accuracy_of(rows), changed)

    def _write_questions(self, benchmark: str, asked: pa.Table) -> None:
        path = self.questions_path(benchmark)
        stored = read_parquet(path) if path.exists() else None
        merged = merge_questions(stored, asked)
        if stored is None or not merged.equals(stored):
            write_parquet(merged, path)

    def response_metadata(self, benchmark: str, model: str) -> dict[str, str] | None:
        """What determined the answers of the pair (fingerprint, versions, …); None where it has none."""
        return _metadata(self.responses_path(benchmark, model))

    def pairs(self) -> list[tuple[str, str]]:
        """(benchmark, model) of every response file, sorted."""
        return pairs_in(self.root / "responses")

    def responses(self) -> pa.Table:
        """All responses (RESPONSES), a row a question that a model was asked; by benchmark and model."""
        return read_responses(self.root / "responses")

    def usage(self) -> pa.Table:
        """The tokens and US$ that answers took (question_id, model, USAGE), where that is known."""
        return read_usage(self.root / "responses")

    def questions(self) -> pa.Table:
        """All questions (QUESTIONS), by benchmark, task and doc_id."""
        return read_questions(self.root / "questions")

    def count_questions(self) -> int:
        """How many questions there are, without reading them."""
        return sum(pq.read_metadata(path).num_rows for path in self.root.glob("questions/benchmark=*/part.parquet"))

    def state(self) -> str:
        """Digest of what collection brought: questions, answers, labels of imported models.

        The same rows have the same digest, whenever and under whichever fingerprint they came in.
        """
        patterns = ("questions/*/part.parquet", "responses/*/*/part.parquet", "imported_models/[!.]*.parquet")
        return self.digest_of(path for pattern in patterns for path in sorted(self.root.glob(pattern)))

    def digest_of(self, paths: Iterable[Path]) -> str:
        """Digest of the rows in the files at `paths`; a file is read again only when it changes."""
        digest = hashlib.sha256()
        for path in paths:
            try:
                digest.update(str(path.relative_to(self.root)).encode() + b"\0" + self._content_digest(path))
            except FileNotFoundError:  # superseded since it was listed
                continue
        return digest.hexdigest()[:16]

    def _content_digest(self, path: Path) -> bytes:
        status = path.stat()
        version = (status.st_ino, status.st_size, status.st_mtime_ns)
        known, digest = self._digests.get(path, (None, b""))
        if known != version:
            digest = content_digest(path)
            self._digests[path] = (version, digest)
        return digest

    # --- answers under earlier entries

    def supersede(self, benchmark: str, model: str, why: str) -> bool:
        """Keeps the answers of the pair aside, with the reason (one sentence). False where it has none."""
        with self.exclusively():
            if not self.responses_path(benchmark, model).exists():
                return False
            self._supersede([(benchmark, model)], why)
        return True

    def _supersede(self, pairs: Iterable[tuple[str, str]], why: str) -> None:
        with open_staging(self.root) as staging:
            for path in (self.responses_path(*pair) for pair in pairs):
                stage_archive(staging, path, why)
                staging.remove(path)
            staging.land()

    def restore(self, benchmark: str, model: str, fingerprint: str) -> bool:
        """Takes superseded answers of this fingerprint back; those that are in their place are superseded.

        False, with nothing changed, where there are none, or a question of theirs has left the lake.
        """
        path = self.responses_path(benchmark, model)
        archive = archive_path(self.root, benchmark, model, fingerprint)
        with self.exclusively():
            active = _metadata(path)
            if not archive.exists() or (active or {}).get(FINGERPRINT) == fingerprint or not self._asks(archive):
                return False
            with open_staging(self.root) as staging:
                if active is not None:
                    stage_archive(staging, path, _TAKEN_BACK)
                stage_return(staging, archive, path)
                staging.land()
        return True

    def _asks(self, answers: Path) -> bool:
        """Whether the lake has all questions that `answers` (a file) are to."""
        path = self.questions_path(read_metadata(answers)["benchmark"])
        if not path.exists():
            return False
        known, asked = (set(read_parquet(p, ["question_id"])["question_id"].to_pylist()) for p in (path, answers))
        return asked <= known

    def retire(self, keep: Callable[[str, str], bool], why: str) -> list[tuple[str, str]]:
        """Supersedes the answers of every (benchmark, model) that is not to be kept, and returns these.

        Pairs with imported answers stay: an import takes back what it brought.
        """
        with self.exclusively():
            leaving = [pair for pair in self.pairs() if not keep(*pair)]
            leaving = [pair for pair in leaving if not is_imported(self.response_metadata(*pair) or {})]
            if leaving:
                self._supersede(leaving, why)
        return leaving

    def superseded(self) -> pa.Table:
        """The sets of answers that are kept aside (SUPERSEDED), a row a set."""
        return superseded_table(self.root)

    def annotate(self, benchmark: str, model: str, metadata: Mapping[str, str]) -> None:
        """Adds to the metadata of the pair's answers, which hold; its failure, if any, is forgotten."""
        path = self.responses_path(benchmark, model)
        with self.exclusively():
            known = read_metadata(path)
            if known | dict(metadata) != known:
                rows = read_parquet(path)
                write_parquet(rows.replace_schema_metadata(known | dict(metadata)), path)
            self.failure_path(benchmark, model).unlink(missing_ok=True)

    # --- failures

    def record_failure(self, benchmark: str, model: str, kind: str, reason: str, entry: str = "") -> None:
        """Remembers why the pair has no (new) answers, until it gets some; `entry`: digest of its registry entry."""
        path = self.failure_path(benchmark, model)
        with self.exclusively():
            write_failure(next_failure(read_failure(path), kind, reason, entry), path)

    def failure(self, benchmark: str, model: str) -> Failure | None:
        """Why the pair's last evaluation failed; None where it did not."""
        return read_failure(self.failure_path(benchmark, model))

    def forget_failure(self, benchmark: str, model: str) -> None:
        """Nothing is left to be tried again."""
        with self.exclusively():
            self.failure_path(benchmark, model).unlink(missing_ok=True)

    def failures_state(self) -> str:
        """Digest of which pairs failed, and why; neither of when nor of how often."""
        failures = [row for row in self.failures().to_pylist() if row["kind"] != INTERRUPTED]
        reasons = [{name: row[name] for name in ("benchmark", "model", "kind", "reason")} for row in failures]
        return hashlib.sha256(json.dumps(reasons).encode()).hexdigest()[:16]

    def failures(self) -> pa.Table:
        """The pairs whose last evaluation failed (FAILURES)."""
        return failure_table(self.root / "responses")

    def not_applicable(self) -> pa.Table:
        """benchmark, model and reason of the pairs that were found not to be askable."""
        return not_applicable_table(self.root / "responses")

    def evaluations(self) -> pa.Table:
        """How far the answers of each pair can be trusted (EVALUATIONS), as its evaluation noted it."""
        return evaluation_table((*pair, self.response_metadata(*pair) or {}) for pair in self.pairs())

    # --- answers to a chosen few questions, which nothing trains on

    def write_onboarding(
        self, benchmark: str, model: str, answers: pa.Table, questions: pa.Table, metadata: Mapping[str, str]
    ) -> Written:
        """Adds graded answers to those of the same fingerprint; those of another make place.

        All as in `write_evaluation`; a question answered twice has the newer answer.
        """
        asked = described(benchmark, questions)
        rows = identified(benchmark, model, answers, asked)
        path = self.onboarding_path(benchmark, model)
        with self.exclusively():
            self._write_questions(benchmark, asked)
            stored = read_parquet(path) if path.exists() else None
            if stored is not None and metadata_of(stored.schema).get(FINGERPRINT) == metadata.get(FINGERPRINT):
                rows = merged_answers(stored, rows)
            changed = stored is None or not stored.equals(rows)
            if changed:
                described_by = response_part_metadata(benchmark, model, rows, [EVALUATION]) | dict(metadata)
                write_parquet(rows.replace_schema_metadata(described_by), path)
            self.failure_path(benchmark, model).unlink(missing_ok=True)
        return Written(rows.num_rows, accuracy_of(rows), changed)

    def onboarding_metadata(self, benchmark: str, model: str) -> dict[str, str] | None:
        """What determined the onboarding answers of the pair; None where it has none."""
        return _metadata(self.onboarding_path(benchmark, model))

    def onboarding_responses(self) -> pa.Table:
        """All onboarding answers (RESPONSES), by benchmark and model."""
        return read_responses(self.root / "onboarding")

    def onboarded_models(self) -> list[str]:
        """The models that have onboarding answers, sorted."""
        return sorted({model for _, model in pairs_in(self.root / "onboarding")})

    def drop_onboarding(self, model: str, benchmark: str | None = None) -> None:
        """Lets the model's onboarding answers (to one benchmark; None: to all) go: better ones took their place."""
        with self.exclusively():
            for pair in pairs_in(self.root / "onboarding"):
                if pair[1] == model and benchmark in (None, pair[0]):
                    self.onboarding_path(*pair).unlink()

    def onboarding_state(self) -> str:
        """Digest of the onboarding answers, which `state` leaves out."""
        return self.digest_of(sorted(self.root.glob("onboarding/*/*/part.parquet")))

    # --- damage

    def check(self) -> list[Damage]:
        """Reads every file of the lake whole; what cannot be read."""
        return find_damage(self.root)

    def mend(self) -> list[Damage]:
        """Moves what cannot be read to lake/damaged, so that it counts as missing and is made again; what that was.

        Where the questions of a benchmark are gone, the answers to them are superseded. Files that were whole the last
        time and have not changed since are not read again.
        """
        with self.exclusively():
            found = find_new_damage(self.root)
            for damage in found:
                if damage.kind != "questions":
                    move_aside(self.root, damage.path)
            for damage in found:
                if damage.kind == "questions":
                    self._give_up(decoded(damage.path.parent))
        return found

    def _give_up(self, benchmark: str) -> None:
        self._supersede([pair for pair in self.pairs() if pair[0] == benchmark], NO_QUESTIONS)
        for pair in pairs_in(self.root / "onboarding"):
            if pair[0] == benchmark:
                move_aside(self.root, self.onboarding_path(*pair))
        if (path := self.questions_path(benchmark)).exists():
            move_aside(self.root, path)

    # --- tables of later stages

    def embedded_questions(self, encoder: str) -> list[str]:
        """Ids of the questions that this encoder has encoded."""
        table = self.read_table("question_embeddings")
        return table.filter(pc.field("encoder") == encoder)["question_id"].to_pylist() if table else []

    def add_question_embeddings(
        self, encoder: str, question_ids: Sequence[str], vectors: npt.NDArray[np.float32]
    ) -> None:
        """Adds `vectors` (n, d) of `question_ids` (n) as a part of lake/question_embeddings."""
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

    def imports(self) -> list[dict[str, Any]]:
        """What was imported, one dict a source (columns as in ingest.IMPORTS)."""
        table = self.read_table("imports")
        return table.to_pylist() if table else []

    def write_table(self, name: str, table: pa.Table, part: str = "part") -> None:
        """Puts `table` in the place of one part of lake/<name>."""
        path = self.table_path(name, part)
        with self.exclusively():
            write_parquet(table, path)

    def read_table(self, name: str, part: str | None = None) -> pa.Table | None:
        """One part of lake/<name>, or all of them; None where there is none."""
        parts = self.table_parts(name) if part is None else [part]
        paths = [path for path in (self.table_path(name, part) for part in parts) if path.exists()]
        tables = [read_parquet(path) for path in paths]
        return pa.concat_tables(tables, promote_options="permissive") if tables else None

    def table_parts(self, name: str) -> list[str]:
        folder = self.table_path(name).parent
        return sorted(unquote(path.stem) for path in folder.glob("*.parquet") if not path.name.startswith("."))


def _metadata(path: Path) -> dict[str, str] | None:
    try:
        return read_metadata(path)
    except FileNotFoundError:
        return None
