"""The correctness matrix out again, in formats that others read, and `embedllm import` as well."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.lake import Lake
from warehouse.lake.answers import RUNS
from warehouse.lake.events import Event
from warehouse.lake.questions import SPLITS

from .labels import no_labels
from .readers.every_eval_ever import COST
from .tables import IS_EXPORT

__all__ = ["ExportFormat", "export_results"]

ExportFormat = Literal["embedllm", "eee", "wide"]

_LAYOUT = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("label", pa.int8()),
        ("model_name", pa.string()),
        ("category", pa.string()),
        ("prompt", pa.string()),
        ("doc_id", pa.int64()),
        ("score", pa.float64()),
        ("target", pa.string()),
        ("answer", pa.string()),
        ("tokens_in", pa.int64()),
        ("tokens_out", pa.int64()),
        ("cost", pa.float64()),
        ("latency_s", pa.float64()),
    ],
    metadata={IS_EXPORT: "1"},  # of an export the columns after the fifth are read, too
)

Progress = Callable[[int, int, str], None]


def export_results(lake: Lake, folder: Path, export_format: ExportFormat, progress: Progress) -> list[Path]:
    """Write all questions, splits and answers of the lake into `folder`, and return the files.

    embedllm    train, val and test, a row an answer, as the authors of EmbedLLM published theirs, and models.parquet
    eee         Every Eval Ever 0.3.0: a model and benchmark each a document and its answers
    wide        a row a question, a column a model

    Raises FileExistsError where the folder has files: an old export mixed with a new one would be neither.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} has files already; give a new folder, or empty it")
    writers = {"embedllm": _write_layout, "eee": _write_every_eval_ever, "wide": _write_wide}
    with lake.still():
        return writers[export_format](lake, folder, progress)


def _by_benchmark(lake: Lake, progress: Progress) -> Iterator[tuple[dict[str, dict[str, Any]], list[Event]]]:
    """Yield the questions of each benchmark by id, in their order, and which answers there are."""
    answers = lake.now().answers
    names = sorted({benchmark for benchmark, _ in answers})
    for number, name in enumerate(names):
        progress(number, len(names), "benchmarks exported")
        questions = lake.questions_of(name)
        rows = {row["question_id"]: row for row in questions.to_pylist()} if questions else {}
        yield rows, [event for pair, event in sorted(answers.items()) if pair[0] == name and event.n]
    progress(len(names), len(names), "benchmarks exported")


def _write_layout(lake: Lake, folder: Path, progress: Progress) -> list[Path]:
    paths = {split: folder / f"{split}.parquet" for split in SPLITS}
    with ExitStack() as open_files:
        writers = {split: open_files.enter_context(pq.ParquetWriter(path, _LAYOUT)) for split, path in paths.items()}
        for questions, events in _by_benchmark(lake, progress):
            for event, answers in lake.rows_of_each(events):
                rows: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
                for answer in answers.to_pylist():
                    asked = questions[answer.pop("question_id")]
                    rows[asked["split"]].append(
                        answer
                        | {name: asked[name] for name in ("category", "doc_id", "target")}
                        | {"prompt_id": asked["question_id"], "prompt": asked["text"], "label": int(answer["correct"])}
                        | {"model_name": event.model}
                    )
                for split, own in rows.items():
                    if own:
                        writers[split].write_table(pa.Table.from_pylist(own, schema=_LAYOUT))
    labels = lake.labels()
    labels = no_labels() if labels is None else labels
    pq.write_table(labels.rename_columns({"model": "model_name"}), folder / "models.parquet")
    return [*paths.values(), folder / "models.parquet"]


def _write_wide(lake: Lake, folder: Path, progress: Progress) -> list[Path]:
    models = sorted({model for _, model in lake.pairs()})
    path = folder / "wide.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["question_id", "benchmark", "category", "split", "prompt", *models])
        for questions, events in _by_benchmark(lake, progress):
            graded = {
                event.model: dict(zip(rows["question_id"].to_pylist(), rows["score"].to_pylist(), strict=True))
                for event, rows in lake.rows_of_each(events)
            }
            for question_id, asked in questions.items():
                grades = [graded.get(model, {}).get(question_id) for model in models]
                shown = [
                    "" if grade is None or math.isnan(grade) else repr(grade).removesuffix(".0") for grade in grades
                ]
                about = [events[0].benchmark, asked["category"], asked["split"], asked["text"]]
                table.writerow([question_id, *about, *shown])
    return [path]


def _write_every_eval_ever(lake: Lake, folder: Path, progress: Progress) -> list[Path]:
    written = []
    for questions, events in _by_benchmark(lake, progress):
        for event, answers in lake.rows_of_each(events):
            name = str(uuid.uuid5(uuid.NAMESPACE_URL, f"embedllm:{event.benchmark}:{event.model}:{event.digest}"))
            samples = folder / f"{name}_samples.jsonl"
            lines = [_sample(event, questions[answer["question_id"]], answer) for answer in answers.to_pylist()]
            content = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines).encode()
            samples.write_bytes(content)
            about = folder / f"{name}.json"
            about.write_text(
                json.dumps(_describe(event, samples.name, content, len(lines)), indent=1), encoding="utf-8"
            )
            written += [about, samples]
    return written


def _evaluation_id(event: Event) -> str:
    return f"{event.benchmark}/{event.model.replace('/', '_')}/{int(event.recorded_at.timestamp())}"


def _describe(event: Event, samples: str, content: bytes, rows: int) -> dict[str, Any]:
    runs = json.loads(event.metadata.get(RUNS, "[{}]"))
    developer = event.model.partition("/")[0] if "/" in event.model else "unknown"
    return {
        "schema_version": "0.3.0",
        "evaluation_id": _evaluation_id(event),
        "evaluation_timestamp": str(int(event.recorded_at.timestamp())),
        "retrieved_timestamp": str(int(event.recorded_at.timestamp())),
        "source_metadata": {
            "source_name": "embedllm",
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
        },
        "eval_library": {
            "name": runs[0].get("tool", "embedllm"),
            "version": runs[0].get("version") or (version("embedllm") if "tool" not in runs[0] else "unknown"),
        },
        "model_info": {"name": event.model.rpartition("/")[2], "id": event.model, "developer": developer},
        "evaluation_results": [
            {
                "evaluation_result_id": event.benchmark,
                "evaluation_name": event.benchmark,
                "source_data": {"dataset_name": event.benchmark, "source_type": "other"},
                "metric_config": {
                    "metric_id": "accuracy",
                    "metric_name": "accuracy",
                    "metric_kind": "accuracy",
                    "metric_unit": "proportion",
                    "lower_is_better": False,
                    "score_type": "continuous",
                    "min_score": 0.0,
                    "max_score": 1.0,
                },
                "score_details": {"score": event.accuracy},
            }
        ],
        "detailed_evaluation_results": {
            "format": "jsonl",
            "file_path": samples,
            "hash_algorithm": "sha256",
            "checksum": hashlib.sha256(content).hexdigest(),
            "total_rows": rows,
        },
    }


def _sample(event: Event, asked: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    said, target = answer["answer"], asked["target"]
    fingerprint = hashlib.sha256(f"{asked['text']}{target or ''}".encode()).hexdigest()
    sample: dict[str, Any] = {
        "schema_version": "0.3.0",
        "evaluation_id": _evaluation_id(event),
        "model_id": event.model,
        "evaluation_name": event.benchmark,
        "evaluation_result_id": event.benchmark,
        "sample_id": asked["question_id"],
        "sample_hash": fingerprint,
        "interaction_type": "single_turn",
        "input": {"raw": asked["text"], "reference": [] if target is None else [target]},
        "output": {"raw": [] if said is None else [said]},
        "answer_attribution": [],
        "evaluation": {"score": answer["score"], "is_correct": answer["correct"]},
        "metadata": {"category": asked["category"], "split": asked["split"], "doc_id": str(asked["doc_id"])},
    }
    tokens = {"input_tokens": answer["tokens_in"], "output_tokens": answer["tokens_out"]}
    if None not in tokens.values():
        sample["token_usage"] = tokens | {"total_tokens": sum(tokens.values())}
    took: dict[str, Any] = {}
    if answer["latency_s"] is not None:
        took["latency_ms"] = answer["latency_s"] * 1000
    if answer["cost"] is not None:  # the schema has no field of its own for it, and texts only in this one
        took["additional_details"] = {COST: repr(answer["cost"])}
    return sample | ({"performance": took} if took else {})
