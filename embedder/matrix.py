"""The correctness matrix: questions by models, right, wrong or not asked."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Self

import numpy as np
import pyarrow as pa

__all__ = ["CorrectnessMatrix"]


@dataclass(frozen=True)
class CorrectnessMatrix:
    """Which models answered which questions correctly. Rows are sorted by benchmark and question id, columns by model
    name.

    `labels` is (Q, M) float32: 1 right, 0 wrong, NaN not asked. `models` has M names; the other arrays give for each of
    the Q rows the id of the question, its benchmark, category, split (train, val, test) and text.
    """

    labels: np.ndarray
    models: tuple[str, ...]
    question_ids: np.ndarray
    benchmarks: np.ndarray
    categories: np.ndarray
    splits: np.ndarray
    texts: np.ndarray

    def __post_init__(self) -> None:
        rows, columns = self.labels.shape
        if columns != len(self.models):
            raise ValueError(f"labels have {columns} columns, but there are {len(self.models)} models")
        for field in fields(self)[2:]:
            if len(getattr(self, field.name)) != rows:
                raise ValueError(
                    f"labels have {rows} rows, but there are {len(getattr(self, field.name))} {field.name}"
                )

    @classmethod
    def from_tables(cls, questions: pa.Table, responses: pa.Table) -> Self:
        """Return the matrix of `questions` (question_id, benchmark, category, text, split) and `responses`
        (question_id, model, correct), whatever the order of their rows.

        A question nobody answered is a row of NaN. Raises ValueError where a question or an answer comes
        twice or an answer has no question.
        """
        questions = questions.sort_by([("benchmark", "ascending"), ("question_id", "ascending")])
        ids = _strings(questions["question_id"])
        if len(set(ids)) < len(ids):
            raise ValueError(f"{len(ids) - len(set(ids))} questions come more than once; each must come once")
        models = np.array(sorted(responses["model"].unique().to_pylist()), object)
        row = _positions(responses["question_id"], ids)
        column = _positions(responses["model"], models)
        cell = row * len(models) + column
        answers = np.bincount(cell, minlength=len(ids) * len(models))
        if answers.size and answers.max() > 1:
            question, model = divmod(int(answers.argmax()), len(models))
            raise ValueError(
                f"{models[model]} answered question {ids[question]!r} {answers.max()} times; keep one answer each"
            )
        labels = np.full(len(ids) * len(models), np.nan, np.float32)
        correct = responses["correct"].cast(pa.float32())
        labels[cell] = correct.to_numpy(zero_copy_only=False)  # a null stays NaN: not asked
        return cls(
            labels=labels.reshape(len(ids), len(models)),
            models=tuple(models.tolist()),
            question_ids=ids,
            benchmarks=_strings(questions["benchmark"]),
            categories=_strings(questions["category"]),
            splits=_strings(questions["split"]),
            texts=_strings(questions["text"]),
        )

    @cached_property
    def observed(self) -> np.ndarray:
        """(Q, M) bool: which cells were asked."""
        return ~np.isnan(self.labels)

    def rows(self, which: np.ndarray) -> Self:
        """Return the matrix of some of the questions: a boolean mask or row numbers."""
        per_question = {f.name: getattr(self, f.name)[which] for f in fields(self) if f.name != "models"}
        return replace(self, **per_question)

    def of_split(self, split: str) -> Self:
        """Return the questions of "train", "val" or "test"."""
        return self.rows(self.splits == split)

    def of_models(self, models: tuple[str, ...]) -> Self:
        """Return the matrix of these models, in this order; one that is not among its models was asked nothing."""
        column = {name: at for at, name in enumerate(self.models)}
        there = [name in column for name in models]
        labels = np.full((len(self.labels), len(models)), np.nan, np.float32)
        labels[:, there] = self.labels[:, [column[name] for name in models if name in column]]
        return replace(self, labels=labels, models=models)


def _strings(column: pa.ChunkedArray) -> np.ndarray:
    return column.cast(pa.string()).to_numpy(zero_copy_only=False).astype(object)


def _positions(column: pa.ChunkedArray, names: np.ndarray) -> np.ndarray:
    """Return where each string of `column` stands in `names`; this hashes each distinct string once, not each row."""
    encoded = pa.array(column.cast(pa.string()).combine_chunks()).dictionary_encode()
    position = {name: i for i, name in enumerate(names)}
    distinct = encoded.dictionary.to_pylist()
    stray = [name for name in distinct if name not in position]
    if stray:
        raise ValueError(f"{len(stray)} answered questions are not among the questions, such as {stray[0]!r}")
    return np.array([position[name] for name in distinct], np.int64)[encoded.indices.to_numpy()]
