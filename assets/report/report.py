"""One page that people look at: `reports/report.html`, self-contained."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dagster as dg
import jinja2

from assets.evaluation.experiments import EXPERIMENTS
from assets.figures.sections import Section, read_sections
from assets.inputs.freshness import CONFIRMED_WEEKLY
from assets.inputs.provenance import Made, asset
from assets.inputs.workspace import Workspace

from . import overview

TEMPLATES = Path(__file__).parent


@asset(
    deps=["warehouse"],
    group_name="report",
    kinds={"html"},
    owners=["team:embedllm"],
    code_version="5",
    freshness_policy=CONFIRMED_WEEKLY,
)
def report(workspace: Workspace) -> Made:
    """Every result beside its baselines, as one HTML file without links to the network."""
    kept = read_sections(workspace.lake)
    if answers := kept.get("correctness_matrix"):
        kept["correctness_matrix"] = overview.add_best(answers, workspace)
    order = ("correctness_matrix", *(experiment.key.to_user_string() for experiment in EXPERIMENTS), "onboarded")
    sections = [*(kept[name] for name in order if name in kept), *overview.failed(workspace)]
    html = render(overview.facts(workspace), sections)
    _write(workspace.report, html)
    return Made(
        metadata={
            "report": dg.MetadataValue.path(str(workspace.report)),
            "bytes": len(html.encode()),
        },
        files=[workspace.report],
    )


def render(facts: str, sections: list[Section]) -> str:
    """The page as HTML; names of models and questions are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"rounded": rounded, "filled": _filled}
    return environment.get_template("report.html.j2").render(facts=facts, sections=sections)


def rounded(number: float) -> str:
    """To three decimals, and what is smaller to three digits."""
    return f"{number:.3f}" if number == 0 or abs(number) >= 0.001 else f"{number:.3g}"


def _filled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the columns that hold nothing."""
    kept = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    return [{name: row[name] for name in kept} for row in rows]


def _write(path: Path, html: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(html, encoding="utf-8")
    draft.replace(path)
