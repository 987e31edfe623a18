"""One page that people look at: `reports/report.html`, self-contained."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import jinja2
import numpy as np

from warehouse.read import query

from .figures import correctness_heatmap, interval_bars, model_map
from .inputs import correctness
from .workspace import Workspace

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Picture:
    """A figure as a data URI, and what it shows for those who cannot see it."""

    uri: str
    alt: str


@dataclass(frozen=True)
class Section:
    """One result: a sentence that says what it shows, pictures, tables, and where to query more."""

    title: str
    says: str
    pictures: list[Picture] = field(default_factory=list)
    tables: list[list[dict[str, Any]]] = field(default_factory=list)
    sql: str = ""
    ours: str = ""


@dg.asset(
    deps=["forecasts", "routing"],
    group_name="report",
    kinds={"html"},
    owners=["team:embedllm"],
    code_version="2",
)
def report(workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult:
    """Every result beside its baselines, as one HTML file without links to the network."""
    sections = [_answers(workspace), _forecasting(workspace), _routing(workspace), _embedding(workspace)]
    sections.extend(_failures(workspace))
    html = render(_facts(workspace), sections)
    _write(workspace.report, html)
    return dg.MaterializeResult(
        metadata={"report": dg.MetadataValue.path(str(workspace.report)), "bytes": len(html.encode())}
    )


def render(facts: str, sections: list[Section]) -> str:
    """The page as HTML; names of models and questions are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("report.html.j2").render(facts=facts, sections=sections)


def _write(path: Path, html: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(html, encoding="utf-8")
    draft.replace(path)


def _rows(workspace: Workspace, sql: str) -> list[dict[str, Any]]:
    return query(workspace.database, sql).to_pylist()


def _facts(workspace: Workspace) -> str:
    (row,) = _rows(
        workspace,
        "SELECT (SELECT count(*) FROM models) AS models, count(DISTINCT benchmark) AS benchmarks, "
        "count(*) AS questions, (SELECT count(*) FROM responses) AS responses FROM questions",
    )
    return (
        f"{row['models']} models, {row['benchmarks']} benchmarks, {row['questions']:,} questions, "
        f"{row['responses']:,} graded answers. Question encoder {workspace.encoder}, seed {workspace.seed}."
    )


def _answers(workspace: Workspace) -> Section:
    matrix = correctness(workspace)
    top = (
        "SELECT model, accuracy, ci_low, ci_high, n FROM leaderboard\n"
        "WHERE benchmark = 'all' ORDER BY accuracy DESC LIMIT 10"
    )
    rows = _rows(workspace, top)
    return Section(
        "What was answered",
        f"{matrix.observed.mean():.0%} of the correctness matrix is filled; a right answer was given in "
        f"{np.nanmean(matrix.labels):.1%} of the cases. The best models, each over the questions it was asked:",
        [Picture(correctness_heatmap(matrix), "heat map of accuracy by benchmark and model")],
        [rows],
        top + ";",
    )


def _forecasting(workspace: Workspace) -> Section:
    rows = _rows(workspace, _of_serving("forecasts", "method, n, accuracy, ci_low, ci_high, auc, log_loss, brier, ece"))
    ours, rest = _split(rows, "embedder")
    best = max(rest, key=lambda r: r["accuracy"])
    return Section(
        "Will a model answer a new question correctly?",
        f"On {ours['n']:,} answers to test questions the embedder is right {ours['accuracy']:.1%} of the time; "
        f"the best of the baselines, {best['method'].replace('_', ' ')}, {best['accuracy']:.1%}. (mf is the paper's "
        "matrix factorisation, fitted here to the same answers.)",
        [_bars(rows, "embedder", "forecast accuracy on test questions (%), 95% interval")],
        [rows],
        "SELECT benchmark, method, accuracy, log_loss FROM forecasts\n"
        "WHERE benchmark <> 'all' ORDER BY benchmark, accuracy DESC;\n\n"
        "SELECT question_id, model, probability, low, high, correct\n"
        "FROM predictions JOIN responses USING (question_id, model) WHERE method = 'embedder' LIMIT 5;",
        "embedder",
    )


def _routing(workspace: Workspace) -> Section:
    rows = _rows(
        workspace,
        _of_serving("routing", "method, n, accuracy, ci_low, ci_high, gain_over_best, gap_to_oracle"),
    )
    ours, _ = _split(rows, "router")
    single = next(r for r in rows if r["method"] == "best_single")
    by_benchmark = _rows(
        workspace,
        "SELECT benchmark, any_value(n) AS n, max(accuracy) FILTER (r.method = 'router') AS router, "
        "max(accuracy) FILTER (r.method = 'best_single') AS best_single, "
        "max(accuracy) FILTER (r.method = 'best_per_benchmark') AS best_per_benchmark, "
        "max(accuracy) FILTER (r.method = 'oracle') AS oracle "
        "FROM routing r JOIN embedders USING (embedder) WHERE serving AND benchmark <> 'all' "
        "GROUP BY benchmark ORDER BY benchmark",
    )
    return Section(
        "Which model should a question go to?",
        f"Sending each of {ours['n']:,} test questions to the model that the router ranks first gives "
        f"{ours['accuracy']:.1%} right answers; always asking the single best model (chosen on training questions) "
        f"gives {single['accuracy']:.1%}.",
        [_bars(rows, "router", "right answers on test questions (%), 95% interval")],
        [rows, by_benchmark],
        "SELECT model, count(*) AS questions, avg(correct::INT) AS accuracy FROM routes\n"
        "WHERE method = 'router' GROUP BY model ORDER BY questions DESC;",
        "router",
    )


def _embedding(workspace: Workspace) -> Section:
    rows = _rows(
        workspace,
        "SELECT e.model, m.family, e.embedding FROM model_embeddings e JOIN embedders USING (embedder) "
        "LEFT JOIN models m USING (model) WHERE serving ORDER BY e.model",
    )
    vectors = np.array([r["embedding"] for r in rows], dtype=np.float32)
    return Section(
        "Models that fail alike lie close together",
        f"The embeddings of {len(rows)} models, projected from {vectors.shape[1]} dimensions onto two. The distance of "
        "two embeddings says how much the models' log-odds of a right answer differ from question to question (root "
        "mean square).",
        [Picture(model_map(vectors, [r["family"] for r in rows]), "map of the models, coloured by family")],
        sql="SELECT other, distance FROM model_similarity\n"
        f"WHERE model = '{rows[0]['model']}' ORDER BY distance LIMIT 5;",
    )


def _failures(workspace: Workspace) -> list[Section]:
    rows = _rows(
        workspace,
        "SELECT model, benchmark, kind, reason FROM failures "
        "SEMI JOIN models USING (model) SEMI JOIN benchmarks USING (benchmark) "  # not of what is no longer registered
        "ORDER BY model, benchmark LIMIT 50",
    )
    if not rows:
        return []
    return [Section("What could not be evaluated", "These count as not asked, never as wrong.", tables=[rows])]


def _of_serving(table: str, columns: str) -> str:
    return (
        f"SELECT {', '.join(f't.{c.strip()}' for c in columns.split(','))} "
        f"FROM {table} t JOIN embedders USING (embedder) "
        "WHERE serving AND benchmark = 'all' ORDER BY accuracy DESC, t.method"
    )


def _split(rows: list[dict[str, Any]], method: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    ours = next(r for r in rows if r["method"] == method)
    return ours, [r for r in rows if r is not ours]


def _bars(rows: list[dict[str, Any]], ours: str, label: str) -> Picture:
    return Picture(interval_bars(rows, ours=ours, label=label), label)
