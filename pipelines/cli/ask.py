"""What the embedder is for: `embedllm route` says which models to ask, and `embedllm report` where all findings are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.table import Column, Table

from pipelines.errors import CommandError

from .console import Console, out, say
from .home import open_results
from .interrupts import stops_at_once

if TYPE_CHECKING:
    from embedder.router import Choice, Router

SCORE = "Sorted by score: probability and the model's rate on such questions, averaged as log-odds{cost}."
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
    if strange := _warn_of_strange(ranked, router.least_support, benchmark):
        say(strange)
    say(SCORE.format(cost=f", less {cost_weight:g} times its cost" if cost_weight else ""))


def _read_questions(question: str | None, file: TextIO | None) -> list[str]:
    if (question is None) == (file is None):
        raise typer.BadParameter("give either a question, in quotes, or --file")
    source = getattr(file, "name", "standard input") if file else "the question"
    try:
        questions = [text.strip() for text in file or [question or ""] if text.strip()]
    except UnicodeDecodeError as error:
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


def _warn_of_strange(ranked: list[list[Choice]], least: float | None, benchmark: str | None) -> str | None:
    """Return a warning where questions are unlike those the embedder was fitted on."""
    found = [choices[0].support for choices in ranked]
    few = [support for support in found if least is not None and support is not None and support < least]
    if not few:
        return None
    little = f"this is little more than the models' average{f' on {benchmark}' if benchmark else ''}"
    if len(found) == 1:
        return f"This question is unlike anything asked (support {few[0]:.2f}): {little}."
    return f"{len(few)} of the {len(found)} questions are unlike anything asked (support below {least:.2f}): {little}."


def _tabulate_models(choices: list[Choice]) -> Table:
    """Return a table with a row for each model that may be asked one question."""
    support = choices[0].support
    title = (
        None if support is None else f"support {support:.2f}: how like the questions asked so far this one is (0 to 1)"
    )
    columns = (Column("model", no_wrap=True), "score", "probability of a correct answer", "95% interval")
    table = Table(*columns, caption=title, caption_justify="left")
    if costs := any(choice.cost is not None for choice in choices):
        table.add_column("US$", no_wrap=True)
    for choice in choices:
        table.add_row(choice.model, *_figures(choice), *([_cost(choice)] if costs else []))
    return table


def _tabulate_questions(questions: list[str], ranked: list[list[Choice]]) -> Table:
    """Return a table with a row for each question: the model to ask and, where more are wanted, those that come
    next."""
    table = Table("question", "model", "score", "probability of a correct answer", "95% interval")
    if supported := any(choices[0].support is not None for choices in ranked):
        table.add_column("support", no_wrap=True)
    if costs := any(choices[0].cost is not None for choices in ranked):
        table.add_column("US$", no_wrap=True)
    if several := any(len(choices) > 1 for choices in ranked):
        table.add_column("then, with score")
    for question, (first, *others) in zip(questions, ranked, strict=True):
        shown = question if len(question) <= 60 else f"{question[:59]}…"
        then = ", ".join(f"{choice.model} {choice.score:.3f}" for choice in others)
        support = ["" if first.support is None else f"{first.support:.2f}"] if supported else []
        costed = [_cost(first)] if costs else []
        table.add_row(shown, first.model, *_figures(first), *support, *costed, *([then] if several else []))
    return table


def _figures(choice: Choice) -> tuple[str, str, str]:
    interval = "not known" if choice.low is None else f"{choice.low:.3f} to {choice.high:.3f}"
    return f"{choice.score:.3f}", f"{choice.probability:.3f}", interval


def _cost(choice: Choice) -> str:
    return "not known" if choice.cost is None else f"{choice.cost:.2g}"


def report(
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Say where the report is, and open it if asked."""
    import webbrowser

    home = open_results()
    if not home.report.exists():
        raise CommandError(f"There is no report yet in {home.home}: run `embedllm run` or `embedllm demo` first.")
    say(str(home.report))
    if show and not webbrowser.open(home.report.as_uri()):
        raise CommandError(f"no browser could be started here; open {home.report} in one yourself.")
