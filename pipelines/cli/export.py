"""`embedllm export`: questions, splits and answers out again, or the router."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines.console import Console, say
from pipelines.errors import CommandError

from .home import open_home, open_results
from .interrupts import stops_at_once


@stops_at_once()
def export(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    export_format: Annotated[
        Literal["embedllm", "eee", "wide", "router"],
        typer.Option("--format", help="Rows of answers, Every Eval Ever, a column a model, or the router itself."),
    ] = "embedllm",
) -> None:
    """Write the questions, splits and answers of this home into a folder, for others or another home.

    The router goes into a folder that needs no home: embedllm.load in Python and `embedllm serve --router` read it.
    """
    if export_format == "router":
        _export_router(folder)
        return
    from warehouse.imports.export import export_results

    home = open_results()
    try:
        with Console() as console:
            written = export_results(home.lake, folder, export_format, console.progress)
    except FileExistsError as error:
        raise CommandError(str(error)) from error
    say(f"{folder} has {len(written)} files.")


def _export_router(folder: Path) -> None:
    from dataclasses import replace

    from assets.embedding.serving import open_bundle
    from assets.matrix.reading import encoder_in_use
    from embedder.bundle import save_bundle

    settings, workspace = open_home()
    bundle = open_bundle(workspace)
    served = {
        model.name: {"context_tokens": model.context_tokens, "capabilities": list(model.capabilities)}
        for model in workspace.registry.models
    }
    labels = {name: {**known, **served.get(name, {})} for name, known in bundle.labels.items()}
    encoder_files = encoder_in_use(workspace).static_files
    save_bundle(folder, replace(bundle, labels=labels), encoder_files=encoder_files)
    whole = "" if encoder_files else f" It needs the encoder {settings.encoder} where it is loaded."
    say(f"{folder} is a router over {len(labels)} models.{whole}")
