"""What follows from a few answers of a model for the embedder that serves: the model joins it, all others stay."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.figures.bars import interval_bars
from assets.figures.sections import Picture, Section, rows, section_metadata, section_part
from assets.inputs.entries import ENTRY, entry_digest
from assets.inputs.external import evaluated_in_full
from assets.inputs.home import Home
from assets.inputs.memory import remember_last
from assets.inputs.provenance import Made, asset
from assets.inputs.table_metadata import table_metadata
from assets.inputs.workspace import Workspace
from assets.matrix.reading import correctness, described_questions, embeddings_of, encoder_in_use
from embedder.questions import Questions
from warehouse.database.connect import empty_table

from .serving import load_spectral, serving_state, serving_version, tabulate_embeddings

if TYPE_CHECKING:
    from embedder.spectral.fold_in import FoldedModel, ModelPool

MOST = 40  # rows of a picture in the report
PREDICTED = "answered, n AS questions, accuracy, ci_low, ci_high"


@asset(
    deps=["embedder"],
    reads=["few_answers"],
    group_name="embedding",
    kinds={"python"},
    code_version="4",
    pool="warehouse",  # one at a time writes to the folder of the version that serves
)
def onboarded(workspace: Workspace) -> Made:
    """A row is the accuracy on one benchmark that is predicted of a model from its answers to a chosen few questions.
    Such models join the embedder that serves; its own stay as they are."""
    from embedder.spectral.onboarded import Onboarded, save_onboarded

    lake = workspace.lake
    for model in evaluated_in_full(workspace):
        lake.drop_onboarding(model)
    version = serving_version(workspace)
    folded = _fold_in(workspace)
    table = _tabulate(version, folded)
    joining = tabulate_embeddings(version, {name: model.embedding for name, model in folded.items()})
    lake.write_table("model_embeddings", joining, f"{version}-onboarded")
    lake.write_table("onboarded", table, version)
    joined = Onboarded.of(folded, open_pool(workspace).questions) if folded else None
    save_onboarded(workspace.embedders / version, joined)
    section = describe(table, _find_embeddings(workspace, folded)) if folded else None
    kept = section_part("onboarded", section, version=version)
    lake.write_table(*kept)
    content = json.dumps([version, table.to_pylist(), [model.embedding.tolist() for model in folded.values()]])
    return Made(
        metadata={
            **table_metadata("onboarded", len(table)),
            "models": len(folded),
            "answers": sum(int((~np.isnan(model.answers)).sum()) for model in folded.values()),
            "version": version,
            **(section_metadata(section) if section else {}),
        },
        tables={kept.table: [kept.part]} if section else {},
        files=[workspace.embedders / version],
        data_version=hashlib.sha256(content.encode()).hexdigest()[:16],
    )


# --- who has answered a few questions, and what follows


class OpenPool(NamedTuple):
    """What new models join: the embedder that serves, with the answers and Q questions it is known by."""

    pool: ModelPool
    questions: Questions


@remember_last(serving_state)
def open_pool(workspace: Home) -> OpenPool:
    """Return the pool of the answers and embedded questions there are now, whether the embedder was fitted on them or
    not.

    Raises:
        NoEmbedder: none was fitted yet.
        StoreError: its files are damaged, or it was fitted on another encoder's vectors.
    """
    from embedder.spectral.fold_in import ModelPool

    encoder, folder = encoder_in_use(workspace).name, workspace.embedders / serving_version(workspace)
    workspace.fetch(folder)
    fitted, _ = load_spectral(folder, encoder)
    matrix = correctness(workspace).of_models(fitted.models)
    embedded = set(embeddings_of(workspace, encoder)["question_id"].to_pylist())
    matrix = matrix.rows(np.array([question in embedded for question in matrix.question_ids], bool))
    questions = described_questions(workspace, matrix, encoder)
    return OpenPool(ModelPool.of(fitted, matrix, questions), questions)


def answers_that_hold(workspace: Workspace) -> dict[str, dict[str, bool]]:
    """Return by registered model and question id what was answered under the registry's entries as they read now."""
    registry, lake = workspace.registry, workspace.lake
    onboarded_models = lake.onboarded_models()
    holds = {
        (model.name, benchmark.name)
        for model in registry.models
        for benchmark in registry.benchmarks_of(model)
        if model.name in onboarded_models
        and (lake.onboarding_metadata(benchmark.name, model.name) or {}).get(ENTRY)
        == entry_digest(model, benchmark, workspace)
    }
    found: dict[str, dict[str, bool]] = {}
    for row in lake.onboarding_responses().select(["model", "benchmark", "question_id", "correct"]).to_pylist():
        if (row["model"], row["benchmark"]) in holds:
            found.setdefault(row["model"], {})[row["question_id"]] = row["correct"]
    return found


def _fold_in(workspace: Workspace) -> dict[str, FoldedModel]:
    """Return the models that have answered a few questions, by name; those that the embedder was fitted on are in it
    already."""
    answers = answers_that_hold(workspace)
    if not answers:
        return {}
    pool, _ = open_pool(workspace)
    ids = pool.matrix.question_ids
    return {
        name: pool.fold_in(np.array([known.get(question, np.nan) for question in ids], float))
        for name, known in sorted(answers.items())
        if name not in pool.predictor.models
    }


def _tabulate(version: str, folded: Mapping[str, FoldedModel]) -> pa.Table:
    """Return the table `onboarded`: a row for each model and benchmark, and one for all benchmarks."""
    found = []
    for name, model in folded.items():
        answered, benchmarks = ~np.isnan(model.answers), model.pool.matrix.benchmarks
        for accuracy in (*model.accuracies(), model.overall_accuracy()):
            asked = True if accuracy.benchmark == "all" else benchmarks == accuracy.benchmark
            found.append(
                {
                    "embedder": version,
                    "model": name,
                    "benchmark": accuracy.benchmark,
                    "n": accuracy.n,
                    "answered": int((answered & asked).sum()),
                    "accuracy": accuracy.accuracy,
                    "ci_low": accuracy.low,
                    "ci_high": accuracy.high,
                }
            )
    return pa.Table.from_pylist(found, schema=empty_table("onboarded").schema)


# --- what the report says of them


def describe(table: pa.Table, embeddings: Mapping[str, npt.NDArray[np.float32]]) -> Section:
    """Return the report's section on the table `onboarded`: what is predicted of these models, and whom they are like
    among all that have `embeddings` (d,)."""
    tables = {"onboarded": table}
    overall = rows(
        tables, f"SELECT model, {PREDICTED} FROM onboarded WHERE benchmark = 'all' ORDER BY accuracy DESC, model"
    )
    for row in overall:
        own, others = embeddings[row["model"]], sorted(embeddings.keys() - {row["model"]})
        row["nearest"] = min(others, key=lambda other: np.linalg.norm(embeddings[other] - own))
    parts = rows(
        tables,
        f"SELECT model, benchmark, {PREDICTED} FROM onboarded WHERE benchmark <> 'all' ORDER BY model, benchmark",
    )
    first = overall[0]
    who = "1 model has" if len(overall) == 1 else f"{len(overall):,} models have"
    # A single model has its benchmarks shown: one line would be no picture.
    by, drawn = ("benchmark", parts) if len(overall) == 1 else ("model", overall)
    bars = interval_bars(
        [{**row, "method": row[by]} for row in drawn[:MOST]], ours="", label="predicted accuracy (%, 95% interval)"
    )
    return Section(
        "What is expected of models known from a few answers",
        f"{who} answered a chosen few of all questions. {first['model']}, for example, answered "
        f"{first['answered']:,} of {first['questions']:,}: it is expected to answer {first['accuracy']:.1%} right "
        f"(95% interval {first['ci_low']:.1%} to {first['ci_high']:.1%}), and is most like {first['nearest']}.",
        [Picture.of(bars, f"predicted accuracy with its interval, by {by}")],
        [overall, parts],
        "SELECT model, benchmark, answered, accuracy, ci_low, ci_high FROM onboarded\nORDER BY model, benchmark;",
    )


def _find_embeddings(workspace: Workspace, folded: Mapping[str, FoldedModel]) -> dict[str, npt.NDArray[np.float32]]:
    """Return by model the embedding (d,) of those that serve and those that join them."""
    fitted = open_pool(workspace).pool.predictor
    known = dict(zip(fitted.models, fitted.model_embeddings, strict=True))
    return {name: embedding for name, embedding in known.items() if np.isfinite(embedding).all()} | {
        name: model.embedding for name, model in folded.items()
    }
