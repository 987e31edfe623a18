"""One page that people look at: `reports/report.html`, self-contained."""

from __future__ import annotations

from typing import Any

import dagster as dg

from assets.evaluation.experiments import EXPERIMENTS
from assets.figures.sections import Section, read_sections
from assets.figures.style import templates_next_to
from assets.inputs.freshness import CONFIRMED_WEEKLY
from assets.inputs.provenance import Made, asset
from assets.inputs.workspace import Workspace
from warehouse.files import replacing

from . import overview


@asset(
    deps=["warehouse"],
    group_name="report",
    kinds={"html"},
    code_version="5",
    freshness_policy=CONFIRMED_WEEKLY,
)
def report(workspace: Workspace) -> Made:
    """Every result next to its baselines, as one HTML file without links to the network."""
    workspace.fetch(workspace.database)
    kept = read_sections(workspace.lake)
    if answers := kept.get("correctness_matrix"):
        kept["correctness_matrix"] = overview.add_best(answers, workspace)
    order = ("correctness_matrix", *(experiment.key.to_user_string() for experiment in EXPERIMENTS), "onboarded")
    sections = [*(kept[name] for name in order if name in kept), *overview.failed(workspace)]
    html = render(overview.facts(workspace), sections)
    with replacing(workspace.report) as draft:
        draft.write_text(html, encoding="utf-8")
    metadata = {"report": dg.MetadataValue.path(str(workspace.report)), "bytes": len(html.encode())}
    return Made(metadata, files=[workspace.report])


def render(facts: str, sections: list[Section]) -> str:
    """Return the page as HTML; names of models and questions are escaped."""
    environment = templates_next_to(__file__)
    environment.filters |= {"rounded": rounded, "filled": _filled}
    return environment.get_template("report.html.j2").render(facts=facts, sections=sections)


def rounded(number: float) -> str:
    """Return a number with three decimals, or, where it is smaller, with three digits."""
    return f"{number:.3f}" if number == 0 or abs(number) >= 0.001 else f"{number:.3g}"


def _filled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows without the columns that hold nothing."""
    kept = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    return [{name: row[name] for name in kept} for row in rows]
