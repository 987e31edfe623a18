"""What the embedder is for: `embedllm route` says which models to ask, and `embedllm report` where all findings are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.table import Column, Table

from pipelines.console import Console, out, say
from pipelines.errors import CommandError

from .home import open_results
from .interrupts import stops_at_once

if TYPE_CHECKING:
    from embedder.router import Choice, Router

SCORE = "Sorted by score: probability and the model's rate on such questions, averaged as log-odds{cost}."
COST = "US$"
BATCH = 64  # questions that `route` encodes between two steps of its bar


@stops_at_once()
def route(
    question: Annotated[str | None, typer.Argument(help="The question, in quotes.", show_default=False)] = None,
    file: Annotated[
        typer.FileText | None,
        typer.Option(encoding="utf-8-sig", metavar="FILE", help="Questions, one a line; - is standard input."),
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
) -> None:
    """The models to ask, the best first: the probability that each answers correctly, and its 95% interval."""
    questions = _read_questions(question, file)
    if not math.isfinite(cost_weight):
        raise typer.BadParameter(f"--cost-weight is {cost_weight}, but must be a number")
    home = open_results()
    from assets.embedding.serving import open_router, serving_version

    serving_version(home)  # where there is none, it says so before the router's long imports
    router = open_router(home)
    ranked = _rank(
        router,
        questions,
        top=top or (1 if file else 5),
        models=among,
        without=without or (),
        benchmark=benchmark,
        cost_weight=cost_weight,
    )
    out.print(_tabulate_questions(questions, ranked) if file else _tabulate_models(ranked[0]))
    _warn_of_strange(ranked, router.least_support, benchmark)
    say(SCORE.format(cost=f", less {cost_weight:g} times its cost" if cost_weight else ""))


def _read_questions(question: str | None, file: TextIO | None) -> list[str]:
    if (question is None) == (file is None):
        raise typer.BadParameter("give either a question, in quotes, or --file")
    source = getattr(file, "name", "standard input") if file else "the question"
    try:
        questions = [text.strip() for text in file or [question or ""] if text.strip()]
        "".join(questions).encode()  # an argument that was no UTF-8 is decoded into surrogates
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise CommandError(f"{source} is not UTF-8 text ({error.reason}); convert it first.") from error
    if not questions:
        raise CommandError(f"{source} is empty; write at least one question.")
    return questions


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
    say(f"{which}: this is little more than the models' average{f' on {benchmark}' if benchmark else ''}.")


def _tabulate_models(choices: list[Choice]) -> Table:
    """Return a table with a row for each model that may be asked one question."""
    support = choices[0].support
    note = f"support {support or 0:.2f}: how like the questions asked so far this one is (0 to 1)"
    rows = [_describe(choice) | {COST: _cost(choice)} for choice in choices]
    return _tabulate(rows, unbroken=("model", COST), caption=None if support is None else note)


def _tabulate_questions(questions: list[str], ranked: list[list[Choice]]) -> Table:
    """Return a table with a row for each question: the model to ask and, where more are wanted, those that follow."""
    rows = [
        {"question": question if len(question) <= 60 else f"{question[:59]}…"}
        | _describe(first)
        | {"support": None if first.support is None else f"{first.support:.2f}", COST: _cost(first)}
        | {"then, with score": ", ".join(f"{choice.model} {choice.score:.3f}" for choice in others)}
        for question, (first, *others) in zip(questions, ranked, strict=True)
    ]
    return _tabulate(rows, unbroken=("support", COST))


def _describe(choice: Choice) -> dict[str, str | None]:
    return {
        "model": choice.model,
        "score": f"{choice.score:.3f}",
        "probability of a correct answer": f"{choice.probability:.3f}",
        "95% interval": "not known" if choice.low is None else f"{choice.low:.3f} to {choice.high:.3f}",
    }


def _cost(choice: Choice) -> str | None:
    return None if choice.cost is None else f"{choice.cost:.2g}"


def _tabulate(rows: list[dict[str, str | None]], *, unbroken: tuple[str, ...], caption: str | None = None) -> Table:
    """Return a table of those columns in which at least one row has something."""
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    columns = [Column(name, no_wrap=name in unbroken) for name in names]
    table = Table(*columns, caption=caption, caption_justify="left")
    for row in rows:
        table.add_row(*(row[name] or ("not known" if name == COST else "") for name in names))
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
