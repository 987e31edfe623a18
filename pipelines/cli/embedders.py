"""`embedllm embedders`: which versions there are, how two of them differ, and which one serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pipelines.errors import CommandError

from .terminal import cell, command, open_results, out, table_of

if TYPE_CHECKING:
    import pyarrow as pa

    from assets.inputs.home import Home
    from embedder.predictor import Predictor
    from embedder.questions import Questions

Row = dict[str, Any]  # of the table `embedders`

FIGURES = ("created_at", "models", "questions", "dimensions", "val_accuracy", "val_log_loss")
DRIFT = ("drift_distance", "drift_predictions")
PROVENANCE = ("encoder", "seed", "data_version", "code_version", "aligned_to", "held_back")

embedders_app = typer.Typer(no_args_is_help=True, help="The versions of the embedder, and which of them serves.")


@embedders_app.command("list")
def list_embedders() -> None:
    """Every version, the latest last: what it was fitted on, how good it is on val questions, how far its models moved
    from the version it was aligned to, the share of test forecasts that changed sides, and whether it was held back;
    then what is wrong with which."""
    workspace = open_results()
    columns = ["embedder", "serving", "models", "val_log_loss", *DRIFT, "held_back"]
    names = ["embedder", "serves", "models", "log-loss", "moved", "changed", "held"]  # short, for a narrow terminal
    rows = _versions(workspace)
    out.print(table_of(_rows(rows, columns).rename_columns(names)))
    for row in rows:
        if row["verdict"]:
            out.print(f"{row['embedder']}: {row['verdict']}.", soft_wrap=True, highlight=False)


@embedders_app.command("diff")
def diff(
    a: Annotated[str, typer.Argument(help="The earlier version, or how its name begins.")],
    b: Annotated[str | None, typer.Argument(help="The later one.", show_default="the one that serves")] = None,
    top: Annotated[int, typer.Option(min=0, help="How many of the most moved models to show.")] = 5,
) -> None:
    """How version B differs from A: models, figures, and how far the common models moved once B's axes are turned onto
    A's (those of a version aligned to A are already)."""
    workspace = open_results()
    rows = _versions(workspace)
    earlier = _named(rows, a)
    later = _named(rows, b) if b else _serving(rows)
    out.print(_side_by_side(earlier, later))
    old, new = (_load(workspace, row["embedder"]) for row in (earlier, later))
    for word, names in (("added", set(new.models) - set(old.models)), ("removed", set(old.models) - set(new.models))):
        out.print(f"Models {word}: {', '.join(sorted(names)) or 'none'}", soft_wrap=True)
    _print_drift(workspace, new, old, top=top, encoders=(earlier["encoder"], later["encoder"]))


@embedders_app.command("rollback")
def rollback(
    version: Annotated[
        str | None,
        typer.Argument(help="The version to serve, or how its name begins.", show_default="the one before"),
    ] = None,
) -> None:
    """Let an earlier version serve, until other data make a new one. Nothing is deleted: roll back to the later one to
    undo it."""
    _let_serve(version)


@embedders_app.command("serve")
def serve_version(
    version: Annotated[str, typer.Argument(help="The version to serve, or how its name begins.")],
) -> None:
    """Let any version serve, such as one that was held back, until other data make a new one."""
    _let_serve(version)


def _let_serve(version: str | None) -> None:
    """Version `version`, or the one before the one that serves."""
    from assets.inputs.versions import serve
    from pipelines.local.instance import exclusive
    from warehouse.database.publish import publish

    workspace = open_results()
    with exclusive(workspace.home):
        rows = _versions(workspace)
        chosen = (_named(rows, version) if version else _before_serving(rows))["embedder"]
        serving = _serving(rows)["embedder"]
        if chosen == serving:
            out.print(f"{chosen} serves already.", soft_wrap=True)
            return
        _check_usable(workspace, chosen, serving)
        serve(workspace.lake, chosen)
        publish(workspace.lake, workspace.database, ["embedders"])
    out.print(
        f"{chosen} serves now instead of {serving}, until other data make a new version.\n"
        f"Next: {command()} run, to evaluate it and write the report on it; while `{command()} ui` is running, that "
        "happens by itself.",
        soft_wrap=True,
    )


def _versions(workspace: Home) -> list[Row]:
    from assets.inputs.versions import versions

    rows = versions(workspace.lake).to_pylist()
    if not rows:
        raise CommandError(
            f"There is no embedder yet in {workspace.home}: run `embedllm run` or `embedllm demo` first."
        )
    return rows


def _rows(rows: list[Row], columns: list[str]) -> pa.Table:
    import pyarrow as pa

    from warehouse.database.connect import empty_table

    return pa.Table.from_pylist(rows, schema=empty_table("embedders").schema).select(columns)


def _side_by_side(earlier: Row, later: Row) -> Table:
    """A row a figure: two versions have too many for one line."""
    table = Table("", earlier["embedder"], later["embedder"])
    for name in (*FIGURES, *PROVENANCE):
        table.add_row(name, *(cell(row[name]) for row in (earlier, later)))
    return table


def _serving(rows: list[Row]) -> Row:
    return next(row for row in rows if row["serving"])


def _before_serving(rows: list[Row]) -> Row:
    """The version that was made before the one that serves, and was not held back."""
    earlier = [row for row in rows[: rows.index(_serving(rows))] if not row["held_back"]]
    if not earlier:
        raise CommandError(
            f"there is no version before {_serving(rows)['embedder']}, which serves; name the one you want, out of "
            f"{', '.join(row['embedder'] for row in rows)}."
        )
    return earlier[-1]


def _named(rows: list[Row], name: str) -> Row:
    """The version of this name, or the only one whose name begins like it."""
    found = [row for row in rows if row["embedder"] == name] or [r for r in rows if r["embedder"].startswith(name)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(row["embedder"] for row in found or rows)
    raise CommandError(
        f"{len(found)} versions have a name that begins with {name!r}: give more of it ({names})."
        if found
        else f"there is no version {name!r}; there are {names}."
    )


def _load(workspace: Home, version: str, encoder: str | None = None) -> Predictor:
    from embedder.store import StoreError, load_embedder

    workspace.fetch(workspace.embedders / version)
    try:
        return load_embedder(workspace.embedders / version, encoder=encoder)[0]
    except StoreError as error:
        raise CommandError(f"{version} cannot be loaded: {error}.") from error


def _check_usable(workspace: Home, chosen: str, serving: str) -> None:
    """Its files are whole, and of the encoder in use."""
    from assets.matrix.reading import encoder_in_use
    from embedder.lazy_encoder import EncoderError

    try:
        _load(workspace, chosen, encoder_in_use(workspace).name)
    except (CommandError, EncoderError) as error:
        raise CommandError(f"{serving} goes on serving: {error}") from error


def _print_drift(workspace: Home, new: Predictor, old: Predictor, *, top: int, encoders: tuple[str, str]) -> None:
    import pyarrow as pa

    from embedder.spectral.alignment import align, common_models, drift, moved
    from embedder.spectral.spectral import SpectralEmbedder

    if not (isinstance(new, SpectralEmbedder) and isinstance(old, SpectralEmbedder)) or len(set(encoders)) > 1:
        out.print("Their embeddings cannot be compared: they are of other methods or encoders.")
    elif not common_models(new, old):
        out.print("They have no models in common that could have moved.")
    else:
        turned = align(new, old)
        found = drift(turned, old, _test_questions(workspace, encoders[0]))
        changed = "not known, for want of test questions" if found.predictions is None else f"{found.predictions:.2%}"
        out.print(f"Mean distance the common models moved: {found.distance:.4f}")
        out.print(f"Test forecasts of theirs that changed sides of one half: {changed}")
        most = sorted(moved(turned, old).items(), key=lambda item: -item[1])[:top]
        out.print(table_of(pa.Table.from_pylist([{"most moved": name, "distance": far} for name, far in most])))


def _test_questions(workspace: Home, encoder: str) -> Questions:
    from assets.matrix.reading import correctness, described_questions

    try:
        return described_questions(workspace, correctness(workspace).of_split("test"), encoder)
    except LookupError as error:
        raise CommandError(str(error)) from error
