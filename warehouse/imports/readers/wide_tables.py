"""Tables with a row a question and a column a model: RouterBench, RouteLLM, our own export, and any that the user
describes."""

from __future__ import annotations

import ast
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.database.connect import identifier, literal
from warehouse.imports.tables import DAMAGED_PARQUET

from .reader import ANSWER_ROWS, Choices, LogFile, Notes, Refusal, Run, grade
from .text_tables import TextTable, grade_of, header_of, is_no_grade, open_table, stripped, text_of

__all__ = ["WideTableReader", "question_of"]

_LONGEST_LIST = 2**20  # characters of a prompt that is a list; a longer one stays as it is
_RESPONSE, _COST = "|model_response", "|total_cost"
_EXPORTED = ["question_id", "benchmark", "category", "split", "prompt"]  # before the models
_NO_MODELS = {"sample_id", "prompt", "eval_name", "oracle_model_to_route_to", "response", "index"}
_TRUTHS = {"true", "false"}


@dataclass(frozen=True)
class _Layout:
    """Which columns of a table say what."""

    tool: str
    question: str
    models: Sequence[str]
    category: str | None = None
    split: str | None = None
    answers: Mapping[str, str] = field(default_factory=dict)  # column by model
    costs: Mapping[str, str] = field(default_factory=dict)
    listed: bool = False  # prompts may be Python lists as text

    @property
    def columns(self) -> list[str]:
        about = [column for column in (self.question, self.category, self.split) if column]
        return list(dict.fromkeys([*about, *self.models, *self.answers.values(), *self.costs.values()]))


class WideTableReader:
    format = "wide"

    def recognises(self, file: LogFile) -> bool:
        names = header_of(file)
        return _is_known(names, file)

    def read(self, files: Sequence[LogFile], choices: Choices, notes: Notes) -> Iterator[tuple[LogFile, pa.Table]]:
        for file in files:
            try:
                with open_table(file) as table:
                    layout = _layout_of(table, choices)
                    table.load(layout.columns, "wide")
                    for answers in _Answers(table, layout, choices, notes).tables():
                        yield file, answers
            except Refusal as refusal:
                notes.refuse(str(refusal))


def question_of(choices: Choices) -> str | None:
    """Return the column of questions in a wide table that the user describes; None where they describe none."""
    if choices.question_column or choices.model_columns:
        return choices.question_column or choices.columns.get("prompt") or "prompt"
    return None


def _is_known(names: Sequence[str], file: LogFile) -> bool:
    return _is_routerbench(names) or _is_export(names) or _is_routellm(names, file)


def _is_routerbench(names: Sequence[str]) -> bool:
    marked = any(name.endswith((_RESPONSE, _COST)) for name in names) or "oracle_model_to_route_to" in names
    return {"prompt", "eval_name"} <= set(names) and (marked or "sample_id" in names)


def _is_export(names: Sequence[str]) -> bool:
    return list(names[: len(_EXPORTED)]) == _EXPORTED and len(names) > len(_EXPORTED)


def _is_routellm(names: Sequence[str], file: LogFile) -> bool:
    """Return whether all columns but the prompt, and what models said, are True or False in the first rows."""
    models = _routellm_models(names)
    if "prompt" not in names or not models or set(names) & {"model_name", "label"}:
        return False
    if file.head.startswith(b"PAR1"):
        try:
            with pq.ParquetFile(file.path) as table:
                first = next(table.iter_batches(20, columns=models), None)
                columns = first.to_pydict().values() if first is not None and first.num_columns == len(models) else ()
        except DAMAGED_PARQUET:
            return False
        said = {str(value).lower() for column in columns for value in column if value is not None}
        return bool(said) and said <= _TRUTHS
    rows: list[dict[str, str]] = []
    with suppress(csv.Error):  # what the table says of a broken row is better than what is said here
        for row in csv.DictReader(io.StringIO(file.head.decode("utf-8-sig", errors="replace"), newline="")):
            rows.append(row)
            if len(rows) == 20:
                break
    whole = rows[:-1] or rows  # the last one may be cut off
    said = {(row.get(model) or "").strip().lower() for row in whole for model in models}
    return bool(said & _TRUTHS) and said <= {*_TRUTHS, ""}


def _routellm_models(names: Sequence[str]) -> list[str]:
    spoken = {f"{name}_response" for name in names}
    return [name for name in names if name not in ("prompt", *spoken)]


def _layout_of(table: TextTable, choices: Choices) -> _Layout:
    """Return what the columns say, from the user if given. Raises Refusal."""
    names = table.columns
    category = choices.columns.get("category")
    question = question_of(choices)
    if question and (question in names or not _is_known(names, table.file)):
        if not choices.model_columns:
            raise Refusal(
                f"{table.file.name}: name the columns of models with --model-columns; it has {', '.join(names)}"
            )
        models = list(choices.model_columns)
        return _Layout(
            "table", question, models, category, choices.columns.get("split"), *_said_and_paid(names, models)
        )
    if _is_export(names):
        return _Layout("embedllm", "prompt", names[len(_EXPORTED) :], "category", "split")
    if _is_routerbench(names):
        bases = {name.rpartition("|")[0] for name in names if name.endswith((_RESPONSE, _COST))}
        models = [name for name in names if name in bases]
        if not bases:
            models = [name for name in names if name not in _NO_MODELS and not name.startswith("Unnamed")]
        answers, costs = _said_and_paid(names, models)
        return _Layout("RouterBench", "prompt", models, category or "eval_name", None, answers, costs, listed=True)
    if "prompt" in names and (models := _routellm_models(names)) and _is_routellm(names, table.file):
        return _Layout("RouteLLM", "prompt", models, category, None, *_said_and_paid(names, models))
    raise Refusal(
        f"{table.file.name} does not tell which of its columns are models; name them with --model-columns and "
        f"the questions with --question; it has {', '.join(names)}"
    )


def _said_and_paid(names: Sequence[str], models: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return by model which columns hold its answers and its costs."""
    answers = {
        model: column
        for model in models
        for column in (f"{model}_response", f"{model}{_RESPONSE}")
        if column in names and column not in models
    }
    return answers, {model: f"{model}{_COST}" for model in models if f"{model}{_COST}" in names}


class _Answers:
    """The answers of a table that is loaded as `wide`."""

    def __init__(self, table: TextTable, layout: _Layout, choices: Choices, notes: Notes) -> None:
        self.table = table
        self.layout = layout
        self.choices = choices
        self.notes = notes
        if not layout.models:
            raise Refusal(f"{table.file.name} has no column of a model, only {', '.join(table.columns)}")
        twice = [model for model in layout.models if list(layout.models).count(model) > 1]
        if twice:
            raise Refusal(f"{table.file.name}: the column {twice[0]} is named twice as a model's")
        self.category = text_of(layout.category) if layout.category else literal(self._category())

    def _category(self) -> str:
        """Return the benchmark of a table that has no column of it."""
        if self.choices.benchmark:
            return self.choices.benchmark
        if self.layout.tool == "RouteLLM":  # its files are named by their subject, such as mmlu_astronomy.csv
            return PurePosixPath(self.table.file.name).stem
        name = self.table.file.name
        self.choices.ask(
            name,
            f"{name} does not tell the benchmark of its questions; name it with --benchmark, or its column with --map "
            "category=COLUMN",
        )
        return name

    def tables(self) -> Iterator[pa.Table]:
        empty = self._check() * len(self.layout.models)
        file, layout = self.table.file, self.layout
        counts = ", ".join(f"count({text_of(model)})" for model in layout.models)
        for category, *cells in self.table.rows(f"SELECT {self.category}, {counts} FROM wide GROUP BY 1"):
            for model, count in zip(layout.models, cells, strict=True):
                if count:
                    self.notes.record(Run(model, category, file.name, layout.tool))
        names = pa.array(layout.models, pa.string())
        for batch in self.table.batches(self._unpivoted(), layout.question, "wide"):
            rows = pa.Table.from_batches([batch])
            columns = {name: rows[name] for name in rows.column_names if name != "model"}
            columns["model"] = names.take(rows["model"].cast(pa.int32()))
            if layout.listed:
                columns["text"] = _joined(rows["text"])
            present = [column for column in ANSWER_ROWS if column.name in columns]
            yield pa.table([columns[column.name].cast(column.type) for column in present], schema=pa.schema(present))
            empty -= rows.num_rows
        if empty:
            self.notes.leave_out(file, "empty cells (not asked)", empty)

    def _unpivoted(self) -> str:
        """Return SQL that makes a row of each grade; a model is its place among the models."""
        layout, threshold = self.layout, self.choices.threshold
        said = layout.answers if self.choices.keep_answers else {}
        lists = {"score": [grade_of(identifier(model)) for model in layout.models]}
        if said:
            lists["answer"] = [text_of(said[model]) if model in said else "NULL" for model in layout.models]
        if costs := layout.costs:
            lists["cost"] = [_cost(costs[model]) if model in costs else "NULL" for model in layout.models]
        split = [f"{_split(layout.split)} AS split"] if layout.split else []
        unnested = [f"unnest([{', '.join(cells)}]) AS {name}" for name, cells in lists.items()]
        return f"""
            SELECT *, score >= {1 if threshold is None else threshold} AS correct
            FROM (
                SELECT _row AS "row", _row - 1 AS doc_id, {self.category} AS category,
                    {identifier(layout.question)} AS text,
                    {", ".join([*split, f"unnest(range({len(layout.models)})) AS model", *unnested])}
                FROM wide
            )
            WHERE score IS NOT NULL AND isfinite(score)
        """

    def _check(self) -> int:
        """Return how many rows there are. Raises Refusal for the first that lacks its text or category, or has a grade
        that is none."""
        name, layout, threshold = self.table.file.name, self.layout, self.choices.threshold
        grades = {model: grade_of(identifier(model)) for model in layout.models}
        given = {model: f"({stripped(identifier(model))} <> '')" for model in layout.models}
        faults = [f"({given[model]} AND {is_no_grade(sql, threshold)})" for model, sql in grades.items()]
        found = self.table.rows(f"""
            SELECT count(*), min(_row) FILTER ({" OR ".join(faults)}),
                min(_row) FILTER (coalesce({stripped(identifier(layout.question))}, '') = ''),
                min(_row) FILTER (coalesce({stripped(self.category)}, '') = '')
            FROM wide
        """)
        rows, faulty, unsaid, unnamed = found[0]
        if not rows:
            raise Refusal(f"{name} has no rows")
        if faulty is not None:
            shown = ", ".join(map(identifier, layout.models))
            values = self.table.rows(f"SELECT {shown} FROM wide WHERE _row = {faulty}")[0]
            for model, value in zip(layout.models, values, strict=True):
                grade(value and value.strip(), threshold, f"{name}, row {faulty}: {model}")
            raise Refusal(f"{name}, row {faulty} has a grade that is no plain number; correct it")
        if unsaid is not None:
            raise Refusal(f"{name}, row {unsaid}: {layout.question} is empty; give the question, or leave the row out")
        if unnamed is not None:
            raise Refusal(f"{name}, row {unnamed}: {layout.category} is empty; name the benchmark of the question")
        return rows


def _cost(column: str) -> str:
    number = f"TRY_CAST({identifier(column)} AS DOUBLE)"
    return f"CASE WHEN isfinite({number}) AND {number} >= 0 THEN {number} END"


def _split(column: str) -> str:
    said = f"lower({stripped(identifier(column))})"
    return f"CASE WHEN {said} IN ('train', 'val', 'test') THEN {said} WHEN {said} LIKE 'valid%' THEN 'val' END"


def _joined(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return prompts with those that are Python lists of texts joined by line breaks."""
    coded = texts.combine_chunks().dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    return pa.chunked_array([pa.array(map(_text_of_list, coded.dictionary.to_pylist())).take(coded.indices)])


def _text_of_list(text: str) -> str:
    if not (text.startswith("[") and text.rstrip().endswith("]") and len(text) <= _LONGEST_LIST):
        return text
    try:
        parts = ast.literal_eval(text.rstrip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    if not (isinstance(parts, list) and parts and all(isinstance(part, str) for part in parts)):
        return text
    return "\n".join(parts).encode(errors="replace").decode()
