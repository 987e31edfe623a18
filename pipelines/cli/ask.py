"""What the embedder is for: `embedllm route` says which models to ask, and `embedllm report` where all findings are."""

from __future__ import annotations

import csv
import json
import math
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Column, Table

from pipelines.console import Console, say, show
from pipelines.errors import CommandError

from .home import open_results
from .interrupts import stops_at_once
from .questions import read_file, read_one

if TYPE_CHECKING:
    from embedder.router import Choice, Router

SCORE = "Sorted by score: probability and the model's rate on such questions, averaged as log-odds{cost}."
BATCH = 64  # questions that `route` encodes between two steps of its bar
_COLUMNS = ("question", "rank", "model", "probability", "low", "high", "score", "cost", "support")
_SHOWN = 60  # characters of a question in a table for people


@stops_at_once()
def route(
    question: Annotated[str | None, typer.Argument(help="The question, in quotes.", show_default=False)] = None,
    file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Questions: a text with one a line, JSON lines (.jsonl) or Parquet; - is standard input.",
        ),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Of JSON lines or Parquet, the column with the questions.", show_default=False
        ),
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="How many models to show.", show_default="5, with --file 1")
    ] = None,
    among: Annotated[
        list[str] | None, typer.Option(metavar="MODEL", help="Choose only among these; again for each.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(metavar="MODEL", help="Leave out what is down; again for each.")
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Benchmark or category the question is of, if you know; it helps."),
    ] = None,
    cost_weight: Annotated[
        float,
        typer.Option(
            min=0,
            help="How much of the routing score a unit of cost is worth: a US$ that the question will cost, by what "
            "answers took or the models' prices, or a billion parameters where more models have a known size.",
        ),
    ] = 0,
    output: Annotated[
        Literal["table", "csv", "json"],
        typer.Option("--format", help="For people, or whole texts and all digits for programs."),
    ] = "table",
) -> None:
    """The models to ask, the best first: the probability that each answers correctly, and its 95% interval."""
    if (question is None) == (file is None):
        raise typer.BadParameter("give either a question, in quotes, or --file")
    questions = read_file(file, column) if file else read_one(question or "")
    if not math.isfinite(cost_weight):
        raise typer.BadParameter(f"--cost-weight is {cost_weight}, but must be a number")
    router = _open_router()
    ranked = _rank(
        router,
        questions,
        top=top or (1 if file else 5),
        models=among,
        without=without or (),
        benchmark=benchmark,
        cost_weight=cost_weight,
    )
    if output == "csv":
        _write_csv(questions, ranked)
    elif output == "json":
        _write_json(questions, ranked, router)
    else:
        unit = router.cost_unit
        show(_tabulate_questions(questions, ranked, unit) if file else _tabulate_models(ranked[0], unit))
        say(SCORE.format(cost=f", less {cost_weight:g} times its cost" if cost_weight else ""))
    _warn_of_strange(ranked, router.least_support, benchmark)


def _open_router() -> Router:
    home = open_results()
    from assets.embedding.serving import open_router, serving_version

    serving_version(home)  # where there is none, it says so before the router's long imports
    return open_router(home)


def _rank(router: Router, questions: list[str], **options: Any) -> list[list[Choice]]:
    """Return the models for each question; many questions are done in batches, so that progress can be shown."""
    if len(questions) <= BATCH:
        return router.rank(questions, **options)
    ranked = []
    with Console() as console:
        for start in range(0, len(questions), BATCH):
            ranked += router.rank(questions[start : start + BATCH], **options)
            console.progress(len(ranked), len(questions), "questions routed")
    return ranked


def _warn_of_strange(ranked: list[list[Choice]], least: float | None, benchmark: str | None) -> None:
    """Warn where questions are unlike those the embedder was fitted on."""
    found = [choices[0].support for choices in ranked]
    few = [support for support in found if least is not None and support is not None and support < least]
    if not few:
        return
    if len(found) == 1:
        which = f"This question is unlike anything asked (support {few[0]:.2f})"
    else:
        which = f"{len(few)} of the {len(found)} questions are unlike anything asked (support below {least:.2f})"
    of = f" on {benchmark}" if benchmark else ""
    typer.echo(f"{which}: this is little more than the models' average{of}.", err=True)


def _write_csv(questions: list[str], ranked: list[list[Choice]]) -> None:
    """Write a row for each model and question, its numbers with all digits; what is not known is empty."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for question, choices in zip(questions, ranked, strict=True):
        for rank, choice in enumerate(choices, start=1):
            told = {"question": question, "rank": rank, **choice._asdict()}
            writer.writerow([told[name] for name in _COLUMNS])


def _write_json(questions: list[str], ranked: list[list[Choice]], router: Router) -> None:
    from embedder.router import as_records

    typer.echo(json.dumps(as_records(questions, ranked, router), indent=1, ensure_ascii=False))


def _tabulate_models(choices: list[Choice], unit: str) -> Table:
    """Return a table with a row for each model that may be asked one question."""
    support = choices[0].support
    note = f"support {support or 0:.2f}: how like the questions asked so far this one is (0 to 1)"
    rows = [_describe(choice, unit) for choice in choices]
    return _tabulate(
        rows,
        unbroken=("model", "score", "probability", "95% interval"),
        unit=unit,
        caption=None if support is None else note,
    )


def _tabulate_questions(questions: list[str], ranked: list[list[Choice]], unit: str) -> Table:
    """Return a table with a row for each question: the model to ask and, where more are wanted, those that follow."""
    rows = [
        {"question": question if len(question) <= _SHOWN else f"{question[: _SHOWN - 1]}…"}
        | _describe(first, unit)
        | {"support": None if first.support is None else f"{first.support:.2f}"}
        | {"then, with score": ", ".join(f"{choice.model} {choice.score:.3f}" for choice in others)}
        for question, (first, *others) in zip(questions, ranked, strict=True)
    ]
    return _tabulate(rows, unbroken=("model", "score", "probability", "support"), unit=unit)


def _describe(choice: Choice, unit: str) -> dict[str, str | None]:
    return {
        "model": choice.model,
        "score": f"{choice.score:.3f}",
        "probability": f"{choice.probability:.3f}",
        "95% interval": "not known" if choice.low is None else f"{choice.low:.3f} to {choice.high:.3f}",
        unit: None if choice.cost is None else f"{choice.cost:.2g}",
    }


def _tabulate(
    rows: list[dict[str, str | None]], *, unbroken: tuple[str, ...], unit: str, caption: str | None = None
) -> Table:
    """Return a table of those columns in which at least one row has something."""
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    columns = [Column(name, no_wrap=name in unbroken) for name in names]
    table = Table(*columns, caption=caption, caption_justify="left")
    for row in rows:
        table.add_row(*(row[name] or ("not known" if name == unit else "") for name in names))
    return table


def report(
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Say where the report is, and open it if asked."""
    import webbrowser

    home = open_results()
    if not home.report.exists():
        raise CommandError(
            f"There is no report yet in {home.home}: run `embedllm run` first, or `embedllm demo` in a home of its own."
        )
    say(str(home.report))
    if show and not webbrowser.open(home.report.as_uri()):
        raise CommandError(f"no browser could be started here; open {home.report} in one yourself.")
