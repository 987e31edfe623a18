"""One page that people look at: `reports/report.html`, self-contained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dagster as dg

from assets.evaluation.experiments import EXPERIMENTS
from assets.figures.sections import Section, read_sections
from assets.figures.style import templates_next_to
from assets.inputs.freshness import CONFIRMED_WEEKLY
from assets.inputs.provenance import Made, asset
from assets.inputs.workspace import Workspace
from warehouse.files import replacing

from . import overview
from .cells import tabulate
from .findings import Finding, find
from .panels import Panel, read_panels


@asset(
    deps=["warehouse"],
    group_name="report",
    kinds={"html"},
    code_version="6",
    freshness_policy=CONFIRMED_WEEKLY,
)
def report(workspace: Workspace) -> Made:
    """Every result next to its baselines, as one HTML file without links to the network."""
    workspace.fetch(workspace.database)
    kept = read_sections(workspace.lake)
    if answers := kept.get("correctness_matrix"):
        kept["correctness_matrix"] = overview.add_models(answers, workspace)
    order = ("correctness_matrix", *(experiment.key.to_user_string() for experiment in EXPERIMENTS), "onboarded")
    sections = [*(kept[name] for name in order if name in kept), *overview.failed(workspace)]
    html = render(
        overview.facts(workspace),
        sections,
        origin=overview.origin(workspace),
        findings=find(workspace.database),
        panels=read_panels(workspace.database),
    )
    with replacing(workspace.report) as draft:
        draft.write_text(html, encoding="utf-8")
    metadata = {"report": dg.MetadataValue.path(str(workspace.report)), "bytes": len(html.encode())}
    return Made(metadata, files=[workspace.report])


def render(
    facts: str,
    sections: Sequence[Section],
    *,
    origin: Mapping[str, str] | None = None,
    findings: Sequence[Finding] = (),
    panels: Sequence[Panel] = (),
) -> str:
    """Return the page as HTML; names of models and questions are escaped."""
    environment = templates_next_to(__file__)
    environment.filters["tabulate"] = tabulate
    return environment.get_template("report.html.j2").render(
        facts=facts,
        sections=sections,
        origin=origin or {},
        findings=findings,
        panels=panels,
        panel_of={panel.model: f"model-{number}" for number, panel in enumerate(panels, 1)},
        anchors={section.title: f"s{number}" for number, section in enumerate(sections, 1)},
    )
