"""Details of lighteval, and of the Open LLM Leaderboard of 2023: a Parquet file a model and task."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.imports.tables import DAMAGED_PARQUET

from .fields import (
    as_answer,
    as_dict,
    as_list,
    as_text,
    as_whole,
    finite,
    hand_on,
    read_json,
    settings_of,
    text_of_target,
    with_options,
)
from .reader import OLDER, Answer, Choices, LogFile, Notes, Refusal, Run, grade

__all__ = ["LightevalReader"]

_PARQUET = b"PAR1"
_RESULTS = re.compile(rb'[\xef\xbb\xbf\s]*{\s*"config_general"\s*:')
_TIME = r"\d{4}-\d\d-\d\dT\d\d[-:]\d\d[-:]\d\d(?:\.\d+)?"
_DETAILS = re.compile(rf"details_(?P<task>[^/]+)_(?P<time>{_TIME})\.parquet$")
_RESULTS_TIME = re.compile(rf"results_(?P<time>{_TIME})\.json$")
_MODEL_FOLDERS = (  # as lighteval writes them, and as data sets of the hub are called
    re.compile(rf"^(?:.*/)?details/(?P<model>.+)/{_TIME}/[^/]+$"),
    re.compile(r"(?:^|[/-])details_(?P<org>[^/]+?)__(?P<name>[^/]+?)(?:_private)?/"),
)
_NESTED = {  # of each nested column, what is read
    "doc": ("query", "choices", "gold_index", "id", "task_name", "sampling_methods"),
    "metric": None,
    "model_response": ("text", "text_post_processed", "logprobs", "input_tokens", "output_tokens"),
}
_FLAT = ("example", "choices", "gold", "gold_index", "predictions", "input_tokens", "cont_tokens", "metrics")
_NO_METRIC = re.compile(f"{'|'.join(_FLAT)}|num_.*|truncated|padded|hash.*")
_ENUM = re.compile(r"<[\w.]+: ('[^']*')>")
_ROWS = 500  # read together, since rows hold token ids by the thousand
_SETTINGS = ("model_sha", "model_dtype", "max_samples", "num_fewshot_seeds", "system_prompt")


class LightevalReader:
    format = "lighteval"

    def recognises(self, file: LogFile) -> bool:
        if not file.head.startswith(_PARQUET):
            return bool(_RESULTS.match(file.head))
        try:
            names = set(pq.read_schema(file.path).names)
        except DAMAGED_PARQUET:  # where it is cut off, its name alone tells
            return bool(_DETAILS.search(file.name))
        return (
            _has(names, "doc", "metric")
            or _has(names, "__doc__", "__metric__")
            or _has(names, *_FLAT[:2], "gold_index")
        )

    def read(self, files: Sequence[LogFile], choices: Choices, notes: Notes) -> Iterator[tuple[LogFile, pa.Table]]:
        results = _results_by_time(files, notes)
        tasks: dict[tuple[str, str], list[_Details]] = defaultdict(list)
        for file in files:
            if file.head.startswith(_PARQUET):
                try:
                    details = _Details(file, results, choices)
                    tasks[details.model, details.task].append(details)
                except Refusal as problem:
                    notes.refuse(str(problem))
        if not tasks and results and not notes.problems:
            names = ", ".join(sorted(file.name for file, _ in results.values()))
            notes.refuse(f"{names}: totals only; run lighteval with --save-details, and import the folder details, too")
        for same in tasks.values():
            try:
                newest = _newest(same, notes)
            except Refusal as problem:
                notes.refuse(str(problem))
            else:
                yield from hand_on(newest.file, _answers(newest, choices, notes), notes)


def _has(names: set[str], *wanted: str) -> bool:
    return names.issuperset(wanted)


def _results_by_time(files: Sequence[LogFile], notes: Notes) -> dict[str, tuple[LogFile, dict[str, Any]]]:
    """Return what is known of each run by its time, unless several runs have the same."""
    found: dict[str, list[LogFile]] = defaultdict(list)
    for file in files:
        if not file.head.startswith(_PARQUET):
            time = _RESULTS_TIME.search(file.name)
            found[time["time"] if time else file.name].append(file)
    results: dict[str, tuple[LogFile, dict[str, Any]]] = {}
    for time, same in found.items():
        if len(same) == 1:
            try:
                results[time] = same[0], as_dict(as_dict(read_json(same[0])).get("config_general"))
            except Refusal as problem:
                notes.refuse(str(problem))
    return results


class _Details:
    """What a file is about. Raises Refusal where it is damaged."""

    def __init__(self, file: LogFile, results: Mapping[str, tuple[LogFile, dict[str, Any]]], choices: Choices) -> None:
        self.file = file
        try:
            schema = pq.read_schema(file.path)
            names = schema.names
        except DAMAGED_PARQUET as error:
            raise _damaged(file, error) from None
        self.columns = {column.strip("_"): column for column in names}
        self.is_flat = "doc" not in self.columns
        self._schema = schema
        named = _DETAILS.search(file.name) or _DETAILS.search(file.path.as_posix())
        self.time = named["time"].replace(":", "-") if named else ""
        config = results[self.time][1] if self.time in results else {}
        self.config = {**config, **as_dict(config.get("model_config"))}
        self.model = as_text(self.config.get("model_name")) or _model_of(file) or choices.model or ""
        self.full_task = (named["task"] if named else self._task_of_first_row()) or choices.benchmark or ""
        parts = [part for part in self.full_task.split("|") if part]
        numbers = [part for part in parts[1:] if part.isdecimal()]
        self.num_fewshot = int(numbers[0]) if numbers else None
        words = [part for part in parts if part not in numbers]
        self.task = words[-1] if words else ""  # without its suite, and without the number of examples
        for field, option in ((self.model, "model"), (self.task, "benchmark")):
            if not field:
                told = f"neither {file.name} nor its folder says its {option}; say it with --{option}"
                choices.ask(file.name, told)
        self.task, self.model = self.task or file.name, self.model or file.name

    def _task_of_first_row(self) -> str:
        row = next(self.rows(), {})
        return as_text(as_dict(row.get("doc")).get("task_name"))

    def count(self) -> int:
        return pq.read_metadata(self.file.path).num_rows

    def rows(self, *only: str) -> Iterator[dict[str, Any]]:
        """Yield rows by their columns without underscores; of those only, if any are given."""
        names: list[str] = []
        for column, original in self.columns.items():
            kind = self._schema.field(original).type
            children = _NESTED.get(column)
            if (only and column not in only) or (not self.is_flat and column not in _NESTED):
                continue
            if children and pa.types.is_struct(kind):
                present = {child.name for child in kind}
                names += [f"{original}.{child}" for child in children if child in present]
            elif not self.is_flat or column in _FLAT or not pa.types.is_nested(kind):
                names.append(original)
        try:
            with pq.ParquetFile(self.file.path) as parquet:
                for batch in parquet.iter_batches(_ROWS, columns=names):
                    for row in batch.to_pylist():
                        yield {column.strip("_"): value for column, value in row.items()}
        except DAMAGED_PARQUET as error:
            raise _damaged(self.file, error) from None

    def metrics(self, number: int, row: Mapping[str, Any]) -> dict[str, Any]:
        column = "metrics" if self.is_flat else "metric"
        if self.is_flat and column not in self.columns:  # one column a metric
            return {name: value for name, value in row.items() if not _NO_METRIC.fullmatch(name)}
        return as_dict(_parsed(row.get(column), f"{self.file.name}: row {number}: {column}"))


def _damaged(file: LogFile, error: Exception) -> Refusal:
    what = " ".join(str(error).split())[:200]
    return Refusal(f"{file.name} is no whole Parquet file ({what}); it may be cut off: copy it again")


def _model_of(file: LogFile) -> str | None:
    """Return the model that the path names: `details/<org>/<model>/<time>/…`, or `details_<org>__<model>/…`."""
    for path in (file.name, file.path.as_posix()):
        for form in _MODEL_FOLDERS:
            if found := form.search(path):
                groups = found.groupdict()
                return groups.get("model") or f"{groups['org']}/{groups['name']}"
    return None


def _newest(same: Sequence[_Details], notes: Notes) -> _Details:
    *older, newest = sorted(same, key=lambda details: (details.time, details.file.name))
    if older and older[-1].time == newest.time:
        raise Refusal(
            f"{older[-1].file.name} and {newest.file.name} are both {newest.task} with {newest.model}, and no newer "
            "than each other; import one of them"
        )
    for details in older:
        notes.leave_out(details.file, OLDER)
        notes.remark_if_shorter(newest.file, newest.count(), details.file, details.count())
    return newest


def _answers(details: _Details, choices: Choices, notes: Notes) -> Iterator[Answer]:
    names: set[str] = set()
    graded_in = [column for column in ("metric", "metrics") if column in details.columns]
    for number, row in enumerate(details.rows(*graded_in), 1):
        names |= {name for name, value in details.metrics(number, row).items() if _is_number(value)}
    if not names:
        raise Refusal(f"{details.file.name} has no metric that grades its rows; run the task with a metric of samples")
    metric = choices.choose("metric", names, details.task)
    config = details.config
    generation = settings_of(as_dict(config.get("generation_parameters")), as_dict(config.get("generation_parameters")))
    settings = {"task": details.full_task, "num_fewshot": details.num_fewshot, **settings_of(config, _SETTINGS)}
    version = as_text(config.get("lighteval_sha")).strip("?") or None
    settings |= {"generation_parameters": generation} if generation else {}
    notes.record(Run(details.model, details.task, details.file.name, "lighteval", version, metric, settings=settings))
    for number, row in enumerate(details.rows(), 1):
        where = f"{details.file.name}: row {number}"
        result = grade(details.metrics(number, row).get(metric), choices.threshold, f"{where}: metric {metric}")
        asked = (_flat_question if details.is_flat else _question)(row, where)
        if result is None:
            notes.leave_out(details.file, f"answers without a grade ({metric} is missing)")
        elif not asked.text.strip():
            notes.leave_out(details.file, "answers without a text")
        else:
            yield Answer(
                row=number,
                model=details.model,
                category=details.task,
                text=asked.text,
                correct=result[0],
                score=result[1],
                item=str(number) if asked.doc_id is None else None,
                doc_id=asked.doc_id,
                target=text_of_target(asked.right),
                answer=(asked.said or asked.likeliest(result[0])) if choices.keep_answers else None,
                tokens_in=asked.tokens_in if asked.said else None,
                tokens_out=asked.tokens_out if asked.said else None,
            )


@dataclass(frozen=True, slots=True)
class _Question:
    text: str
    doc_id: int | None
    right: Sequence[str]
    said: str | None  # of a model that wrote; others gave a log probability to each option
    logprobs: Sequence[object]
    options: Sequence[str]
    tokens_in: int | None
    tokens_out: int | None

    def likeliest(self, correct: bool) -> str | None:
        """Return the likeliest option, if that is what the metric graded: some divide by the lengths of options."""
        scores = [number for value in self.logprobs if (number := finite(value)) is not None]
        if not scores or len(scores) != len(self.options):
            return None
        chosen = self.options[scores.index(max(scores))]
        return as_answer(chosen) if (chosen in self.right) == correct else None


def _question(row: Mapping[str, Any], where: str) -> _Question:
    doc = as_dict(_parsed(row.get("doc"), f"{where}: doc"))
    response = as_dict(_parsed(row.get("model_response"), f"{where}: model_response"))
    listed = [as_text(choice) for choice in as_list(doc.get("choices"))]
    logprobs, said = as_list(response.get("logprobs")), as_list(response.get("text_post_processed"))
    said = said or as_list(response.get("text"))
    ways = [as_text(way) for way in as_list(doc.get("sampling_methods"))]
    is_choice = any("LOGPROBS" in way for way in ways) if ways else len(logprobs) == len(listed)
    return _Question(
        text=_asked(as_text(doc.get("query")), listed if is_choice else []),
        doc_id=as_whole(doc.get("id")),
        right=_at(listed, doc.get("gold_index")),
        said=as_answer(said[0]) if said else None,
        logprobs=logprobs,
        options=listed,
        tokens_in=_length(response.get("input_tokens")),
        tokens_out=_length(response.get("output_tokens")),
    )


def _flat_question(row: Mapping[str, Any], where: str) -> _Question:
    parsed = {name: _parsed(row.get(name), f"{where}: {name}") for name in _FLAT[1:-1]}
    listed = [as_text(choice) for choice in as_list(parsed["choices"])]
    predictions, gold = as_list(parsed["predictions"]), parsed["gold"]
    said = predictions[0] if predictions and isinstance(predictions[0], str) else None
    return _Question(
        text=_asked(as_text(row.get("example")), listed if said is None else []),
        doc_id=None,
        right=_at(listed, parsed["gold_index"]) or [as_text(one) for one in as_list(gold) or [gold]],
        said=as_answer(said),
        logprobs=predictions,
        options=listed,
        tokens_in=_length(parsed["input_tokens"]),
        tokens_out=_length(parsed["cont_tokens"]),
    )


def _asked(text: str, options: Sequence[str]) -> str:
    return with_options(text, options) if len(options) > 1 else text


def _at(listed: Sequence[str], index: object) -> list[str]:
    """Return the choices at an index, or at several."""
    places = [as_whole(place) for place in (index if isinstance(index, list) else [index])]
    return [listed[place] for place in places if place is not None and place < len(listed)]


def _length(tokens: object) -> int | None:
    """Return the number of tokens of a list, or of the first of several."""
    first = as_list(tokens)[:1]
    return len(first[0] if first and isinstance(first[0], list) else as_list(tokens)) or None


def _is_number(value: object) -> bool:
    return isinstance(value, bool) or finite(value) is not None


def _parsed(value: Any, what: str) -> Any:
    """Return a value that lighteval has written as a text of Python, because it did not fit into a column."""
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(_ENUM.sub(r"\1", value))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise Refusal(
            f"{what} is {value[:100]!r}, a text that cannot be read; run the task with a newer lighteval"
        ) from None
