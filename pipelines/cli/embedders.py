"""`embedllm embedders`: which versions there are, how two of them differ, and which one serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pipelines.console import cell, say, show, table_of
from pipelines.errors import CommandError

from .home import open_results

if TYPE_CHECKING:
    from assets.inputs.home import Home
    from embedder.predictor import Predictor

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
    import pyarrow as pa

    from warehouse.database.connect import empty_table

    home = open_results()
    columns = ["embedder", "serving", "models", "val_log_loss", *DRIFT, "held_back"]
    names = ["embedder", "serves", "models", "log-loss", "moved", "changed", "held"]  # short, for a narrow terminal
    rows = _versions(home)
    show(
        table_of(
            pa.Table.from_pylist(rows, schema=empty_table("embedders").schema).select(columns).rename_columns(names)
        )
    )
    for row in rows:
        if row["verdict"]:
            say(f"{row['embedder']}: {row['verdict']}.")


@embedders_app.command("diff")
def diff(
    a: Annotated[str, typer.Argument(help="The earlier version, or how its name begins.")],
    b: Annotated[str | None, typer.Argument(help="The later one.", show_default="the one that serves")] = None,
    top: Annotated[int, typer.Option(min=0, help="How many of the most moved models to show.")] = 5,
) -> None:
    """How version B differs from A: models, figures, and how far the common models moved once B's axes are turned onto
    A's (those of a version aligned to A are already)."""
    home = open_results()
    rows = _versions(home)
    earlier = _find(rows, a)
    later = _serving(rows) if b is None else _find(rows, b)
    table = Table("", earlier["embedder"], later["embedder"])  # a row a figure: two versions have too many for a line
    for name in (*FIGURES, *PROVENANCE):
        table.add_row(name, *(cell(row[name]) for row in (earlier, later)))
    show(table)
    old, new = (_load(home, row["embedder"]) for row in (earlier, later))
    for word, names in (("added", set(new.models) - set(old.models)), ("removed", set(old.models) - set(new.models))):
        say(f"Models {word}: {', '.join(sorted(names)) or 'none'}")
    _print_drift(home, new, old, top=top, encoders=(earlier["encoder"], later["encoder"]))


def _print_drift(home: Home, new: Predictor, old: Predictor, *, top: int, encoders: tuple[str, str]) -> None:
    import pyarrow as pa

    from assets.matrix.reading import correctness, described_questions
    from embedder.spectral.alignment import align, common_models, measure_drift, measure_moves
    from embedder.spectral.spectral import SpectralEmbedder

    if not (isinstance(new, SpectralEmbedder) and isinstance(old, SpectralEmbedder)) or len(set(encoders)) > 1:
        say("Their embeddings cannot be compared: they are of other methods or encoders.")
    elif not common_models(new, old):
        say("They have no models in common that could have moved.")
    else:
        turned = align(new, old)
        tests = described_questions(home, correctness(home).of_split("test"), encoders[0])
        found = measure_drift(turned, old, tests)
        changed = "not known, for want of test questions" if found.predictions is None else f"{found.predictions:.2%}"
        say(f"Mean distance the common models moved: {found.distance:.4f}")
        say(f"Test forecasts of theirs that changed sides of one half: {changed}")
        most = sorted(measure_moves(turned, old).items(), key=lambda item: -item[1])[:top]
        show(table_of(pa.Table.from_pylist([{"most moved": name, "distance": far} for name, far in most])))


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
    """Let this version serve, or without one the version before the one that serves."""
    from assets.inputs.versions import serve
    from assets.matrix.reading import encoder_in_use
    from embedder.errors import EmbedderError
    from pipelines.instance import exclusive
    from warehouse.database.publish import publish

    home = open_results()
    with exclusive(home):
        rows = _versions(home)
        chosen = (_find_before_serving(rows) if version is None else _find(rows, version))["embedder"]
        serving = _serving(rows)["embedder"]
        if chosen == serving:
            say(f"{chosen} serves already.")
            return
        try:
            _load(home, chosen, encoder_in_use(home).name)
        except (CommandError, EmbedderError) as error:
            raise CommandError(f"{serving} goes on serving: {error}") from error
        serve(home.lake, chosen)
        publish(home.lake, home.database, ["embedders"])
    say(
        f"{chosen} serves now instead of {serving}, until other data make a new version.\n"
        "Next: `embedllm run`, to evaluate it and write the report on it; while `embedllm ui` is running, that "
        "happens by itself."
    )


def _versions(home: Home) -> list[Row]:
    """Return the versions, the latest last. Raises NoEmbedder where there are none."""
    from assets.embedding.serving import serving_version
    from assets.inputs.versions import versions

    serving_version(home)
    return versions(home.lake).to_pylist()


def _serving(rows: list[Row]) -> Row:
    return next(row for row in rows if row["serving"])


def _find_before_serving(rows: list[Row]) -> Row:
    """Return the version that was made before the one that serves, and was not held back."""
    earlier = [row for row in rows[: rows.index(_serving(rows))] if not row["held_back"]]
    if not earlier:
        raise CommandError(
            f"there is no version before {_serving(rows)['embedder']}, which serves; name the one you want, out of "
            f"{', '.join(row['embedder'] for row in rows)}."
        )
    return earlier[-1]


def _find(rows: list[Row], name: str) -> Row:
    """Return the version of this name, or the only one whose name begins like it."""
    found = [row for row in rows if row["embedder"] == name] or [r for r in rows if r["embedder"].startswith(name)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(row["embedder"] for row in found or rows)
    raise CommandError(
        f"{len(found)} versions have a name that begins with {name!r}: give more of it ({names})."
        if found
        else f"there is no version {name!r}; there are {names}."
    )


def _load(home: Home, version: str, encoder: str | None = None) -> Predictor:
    from embedder.store import StoreError, load_embedder

    home.fetch(home.embedders / version)
    try:
        return load_embedder(home.embedders / version, encoder=encoder)[0]
    except StoreError as error:
        raise CommandError(f"{version} cannot be loaded: {error}.") from error
