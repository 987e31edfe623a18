"""`embedllm`: the commands users rely on."""

from __future__ import annotations

import errno
import json
import math
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.table import Column, Table
from typer.core import TyperGroup

from pipelines.errors import CommandError

from . import models as cli_models
from .console import Console
from .embedders import embedders_app
from .interrupts import KEPT, leave_if_unread, stops_at_once
from .lake import lake_app
from .onboard import onboard
from .plan import show_plan
from .terminal import command, open_home, open_results, open_settings, out, table_of, write_csv

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assets.inputs.workspace import Workspace
    from embedder.router import Choice, Router
    from pipelines.local.chain import Again

SCORE = "Sorted by score: probability and the model's rate on such questions, averaged as log-odds{cost}."
OFTEN = 0.1  # share of questions that lack what they speak of: complete multiple-choice questions have .001
BATCH = 64  # questions that `route` encodes between two steps of its bar


class _Commands(TyperGroup):
    """Errors a user can mend end in one sentence, not in a traceback."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        os.environ["PYTHONSAFEPATH"] = "1"  # worker processes, too, import nothing that lies where the user stands
        try:
            return super().main(*arguments, **options)
        finally:
            try:
                sys.stdout.flush()
            except BrokenPipeError:
                leave_if_unread()

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            leave_if_unread()
            raise
        except _errors_of_users() as error:
            typer.secho(f"embedllm: {_sentence(error)}", err=True, fg=typer.colors.RED)
        except _errors_of_dagster() as error:
            typer.secho(f"embedllm: {_about_dagster(error)}", err=True, fg=typer.colors.RED)
        raise typer.Exit(1)


def _errors_of_users() -> tuple[type[Exception], ...]:
    """Called once something has gone wrong: what defines them need not be loaded before."""
    from pydantic import ValidationError

    from harness.errors import HarnessError
    from harness.registry import RegistryError
    from warehouse.errors import WarehouseError

    return CommandError, RegistryError, HarnessError, WarehouseError, ValidationError, OSError


def _errors_of_dagster() -> tuple[type[Exception], ...]:
    """Of the database that holds its records; where nobody has opened one, nothing is wrong with it."""
    loaded = sys.modules.get("sqlalchemy.exc")
    return (loaded.DatabaseError,) if loaded else ()


def _about_dagster(error: Exception) -> str:
    return (
        f"{os.environ.get('DAGSTER_HOME', 'the records of runs')}: {getattr(error, 'orig', error)}; see that the disk "
        "has space and that you may write there, and run the command again. If a file there is damaged, delete the "
        "folder: which runs there were is forgotten, and no answers."
    )


def _sentence(error: Exception) -> str:
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        first = error.errors()[0]
        name = "_".join(["EMBEDLLM", *(str(part).upper() for part in first["loc"])])
        found = first["msg"].removeprefix("Value error, ")
        return f"{name} is {str(first['input'])!r}: {found}."
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{error.filename or error}: {error.strerror}; make room and run the command again."
    if isinstance(error, OSError) and error.filename:
        return (
            f"{error.filename}: {error.strerror}; correct the path, or set EMBEDLLM_HOME to a folder you may write to."
        )
    return str(error)


app = typer.Typer(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Embeddings of language models, learnt from which benchmark questions they answer right. "
    "All state lies in $EMBEDLLM_HOME (default ./data).",
)
models_app = typer.Typer(no_args_is_help=True, help="The models of the registry in force.")
benchmarks_app = typer.Typer(no_args_is_help=True, help="The benchmarks of the registry in force.")
app.command()(onboard)
models_app.command("add")(cli_models.add)
models_app.command("remove")(cli_models.remove)
app.add_typer(models_app, name="models")
app.add_typer(embedders_app, name="embedders")
app.add_typer(benchmarks_app, name="benchmarks")
app.add_typer(lake_app, name="lake")
app.command("plan")(show_plan)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        out.print(f"embedllm {version('embedllm')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say the version, and exit.")
    ] = False,
) -> None:
    pass


@app.command()
@stops_at_once(KEPT)
def demo() -> None:
    """Train the zoo, run the whole chain on it, and say what to do next: minutes the first time, then seconds."""
    _adopt_demo()
    _chain()
    embedllm = command()
    out.print(
        "\nNext:\n"
        f'  {embedllm} route "What is 12 plus 7?"\n'
        f"  {embedllm} sql \"SELECT model, accuracy FROM leaderboard WHERE benchmark = 'code' "
        'ORDER BY accuracy DESC LIMIT 5"\n'
        f"  {embedllm} report\n"
        "  make ui",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _adopt_demo() -> None:
    """The home's copy of the demo's registry is in force from now on."""
    from pipelines.local.instance import exclusive
    from pipelines.settings import DEMO_REGISTRY, own_registry

    settings = open_settings()
    if settings.registry not in (None, DEMO_REGISTRY, own_registry(settings.home)):
        raise CommandError(
            f"EMBEDLLM_REGISTRY is set to {settings.registry}, and the demo has a registry of its own: unset it for "
            f"the demo, or give `{command()} run` to work with yours."
        )
    with exclusive(settings.home):
        cli_models.adopt(DEMO_REGISTRY, settings.home)


@app.command()
@stops_at_once(KEPT)
def run(
    full: Annotated[
        bool, typer.Option("--full", help="Also the expensive experiments, which else wait for the week to end.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Also ask the hub whether models and data there are what they were.")
    ] = False,
    again: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Ask this model again, whatever it has answered.", show_default=False),
    ] = None,
    benchmark: Annotated[
        str | None, typer.Option(help="With --again: only this benchmark.", show_default=False)
    ] = None,
) -> None:
    """Evaluate what is registered and missing or has changed, then refresh what depends on it."""
    from pipelines.local.chain import Again

    if benchmark and not again:
        raise typer.BadParameter("--benchmark goes with --again MODEL")
    _chain(full=full, check=check, again=Again(again, benchmark) if again else None)


def _chain(*, full: bool = False, check: bool = False, again: Again | None = None) -> None:
    from pipelines.automation.plan import LATER
    from pipelines.local.chain import run_chain
    from pipelines.local.instance import use_home

    settings, workspace = open_home()
    if not workspace.registry.models and not workspace.lake.pairs():
        raise CommandError(
            "There is nothing to run on: set EMBEDLLM_REGISTRY to a registry, or import published results."
        )
    use_home(settings)
    with Console() as console:
        models = f"registry {workspace.registry.folder}" if workspace.registry.models else "imported results only"
        console.say(f"embedllm: home {settings.home}, {models}")
        result = run_chain(settings, workspace, console, full=full, check=check, again=again)
        if not result.evaluated and not result.refreshed:
            rest = "everything else" if result.later else "everything"
            console.say(f"Nothing changed: every answer is there and {rest} made of them is up to date.")
        if result.later:
            console.say(f"Out of date, and waiting for {LATER}: {', '.join(result.later)}.")
    _summary(workspace)
    from assets.inputs.versions import tell_held_back

    if sentence := tell_held_back(workspace.lake):
        out.print(sentence, soft_wrap=True, highlight=False)
    if result.failed:
        raise CommandError(
            f"{len(result.failed)} of {result.evaluated} models have failed evaluations ({', '.join(result.failed[:3])}"
            f"{', …' if len(result.failed) > 3 else ''}); everything else is done. "
            "See `SELECT * FROM failures` for the reasons; `embedllm run` tries them again."
        )


def _summary(workspace: Workspace) -> None:
    from warehouse.database.read import query

    counts = query(
        workspace.database,
        "SELECT (SELECT count(*) FROM models), (SELECT count(DISTINCT benchmark) FROM questions), "
        "(SELECT count(*) FROM questions), (SELECT count(*) FROM responses)",
    ).to_pydict()
    models, benchmarks, questions, responses = (column[0] for column in counts.values())
    out.print(
        f"{models} models, {benchmarks} benchmarks, {questions:,} questions, {responses:,} responses "
        f"in {workspace.database}",
        soft_wrap=True,
    )
    results = query(
        workspace.database,
        "SELECT 'forecast' AS task, f.method, accuracy, ci_low, ci_high "
        "FROM forecasts f JOIN embedders USING (embedder) WHERE serving AND benchmark = 'all' UNION ALL "
        "SELECT 'routing', r.method, accuracy, ci_low, ci_high "
        "FROM routing r JOIN embedders USING (embedder) WHERE serving AND benchmark = 'all' "
        "ORDER BY task, accuracy DESC",
    )
    out.print(table_of(results, title="On test questions (95% interval)"))
    out.print(f"Report: {workspace.report}", soft_wrap=True, highlight=False)


class Conflict(StrEnum):
    """What becomes of two labels for one answer, see `warehouse.imports.ingest.OnConflict`."""

    refuse = "refuse"
    majority = "majority"
    drop = "drop"
    first = "first"


@app.command("import")
@stops_at_once("an import is all or nothing, the same command does what is missing")
def import_(
    source: Annotated[
        str, typer.Argument(help="CSV or Parquet file, folder of parts or of train/val/test, or hub data set id.")
    ],
    split: Annotated[Path | None, typer.Option(help="Table prompt_id, split (CSV or Parquet).")] = None,
    models: Annotated[Path | None, typer.Option(help="Table of model labels: model_name, family, size_b, …")] = None,
    on_conflict: Annotated[
        Conflict,
        typer.Option(help="Of two labels for one answer: refuse, or the majority, none, the first."),
    ] = Conflict.refuse,
    resplit: Annotated[bool, typer.Option("--resplit", help="The same split for questions of the same text.")] = False,
) -> None:
    """Bring in published results (the EmbedLLM layout), all or nothing; the same file again changes nothing."""
    from harness.registry import benchmark_name_fault, model_name_fault
    from pipelines.local.instance import exclusive
    from warehouse.imports.ingest import import_results

    settings, workspace = open_home()
    with exclusive(settings.home), Console() as console:
        summary = import_results(
            workspace.lake,
            source,
            split=split,
            models=models,
            benchmark_of=workspace.registry.benchmark_of,
            model_fault=model_name_fault,
            benchmark_fault=benchmark_name_fault,
            on_conflict=on_conflict.value,
            resplit=resplit,
            progress=console.progress,
        )
    verb = "Imported" if summary.changed else "Nothing new in"
    out.print(
        f"{verb} {source}: {summary.rows:,} answers of {summary.models} models to {summary.questions:,} questions "
        f"in {summary.benchmarks} benchmarks.\nNext: {command()} run",
        soft_wrap=True,
        highlight=False,
    )
    if summary.resolved:
        out.print(f"{summary.resolved:,} answers had two labels; decided by --on-conflict {on_conflict.value}.")
    if summary.resplit:
        out.print(f"{summary.resplit:,} questions got the split of another with the same text.")
    if warning := _warning(summary.lacking):
        out.print(warning, soft_wrap=True, highlight=False, markup=False)


def _warning(lacking: Mapping[str, tuple[int, int]]) -> str | None:
    """Of benchmarks whose questions often lack what they speak of; most such questions do not say so."""
    often = {name: counts for name, counts in lacking.items() if counts[0] >= OFTEN * counts[1]}
    if not often:
        return None
    names = sorted(often, key=lambda name: -often[name][0] / often[name][1])
    several = f" and {len(names) - 3} more benchmarks" if len(names) > 3 else ""
    found, asked = (sum(counts) for counts in zip(*often.values(), strict=True))
    return (
        f"Warning: {found / asked:.0%} of the {asked:,} questions of {', '.join(names[:3])}{several} ask to choose "
        "among options, or speak of a picture, that their text does not show. Put all that the models were shown into "
        "the column prompt: forecasts are better for it (docs/import.md)."
    )


class Format(StrEnum):
    """How `sql` prints."""

    table = "table"
    csv = "csv"
    json = "json"


@app.command()
@stops_at_once()
def sql(
    statement: Annotated[str, typer.Argument(help="One DuckDB query, in quotes.")],
    output: Annotated[Format, typer.Option("--format", "-f", help="How to print the rows.")] = Format.table,
) -> None:
    """Query the warehouse. Tables: models, benchmarks, questions, responses, leaderboard, forecasts, predictions, …"""
    import duckdb

    from warehouse.database.read import query

    try:
        rows = query(open_results().database, statement)
    except duckdb.Error as error:
        raise CommandError(f"the query failed: {error}") from error
    if output is Format.table:
        out.print(table_of(rows))
    elif output is Format.csv:
        write_csv(rows, sys.stdout)
    else:
        sys.stdout.write(json.dumps(rows.to_pylist(), default=str, ensure_ascii=False, indent=1) + "\n")


@app.command()
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
    questions = _questions(question, file)
    if not math.isfinite(cost_weight):
        raise typer.BadParameter(f"--cost-weight is {cost_weight}, but must be a number")
    home = open_results()
    from assets.embedding.serving import NoEmbedder, open_router, serving_version

    try:
        serving_version(home)  # before what takes long to load
    except NoEmbedder as error:
        raise CommandError(str(error)) from error
    from embedder.lazy_encoder import EncoderError
    from embedder.router import UnknownBenchmark, UnknownModel
    from embedder.store import StoreError

    wanted = {"top": top or (1 if file else 5), "models": among, "without": without or (), "cost_weight": cost_weight}
    try:
        router = open_router(home)
        ranked = _ranked(router, questions, wanted | {"benchmark": benchmark})
    except (EncoderError, StoreError, UnknownBenchmark, UnknownModel) as error:
        raise CommandError(str(error)) from error
    out.print(_routes(questions, ranked) if file else _choices(ranked[0]))
    if strange := _strange(ranked, router.least_support, benchmark):
        out.print(strange, soft_wrap=True)
    out.print(SCORE.format(cost=f", less {cost_weight:g} times its cost" if cost_weight else ""), soft_wrap=True)


def _strange(ranked: list[list[Choice]], least: float | None, benchmark: str | None) -> str:
    """A warning of questions unlike those the embedder was fitted on; empty where there are none."""
    found = [choices[0].support for choices in ranked]
    few = [support for support in found if least is not None and support is not None and support < least]
    if not few:
        return ""
    little = f"this is little more than the models' average{f' on {benchmark}' if benchmark else ''}"
    if len(found) == 1:
        return f"This question is unlike anything asked (support {few[0]:.2f}): {little}."
    return f"{len(few)} of the {len(found)} questions are unlike anything asked (support below {least:.2f}): {little}."


def _questions(question: str | None, file: TextIO | None) -> list[str]:
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


def _ranked(router: Router, questions: list[str], wanted: dict[str, Any]) -> list[list[Choice]]:
    """In batches, so that progress can be shown."""
    if len(questions) <= BATCH:
        return router.rank(questions, **wanted)
    ranked = []
    with Console() as console:
        for start in range(0, len(questions), BATCH):
            ranked += router.rank(questions[start : start + BATCH], **wanted)
            console.progress(len(ranked), len(questions), "questions routed")
    return ranked


def _choices(choices: list[Choice]) -> Table:
    """A row a model."""
    support = choices[0].support
    title = (
        None if support is None else f"support {support:.2f}: how like the questions asked so far this one is (0 to 1)"
    )
    columns = (Column("model", no_wrap=True), "score", "probability of a correct answer", "95% interval")
    table = Table(*columns, caption=title, caption_justify="left")
    if costs := any(choice.cost is not None for choice in choices):
        table.add_column("US$", no_wrap=True)
    for choice in choices:
        row = [choice.model, f"{choice.score:.3f}", f"{choice.probability:.3f}", _interval(choice)]
        table.add_row(*row, *([_cost(choice)] if costs else []))
    return table


def _routes(questions: list[str], ranked: list[list[Choice]]) -> Table:
    """A row a question: the model to ask and, where more are wanted, those that come next."""
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
        row = [shown, first.model, f"{first.score:.3f}", f"{first.probability:.3f}", _interval(first)]
        support = ["" if first.support is None else f"{first.support:.2f}"] if supported else []
        table.add_row(*row, *support, *([_cost(first)] if costs else []), *([then] if several else []))
    return table


def _cost(choice: Choice) -> str:
    return "not known" if choice.cost is None else f"{choice.cost:.2g}"


def _interval(choice: Choice) -> str:
    return "not known" if choice.low is None else f"{choice.low:.3f} to {choice.high:.3f}"


@app.command()
def check(
    mend: Annotated[
        bool, typer.Option("--mend", help="Set aside what is damaged, so that `run` makes it again.")
    ] = False,
) -> None:
    """Read every file of the lake and the warehouse whole, and say which are damaged."""
    from pipelines.local.instance import exclusive
    from pipelines.settings import home_of
    from warehouse.database.read import is_whole

    home = home_of(open_settings())  # not more: what follows from the lake cannot be told where it is damaged
    lake, database = home.lake, home.database
    with out.status("reading everything"):
        if mend:
            with exclusive(home.home):
                damages = lake.mend(thoroughly=True)
        else:
            damages = lake.check()
        whole = not database.exists() or is_whole(database)
    for damage in damages:
        out.print(str(damage), soft_wrap=True)
    if not whole:
        out.print(f"{database} is damaged or of another version of embedllm", soft_wrap=True)
    if damages or not whole:
        first = "" if mend else f"`{command()} check --mend` and "
        raise CommandError(
            f"What is said above ({len(damages) + (not whole)} in all) is mended by {first}`{command()} run`."
        )
    out.print(f"Every file of {home.home} is whole.", soft_wrap=True)


@app.command()
def report(
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Say where the report is, and open it if asked."""
    import webbrowser

    home = open_results()
    if not home.report.exists():
        raise CommandError(f"There is no report yet in {home.home}: run `embedllm run` or `embedllm demo` first.")
    out.print(str(home.report), soft_wrap=True, highlight=False)
    if show and not webbrowser.open(home.report.as_uri()):
        raise CommandError(f"no browser could be started here; open {home.report} in one yourself.")


@app.command()
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535)] = 3000,
    host: Annotated[str, typer.Option(help="0.0.0.0 to be reachable from other machines.")] = "127.0.0.1",
) -> None:
    """The Dagster UI on this home, and what runs by itself: sensors and schedules, while this command does."""
    import dagster as dg

    from pipelines.local.instance import follow_move, register_models, use_home
    from pipelines.local.ui import run_ui

    settings, workspace = open_home()
    use_home(settings)
    follow_move(workspace)
    with dg.DagsterInstance.get() as instance:
        register_models(instance, (m.name for m in workspace.registry.models))

    def say() -> None:
        out.print(f"Dagster UI on http://{host}:{port}, home {settings.home} (Ctrl-C stops it)", soft_wrap=True)
        if host not in ("127.0.0.1", "::1", "localhost"):
            out.print(
                "Whoever reaches this address can start runs and change the home: Dagster's UI has no sign-in. Put a "
                "proxy that asks who it is before it (nginx, Caddy, oauth2-proxy), or reach it through an SSH tunnel.",
                soft_wrap=True,
            )

    run_ui(settings, host=host, port=port, starts=say)


@models_app.command("list")
def list_models() -> None:
    """Every model, and how much it has answered."""
    from assets.embedding.onboarded import answers_that_hold
    from assets.figures.style import parameters

    _, workspace = open_home()
    registry, done, few = workspace.registry, workspace.lake.pairs(), answers_that_hold(workspace)
    table = Table(Column("model", no_wrap=True), "family", "parameters", "communities", "backend", "answered")
    for model in registry.models:
        benchmarks, questions = sum(name == model.name for _, name in done), len(few.get(model.name, ()))
        onboarded = questions and not benchmarks
        table.add_row(
            model.name,
            model.family or "",
            parameters(model.size_b) if model.size_b else "",
            ", ".join(model.communities),
            model.backend,
            f"{questions} questions"
            if onboarded
            else f"{benchmarks} of {len(registry.benchmarks_of(model))} benchmarks",
        )
    out.print(table)


@benchmarks_app.command("list")
def list_benchmarks() -> None:
    """Every benchmark, its lm-eval tasks, and how many models have answered it."""
    _, workspace = open_home()
    done = workspace.lake.pairs()
    table = Table("benchmark", "tasks", "metric", "filter", "models that answered")
    for benchmark in workspace.registry.benchmarks:
        answered = sum(name == benchmark.name for name, _ in done)
        table.add_row(benchmark.name, ", ".join(benchmark.tasks), benchmark.metric, benchmark.filter, str(answered))
    out.print(table)


@benchmarks_app.command("check")
def check_benchmarks() -> None:
    """Look every task up in lm-eval's index, before any model is loaded."""
    from harness.tasks import TaskIndex

    _, workspace = open_home()
    with out.status("reading lm-eval's task index"):
        TaskIndex(workspace.registry.tasks_dir).check(workspace.registry.benchmarks)
    out.print(f"All tasks of {len(workspace.registry.benchmarks)} benchmarks are known to lm-eval.")
