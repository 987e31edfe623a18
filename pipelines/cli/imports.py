"""Results that others have: `embedllm import` and `embedllm imports`."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pipelines.console import Console, say, show, table_of
from pipelines.errors import CommandError

from .home import open_home, open_results
from .interrupts import stops_at_once

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from assets.inputs.workspace import Workspace
    from harness.logged import LoggedTasks
    from warehouse.imports.ingest import ImportSummary

OFTEN = 0.1  # share of questions that lack what they speak of: complete multiple-choice questions have .001

REMARKS = 10  # that are shown

imports_app = typer.Typer(no_args_is_help=True, help="What was imported into this home.")


CHOICE = "[CATEGORY=]NAME"
SOURCES = Annotated[
    list[str], typer.Argument(metavar="SOURCE…", help="Files, folders, patterns, archives or hub data set ids.")
]
FORMAT = Annotated[str | None, typer.Option("--format", help="Read the files as this format, whatever they look like.")]
DRY_RUN = Annotated[bool, typer.Option("--dry-run", help="Say what would come in; change nothing.")]
METRIC = Annotated[list[str] | None, typer.Option(metavar=CHOICE, help="The metric that grades, of several.")]
FILTER = Annotated[
    list[str] | None, typer.Option("--filter", metavar=CHOICE, help="The filter whose output is graded.")
]
SCORER = Annotated[list[str] | None, typer.Option(metavar=CHOICE, help="The scorer that grades, of several.")]
EPOCHS = Annotated[
    Literal["majority", "first", "last", "all_correct", "any_correct"],
    typer.Option(help="Of several tries at a question: which one counts."),
]
THRESHOLD = Annotated[float | None, typer.Option(help="From which grade on an answer is right.")]
MODEL = Annotated[str | None, typer.Option(help="The model, where a log does not tell.")]
BENCHMARK = Annotated[str | None, typer.Option(help="The benchmark, where a log does not tell.")]
QUESTIONS = Annotated[Path | None, typer.Option(help="Table of ids and texts, for logs that have ids only.")]
MAPPING = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="OURS=THEIRS,…", help="Of a table with a row an answer: prompt=q,label=score,…"),
]
QUESTION = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="A table with a row a question: the column of its text.")
]
MODEL_COLUMNS = Annotated[
    list[str] | None, typer.Option(metavar="COLUMN,…", help="A table with a row a question: the columns of models.")
]
SPLIT = Annotated[Path | None, typer.Option(help="Table prompt_id, split (CSV or Parquet).")]
LABELS = Annotated[Path | None, typer.Option(help="Table of model labels: model_name, family, size_b, …")]
ON_CONFLICT = Annotated[
    Literal["refuse", "majority", "drop", "first"],
    typer.Option(help="Of two labels for one answer: refuse, or the majority, none, the first."),
]
RESPLIT = Annotated[bool, typer.Option("--resplit", help="The same split for questions of the same text.")]


@stops_at_once("an import is all or nothing, the same command does what is missing")
def import_(
    sources: SOURCES,
    file_format: FORMAT = None,
    dry_run: DRY_RUN = False,
    metric: METRIC = None,
    filter_name: FILTER = None,
    scorer: SCORER = None,
    epochs: EPOCHS = "majority",
    threshold: THRESHOLD = None,
    model: MODEL = None,
    benchmark: BENCHMARK = None,
    questions: QUESTIONS = None,
    mapping: MAPPING = None,
    question: QUESTION = None,
    model_columns: MODEL_COLUMNS = None,
    split: SPLIT = None,
    models: LABELS = None,
    on_conflict: ON_CONFLICT = "refuse",
    resplit: RESPLIT = False,
) -> None:
    """Bring in results that you have: logs of lm-eval, Inspect, HELM, …, or tables; all or nothing, and the same again
    changes nothing."""
    if threshold is not None and not isfinite(threshold):
        raise CommandError(f"--threshold {threshold}: give a number, such as 0.5.")
    chosen = {"metric": _by_category(metric), "filter": _by_category(filter_name), "scorer": _by_category(scorer)}
    logs = {"epochs": epochs, "threshold": threshold, "model": model, "benchmark": benchmark, **chosen}
    tables = {"columns": _pairs(mapping), "question_column": question, "model_columns": _names(model_columns)}
    summary, tasks = _import(
        sources,
        file_format,
        {**logs, **tables},
        questions,
        {"split": split, "models": models, "on_conflict": on_conflict, "resplit": resplit, "dry_run": dry_run},
    )
    if dry_run:
        _show(summary)
    _say_what_came(summary, on_conflict, dry_run=dry_run)
    _say_whose_texts(summary, tasks)
    _warn_of_mixed(summary)
    _warn_of_unused(summary, chosen)


def _import(
    sources: Sequence[str],
    file_format: str | None,
    choices: Mapping[str, Any],
    questions: Path | None,
    options: Mapping[str, Any],
) -> tuple[ImportSummary, LoggedTasks]:
    """Import into the home of this command. `choices`: fields of Choices; `options`: of import_results."""
    from harness.logged import LoggedTasks
    from harness.registry import benchmark_name_fault, model_name_fault
    from pipelines.instance import exclusive
    from warehouse.imports.ingest import import_results
    from warehouse.imports.readers.questions import read_questions
    from warehouse.imports.readers.reader import Choices

    _, workspace = open_home()
    texts = read_questions(questions) if questions else {}
    with exclusive(workspace), Console() as console:
        tasks = LoggedTasks(workspace.registry.tasks_dir, console.say)
        known = {**_known_tasks(workspace, tasks), "questions": texts, "keep_answers": workspace.keep_answers}
        summary = import_results(
            workspace.lake,
            sources,
            file_format=file_format,
            choices=Choices(**choices, **known),
            benchmark_of=workspace.registry.benchmark_of,
            model_fault=model_name_fault,
            benchmark_fault=benchmark_name_fault,
            progress=console.progress,
            **options,
        )
    return summary, tasks


def _by_category(given: Sequence[str] | None) -> dict[str, str]:
    """Return CATEGORY=NAME by category; "" has the name that holds for any other."""
    parts = [text.rpartition("=") for text in given or ()]
    return {category: name for category, _, name in parts}


def _names(given: Sequence[str] | None) -> list[str]:
    return [name.strip() for text in given or () for name in text.split(",") if name.strip()]


def _pairs(given: Sequence[str] | None) -> dict[str, str]:
    found = {}
    for pair in _names(given):
        ours, sign, theirs = pair.partition("=")
        if not (ours and sign and theirs):
            raise CommandError(f"--map {pair}: give OURS=THEIRS, such as prompt=question,model_name=llm,label=score")
        found[ours] = theirs
    return found


def _known_tasks(workspace: Workspace, tasks: LoggedTasks) -> dict[str, Any]:
    """Return what the registry and the definitions of lm-eval's tasks tell of logs."""
    registry = workspace.registry
    entries = {entry.name: entry for entry in registry.benchmarks}

    def grading_of(category: str) -> Mapping[str, str]:
        entry = entries.get(registry.benchmark_of(category))
        return {"metric": entry.metric, "filter": entry.filter} if entry else {}

    return {"grading_of": grading_of, "text_of": tasks.text_of, "filters_of": tasks.filters_of}


def _show(summary: ImportSummary) -> None:
    """Print what would come in, a row a model and category."""
    import pyarrow as pa

    rows = []
    for row in summary.overview.to_pylist():
        run = summary.runs.get((row["model"], row["category"]))
        known = {name: getattr(run, name) if run else None for name in ("metric", "filter", "tool", "file")}
        rows.append(row | {"lake": summary.standing[row["benchmark"], row["model"]]} | known)
    show(table_of(pa.Table.from_pylist(rows)))
    say(
        "In the column lake: a model's answers to a benchmark are new to the lake, the same as there, replace what "
        "this source brought before, or are added to those of other sources."
    )
    if gone := sorted(
        f"{model} on {benchmark}" for (benchmark, model), how in summary.standing.items() if how == "gone"
    ):
        more = f" and {len(gone) - 3:,} more" if len(gone) > 3 else ""
        say(f"The lake would lose what this source brings no longer: {', '.join(gone[:3])}{more}.")


def _say_what_came(summary: ImportSummary, on_conflict: str, *, dry_run: bool) -> None:
    from warehouse.imports.logs import count_by_reason

    verb = "Would import" if dry_run else "Imported" if summary.changed else "Nothing new in"
    say(
        f"{verb} {summary.source}: {summary.rows:,} answers of {summary.models} models to {summary.questions:,} "
        f"questions in {summary.benchmarks} benchmarks."
    )
    if not dry_run:
        say("Next: `embedllm run`" if summary.changed else "The lake holds them all already; nothing has changed.")
    for reason, count in sorted(count_by_reason(summary.left_out).items(), key=lambda item: -item[1]):
        files = [file for file, why in summary.left_out if why == reason]
        shown = ", ".join(files[:3]) + (f" and {len(files) - 3:,} more" if len(files) > 3 else "")
        say(f"Left out: {reason} ({count:,}, in {shown}).")
    for remark in summary.remarks[:REMARKS]:
        say(f"Note: {remark}")
    if len(summary.remarks) > REMARKS:
        say(f"Note: {len(summary.remarks) - REMARKS:,} more files are like these.")
    if summary.resolved:
        say(f"{summary.resolved:,} answers had two labels; decided by --on-conflict {on_conflict}.")
    if summary.resplit:
        say(f"{summary.resplit:,} questions got the split of another with the same text.")
    _warn_of_lacking(summary.lacking)


def _say_whose_texts(summary: ImportSummary, tasks: LoggedTasks) -> None:
    """Say which questions have not the text of our own evaluation, and so do not meet those of an evaluation."""
    logged = sorted({category for (_, category), run in summary.runs.items() if "text_from" in run.settings})
    unfit = [category for category in logged if tasks.without_text[category]]
    unknown = [category for category in logged if category not in unfit]
    for names, why in ((unknown, "no definition of the task is known"), (unfit, "the task's definition does not fit")):
        if names:
            more = f" and {len(names) - 3} more tasks" if len(names) > 3 else ""
            say(
                f"Note: the text of the questions of {', '.join(names[:3])}{more} is that of the log, without its "
                f"few-shot part as far as the log tells ({why})."
            )


def _warn_of_mixed(summary: ImportSummary) -> None:
    """Warn of a category in which some models are graded otherwise than others, which makes them incomparable."""
    gradings: dict[str, set[str]] = {}
    for (_, category), run in summary.runs.items():
        gradings.setdefault(category, set()).add(", ".join(filter(None, (run.metric, run.filter))))
    for category, found in sorted(gradings.items()):
        if len(found) > 1:
            say(
                f"Warning: in {category}, models are graded by different metrics, filters or scorers "
                f"({'; '.join(sorted(found))}); choose one for all, or leave models out."
            )


def _warn_of_unused(summary: ImportSummary, chosen: Mapping[str, Mapping[str, str]]) -> None:
    """Warn of a metric, filter or scorer that graded nothing, as one that is misspelt does where there is no choice."""
    if not summary.runs:
        return
    used = {name for run in summary.runs.values() for name in (run.metric, run.filter)}
    for kind, by_category in chosen.items():
        for name in sorted(set(by_category.values()) - used):
            say(f"Warning: nothing here was graded by --{kind} {name}.")


def _warn_of_lacking(lacking: Mapping[str, tuple[int, int]]) -> None:
    """Warn where a benchmark's questions often lack what they speak of; most such questions do not show it."""
    often = {name: counts for name, counts in lacking.items() if counts[0] >= OFTEN * counts[1]}
    if not often:
        return
    names = sorted(often, key=lambda name: -often[name][0] / often[name][1])
    several = f" and {len(names) - 3} more benchmarks" if len(names) > 3 else ""
    found, asked = (sum(counts) for counts in zip(*often.values(), strict=True))
    say(
        f"Warning: {found / asked:.0%} of the {asked:,} questions of {', '.join(names[:3])}{several} ask to choose "
        "among options, or speak of a picture, that their text does not show. Put all that the models were shown into "
        "the column prompt: forecasts are better for it (docs/import.md)."
    )


@imports_app.command("list")
@stops_at_once()
def list_() -> None:
    """What was imported, from where, how, and when (UTC)."""
    import pyarrow as pa

    rows = [
        {name: source[name] for name in ("source", "rows", "models", "questions")}
        | {"formats": ", ".join(source.get("formats", [])), "options": source.get("options", "")}
        | {"imported_at": f"{source['imported_at']:%Y-%m-%d %H:%M:%S}"}
        for source in open_results().lake.imports()
    ]
    if rows:
        show(table_of(pa.Table.from_pylist(rows)))
    else:
        say("Nothing was imported into this home.")


@imports_app.command("remove")
@stops_at_once()
def remove(source: Annotated[str, typer.Argument(help="As `embedllm imports list` prints it.")]) -> None:
    """Take back the answers that an import brought; the files that it came from are not touched."""
    from pipelines.instance import exclusive
    from warehouse.imports.withdraw import remove_import

    _, workspace = open_home()
    with exclusive(workspace):
        shared = remove_import(workspace.lake, source)
    say(f"{source} is removed. Next: `embedllm run`")
    for other, pairs in sorted(shared.items()):
        say(
            f"{pairs:,} sets of answers had come from {other} as well and are gone too: "
            + ("`embedllm run` asks again." if other == "evaluation" else "import it again to have its own back.")
        )
