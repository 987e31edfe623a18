"""The chain from answers to report: `embedllm demo`, `run`, `plan`, `check` and `ui`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from pipelines.console import Console, as_typed, command, out, say, show, table_of
from pipelines.errors import CommandError

from .home import open_home, open_settings
from .interrupts import KEPT, say_when_stopped, stops_at_once
from .models import adopt

if TYPE_CHECKING:
    from pipelines.chain import Again

FOLLOWED = (
    "stopped following; the runs go on. `embedllm run` follows them again, and then does the rest; "
    "`embedllm run --cancel` ends them"
)
COUNTS = """
SELECT (SELECT count(*) FROM models), (SELECT count(DISTINCT benchmark) FROM questions),
    (SELECT count(*) FROM questions), (SELECT count(*) FROM responses)
"""
RESULTS = """
SELECT 'forecast' AS task, f.method, accuracy, ci_low, ci_high
FROM forecasts f JOIN embedders USING (embedder) WHERE serving AND benchmark = 'all' UNION ALL
SELECT 'routing', r.method, accuracy, ci_low, ci_high
FROM routing r JOIN embedders USING (embedder) WHERE serving AND benchmark = 'all'
ORDER BY task, accuracy DESC
"""
FULL = Annotated[
    bool, typer.Option("--full", help="Also the expensive experiments, which else wait for the week to end.")
]


@stops_at_once(KEPT)
def demo() -> None:
    """Train the zoo, run the whole chain on it, and say what to do next: minutes the first time, then seconds."""
    from pipelines.instance import held_here
    from pipelines.settings import DEMO_REGISTRY, own_registry

    settings = open_settings()
    if settings.registry not in (None, DEMO_REGISTRY, own_registry(settings.home)):
        raise CommandError(
            f"EMBEDLLM_REGISTRY is set to {settings.registry}, and the demo has a registry of its own: unset it for "
            "the demo, or give `embedllm run` to work with yours."
        )
    with held_here(settings.home):
        adopt(DEMO_REGISTRY, settings.home)
    _run_chain()
    embedllm = command()
    say(
        "\nNext:\n"
        f'  {embedllm} route "What is 12 plus 7?"\n'
        f"  {embedllm} sql \"SELECT model, accuracy FROM leaderboard WHERE benchmark = 'code' "
        'ORDER BY accuracy DESC LIMIT 5"\n'
        f"  {embedllm} report\n"
        f"  {embedllm} ui"
    )


@stops_at_once(KEPT)
def run(
    full: FULL = False,
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
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Only end the runs that wait in Dagster's queue or are at work.")
    ] = False,
) -> None:
    """Evaluate what is registered and missing or has changed, then refresh what depends on it."""
    from pipelines.chain import Again

    if benchmark and not again:
        raise typer.BadParameter("--benchmark goes with --again MODEL")
    if cancel:
        _cancel()
        return
    _run_chain(full=full, check=check, again=Again(again, benchmark) if again else None)


def _cancel() -> None:
    import dagster as dg

    from pipelines.cluster.runner import end_runs
    from pipelines.instance import use_home

    settings = open_settings()
    use_home(settings)
    with dg.DagsterInstance.get() as instance, Console() as console:
        ended = end_runs(instance, console.progress)
    if not ended:
        say("No run waits in the queue, and none is at work.")
        return
    say(
        f"{ended} runs are being ended; what they had finished is kept, and `embedllm run` goes on from there. So do "
        "the sensors, if they are on: switch them off in the UI, under Automation, if nothing is to start by itself."
    )


def _run_chain(*, full: bool = False, check: bool = False, again: Again | None = None) -> None:
    import dagster as dg

    from assets.inputs.versions import tell_held_back
    from pipelines.automation.plan import LATER
    from pipelines.chain import run_chain
    from pipelines.instance import held_here, runs_elsewhere, use_home
    from warehouse.database.read import query

    settings, workspace = open_home()
    if not workspace.registry.models and not workspace.lake.pairs():
        raise CommandError(
            "There is nothing to run on: set EMBEDLLM_REGISTRY to a registry, or import published results."
        )
    with held_here(settings.home):  # a command that is at work is named, not Dagster's database that it may hold
        use_home(settings)
        with dg.DagsterInstance.get() as instance:
            if runs_elsewhere(instance):
                say_when_stopped(FOLLOWED)
    with Console() as console:
        models = f"registry {workspace.registry.folder}" if workspace.registry.models else "imported results only"
        console.say(f"embedllm: home {settings.home}, {models}")
        result = run_chain(settings, workspace, console, full=full, check=check, again=again)
        if not result.evaluated and not result.refreshed:
            rest = "everything else" if result.later else "everything"
            console.say(f"Nothing changed: every answer is there and {rest} made of them is up to date.")
        if result.later:
            console.say(f"Out of date, and waiting for {LATER}: {', '.join(result.later)}.")
    counts = query(workspace.database, COUNTS).to_pydict()
    models, benchmarks, questions, responses = (column[0] for column in counts.values())
    say(
        f"{models} models, {benchmarks} benchmarks, {questions:,} questions, {responses:,} responses "
        f"in {workspace.database}"
    )
    show(table_of(query(workspace.database, RESULTS), title="On test questions (95% interval)"))
    say(f"Report: {workspace.report}")
    if sentence := tell_held_back(workspace.lake):
        say(sentence)
    if result.failed:
        raise CommandError(
            f"{len(result.failed)} of {result.evaluated} models have failed evaluations ({', '.join(result.failed[:3])}"
            f"{', …' if len(result.failed) > 3 else ''}); everything else is done. "
            "See `SELECT * FROM failures` for the reasons; `embedllm run` tries them again."
        )


def show_plan(full: FULL = False) -> None:
    """Say what `embedllm run` would do now, and why. Nothing is started or changed."""
    import dagster as dg

    from pipelines.automation.plan import plan
    from pipelines.chain import WHENEVER
    from pipelines.instance import follow_move, use_home

    settings, workspace = open_home()
    use_home(settings)
    follow_move(workspace)
    with dg.DagsterInstance.get() as instance:
        requests = plan(workspace, instance, full=full, retry_by=WHENEVER)
    if not requests:
        say("Nothing is due: every answer is there and everything made of them is up to date.")
        return
    table = Table(
        *(Column(name, no_wrap=True) for name in ("model", "asset")),
        "why",
        "waits for",
        title="What is due",
        title_justify="left",
    )
    for request in requests:
        for key, reason in request.reasons.items():
            table.add_row(request.model or "", key.to_user_string(), reason, as_typed(request.waits or ""))
    show(table)
    if any(request.model for request in requests):
        say("What is made of their answers is due once they are there.")


def check(
    mend: Annotated[
        bool, typer.Option("--mend", help="Set aside what is damaged, so that `run` makes it again.")
    ] = False,
) -> None:
    """Read every file of the lake and the warehouse whole, and say which are damaged."""
    from pipelines.instance import held_here
    from pipelines.settings import home_of
    from warehouse.database.read import find_fault

    home = home_of(open_settings())  # not more: what follows from the lake cannot be told where it is damaged
    with out.status("reading everything"):
        if mend:
            with held_here(home.home):  # not the lake, whose leases may be what is damaged
                damages = home.lake.mend(thoroughly=True)
        else:
            damages = home.lake.check()
        fault = find_fault(home.database) if home.database.exists() else None
    found = [*map(str, damages), *([f"{home.database} {fault}"] if fault else [])]
    for sentence in found:
        say(sentence)
    if found:
        first = "" if mend else "`embedllm check --mend` and "
        raise CommandError(f"What is said above ({len(found)} in all) is mended by {first}`embedllm run`.")
    say(f"Every file of {home.home} is whole.")


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535)] = 3000,
    host: Annotated[str, typer.Option(help="0.0.0.0 to be reachable from other machines.")] = "127.0.0.1",
) -> None:
    """The Dagster UI on this home, and what runs by itself: sensors and schedules, while this command does."""
    import dagster as dg

    from pipelines.instance import follow_move, register_models, use_home
    from pipelines.local.ui import run_ui

    settings, workspace = open_home()
    use_home(settings)
    follow_move(workspace)
    with dg.DagsterInstance.get() as instance:
        register_models(instance, (model.name for model in workspace.registry.models))

    def announce() -> None:
        say(f"Dagster UI on http://{host}:{port}, home {settings.home} (Ctrl-C stops it)")
        if host not in ("127.0.0.1", "::1", "localhost"):
            say(
                "Whoever reaches this address can start runs and change the home: Dagster's UI has no sign-in. Put a "
                "proxy that asks who it is before it (nginx, Caddy, oauth2-proxy), or reach it through an SSH tunnel."
            )

    run_ui(settings, host=host, port=port, starts=announce)
