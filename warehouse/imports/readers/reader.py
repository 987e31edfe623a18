"""What a reader of a format gets and gives."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa

__all__ = [
    "ANSWER_ROWS",
    "OLDER",
    "Answer",
    "Choices",
    "LogFile",
    "Notes",
    "Reader",
    "Refusal",
    "Run",
    "grade",
    "tables_of",
    "whole_characters",
]

HEAD = 64 * 2**10
OLDER = "older runs of a task, of which a newer run of the same model is there"
"""Why a file is left out, in the words of all readers, so that such files are counted together."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LONGEST_PROBLEM = 1000  # characters; a log may have megabytes where a name should be
_BATCH = 20_000  # answers that are handed on together


class Refusal(ValueError):
    """One sentence that says why a file cannot be imported as things are, and what to do."""


@dataclass(frozen=True)
class LogFile:
    """A file of a source. What was compressed or in an archive has been unpacked."""

    path: Path  # where it can be read
    name: str  # what messages call it: the path below the source, such as logs.zip/m/results.json

    @property
    def head(self) -> bytes:
        """The first 64 KiB, by which a reader recognises its format. They are not kept: of 10,000 files that would
        be 640 MB."""
        with self.path.open("rb") as file:
            return file.read(HEAD)


@dataclass(frozen=True, slots=True)
class Answer:
    """A graded answer. None means: the log does not say."""

    row: int  # in its file; 1 is the first
    model: str
    category: str  # the leaf task, data set or subject; the registry says which benchmark it belongs to
    text: str  # all that the model was asked, without few-shot examples, with the options
    correct: bool
    score: float  # what was graded, before any threshold
    item: str | None = None  # id of the question in its category, which other files of the format share; else doc_id
    doc_id: int | None = None  # number of the question in its category, where the log numbers them
    split: Literal["train", "val", "test"] | None = None
    target: str | None = None  # the right answer
    answer: str | None = None  # what the model said or chose
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost: float | None = None  # US$
    latency_s: float | None = None


ANSWER_ROWS = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("correct", pa.bool_(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        ("item", pa.string()),
        ("doc_id", pa.int64()),
        ("split", pa.string()),
        ("target", pa.string()),
        ("answer", pa.string()),
        ("tokens_in", pa.int64()),
        ("tokens_out", pa.int64()),
        ("cost", pa.float64()),
        ("latency_s", pa.float64()),
    ]
)
"""The columns of Answer, for readers that have tables. A table may lack columns that may be null."""


@dataclass(frozen=True)
class Run:
    """How a model's answers to a category came about; it becomes part of what the lake knows of them."""

    model: str
    category: str
    file: str  # LogFile.name
    tool: str  # lm-eval, inspect, …
    version: str | None = None  # of the tool
    metric: str | None = None
    filter: str | None = None  # or scorer
    settings: Mapping[str, Any] = field(default_factory=dict)  # few-shot examples, template, temperature; JSON values
    labels: Mapping[str, Any] = field(default_factory=dict)  # of the model, as far as the log says: family, size_b


@dataclass(frozen=True)
class Choices:
    """What the user has decided, where a format leaves several possibilities."""

    metric: Mapping[str, str] = field(default_factory=dict)  # by category or benchmark; "" is any other
    filter: Mapping[str, str] = field(default_factory=dict)
    scorer: Mapping[str, str] = field(default_factory=dict)
    epochs: Literal["majority", "first", "last", "all_correct", "any_correct"] = "majority"
    threshold: float | None = None  # a graded answer is right from here on
    model: str | None = None  # of all answers whose log does not tell
    benchmark: str | None = None  # of all answers whose log does not tell
    questions: Mapping[str, str] = field(default_factory=dict)  # text by the id that a log has in place of it
    columns: Mapping[str, str] = field(default_factory=dict)  # of a table: its name by ours (--map prompt=question)
    question_column: str | None = None  # of a wide table
    model_columns: Sequence[str] = ()  # of a wide table
    keep_answers: bool = True  # False: `answer` stays None
    grading_of: Callable[[str], Mapping[str, str]] = lambda category: {}
    """The metric and the filter by which the registry grades the benchmark of a category, as far as it says."""
    text_of: Callable[[str, Mapping[str, Any]], str | None] = lambda task, doc: None
    """The text that our own evaluation gives the document of an lm-eval task; None where the task is not known."""
    filters_of: Callable[[str], Sequence[str]] = lambda task: ()
    """The filters of an lm-eval task in the order of its definition, for logs that do not name them."""
    asked: dict[str, str] = field(default_factory=dict, compare=False)
    """What the user has still to decide: sentences, with the file or the category that each is about. The import is
    refused at its end with all of them, so that nobody is asked twice."""

    def ask(self, about: str, sentence: str) -> None:
        """Note that the import needs a choice which is not made; the reader goes on with a stand-in, to find others."""
        self.asked.setdefault(_sentence(sentence), about)

    def choose(self, kind: Literal["metric", "filter", "scorer"], found: Collection[str], category: str) -> str:
        """Return which of the names `found` grades the answers to a category; where nothing decides, `ask`, and return
        the first of them for the time being. Raises Refusal where there are none.

        What is said for any category does not concern one that has nothing to choose from.
        """
        names, given = sorted(set(found)), getattr(self, kind)
        wanted = given.get(category, given.get("") if len(names) > 1 else None)
        if wanted is not None:
            if wanted in names:
                return wanted
            if not names:
                raise Refusal(f"{category} has no {kind} {wanted}, nor any other")
            self.ask(
                category,
                f"{category} has no {kind} {wanted}, only {', '.join(names)}; choose one with --{kind} "
                f"{category}={names[0]}",
            )
            return names[0]
        if len(names) == 1:
            return names[0]
        if (graded_by := self.grading_of(category).get(kind)) in names:
            return graded_by
        if not names:
            raise Refusal(f"{category} has no {kind} that could grade it")
        self.ask(
            category,
            f"{category} has {len(names)} {kind}s that could grade it ({', '.join(names)}); choose one with "
            f"--{kind} {names[0]}, or for it alone with --{kind} {category}={names[0]}",
        )
        return names[0]


class Notes:
    """What a reader tells beside the answers."""

    def __init__(self) -> None:
        self.left_out: Counter[tuple[str, str]] = Counter()  # by file and reason
        self.problems: list[str] = []  # for each of which the import is refused
        self.remarks: list[str] = []  # sentences for the user of an import that succeeds
        self.runs: dict[tuple[str, str], Run] = {}

    def leave_out(self, file: LogFile, reason: str, count: int = 1) -> None:
        """Count answers or files that are not read, by reason, which says what they are: "perturbed copies"."""
        self.left_out[whole_characters(file.name), reason] += count

    def refuse(self, problem: str) -> None:
        """Note a sentence that names the file, the row or the field, what was found, and what to do. The import is
        refused at its end, with all such sentences."""
        if (problem := _sentence(problem)) not in self.problems:
            self.problems.append(problem)

    def remark(self, remark: str) -> None:
        """Tell the user something about what is read: a sentence that names the file."""
        if (remark := _sentence(remark)) not in self.remarks:
            self.remarks.append(remark)

    def record(self, run: Run) -> None:
        run = Run(**json.loads(whole_characters(json.dumps(asdict(run), ensure_ascii=False))))
        self.runs[run.model, run.category] = run

    def remark_if_shorter(self, newest: LogFile, count: int, older: LogFile, left_out: int) -> None:
        """Tell where a newer run of fewer questions, such as a try of ten, takes the place of a longer one."""
        if count < left_out:
            self.remark(
                f"{newest.name} has {count:,} questions, but {older.name}, which is left out as older, has "
                f"{left_out:,}; to have those, import that file alone."
            )


class Reader(Protocol):
    """A format. `format` is its name for --format."""

    format: str

    def recognises(self, file: LogFile) -> bool:
        """Return whether a file is of this format, whatever its name; cheap, since it is asked of every file."""
        ...

    def read(self, files: Sequence[LogFile], choices: Choices, notes: Notes) -> Iterator[tuple[LogFile, pa.Table]]:
        """Yield the answers of `files`, all of those that this format recognised, in tables of ANSWER_ROWS that are
        small enough for memory, in the order of rows. Answers of a model to the same text count as answers to one
        question, unless `item` or `doc_id` tells two apart.

        Whatever is wrong with a file goes to `notes.refuse`, so that everything is reported at once; the file is then
        left. `tables_of` makes tables of Answers.
        """
        ...


def tables_of(answers: Iterable[Answer]) -> Iterator[pa.Table]:
    """Yield answers in tables of ANSWER_ROWS."""
    rest = iter(answers)
    names = [column.name for column in fields(Answer)]
    while batch := list(islice(rest, _BATCH)):
        columns = [[getattr(answer, name) for answer in batch] for name in names]
        try:
            yield pa.table(columns, schema=ANSWER_ROWS)
        except UnicodeEncodeError:
            columns = [[whole_characters(x) if isinstance(x, str) else x for x in column] for column in columns]
            yield pa.table(columns, schema=ANSWER_ROWS)


def _sentence(text: str) -> str:
    """Return `text`, which quotes a log, in one line without control characters; a long one loses its middle."""
    line = " ".join(_CONTROL.sub(" ", whole_characters(text)).split())
    half = _LONGEST_PROBLEM // 2
    return line if len(line) <= _LONGEST_PROBLEM else f"{line[:half]} … {line[-half:]}"


def whole_characters(text: str) -> str:
    """Return `text` with what is half a character (a lone surrogate, from JSON that was cut) replaced by "?"."""
    return text.encode(errors="replace").decode()


_WORDS = {"true": 1.0, "false": 0.0}


def grade(value: object, threshold: float | None, what: str) -> tuple[bool, float] | None:
    """Return (right or not, score) of a logged grade: a boolean, a number, or one as text; None where it says nothing
    (null, empty, NaN, infinite).

    Raises Refusal, which begins with `what` (file, row and field), where it is a number between right and wrong and
    there is no threshold, or no grade at all.
    """
    said = value.strip().lower() if isinstance(value, str) else value
    if said is None or said == "":
        return None
    try:
        score = _WORDS[said] if isinstance(said, str) and said in _WORDS else float(said)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise Refusal(f"{what} is {value!r}, which is no grade; it must be 0, 1, true, false or a number") from None
    if not math.isfinite(score):
        return None
    if threshold is not None:
        return score >= threshold, score
    if score in (0, 1):
        return score == 1, score
    raise Refusal(f"{what} is {value!r}, neither 0 nor 1; say with --threshold from which number on an answer is right")
