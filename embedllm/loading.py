"""Where a router comes from."""

from __future__ import annotations

import os
from pathlib import Path

from embedder.bundle import Bundle, find_encoder, is_bundle, load_bundle
from embedder.costs import Costs
from embedder.encoder_files import teacher_of
from embedder.errors import EmbedderError
from embedder.question_costs import load_question_costs
from embedder.spectral.onboarded import load_extended
from embedder.store import load_embedder

from .router import Router

__all__ = ["load"]


def load(place: str | Path, *, device: str | None = None) -> Router:
    """Return the router in `place`: a home, a folder that `embedllm export --format router` or `Router.save` wrote, the
    folder of a version of the embedder, or the name of such a router on a model hub.

    Raises EmbedderError where there is none, or it is damaged.
    """
    folder = Path(place).expanduser()
    if is_bundle(folder):
        bundle = load_bundle(folder, device=device)
        files = folder / "encoder"
        return Router(bundle, files if files.is_dir() else None)
    if (folder / "embedder.json").is_file():
        return _of_version(folder, device)
    if folder.is_dir():
        return _of_home(folder, device)
    if not isinstance(place, Path) and place.count("/") == 1 and not place.startswith((".", "/", "~")):
        from huggingface_hub import snapshot_download

        try:
            downloaded = snapshot_download(place)
        except (OSError, ValueError) as error:  # those of huggingface_hub are one or the other
            told = str(error).partition("\n")[0]
            raise EmbedderError(f"{folder}: no such folder, and no router of this name on the hub ({told})") from error
        return load(Path(downloaded), device=device)
    raise EmbedderError(f"{folder}: no such folder; name a home, an exported router or a version of the embedder")


def _of_version(folder: Path, device: str | None) -> Router:
    """Return the router of one version, which knows no prices."""
    fitted, info = load_embedder(folder)
    label = info.encoder.partition("@")[0]
    asked = f"static:{label.removeprefix('static-')}" if label.startswith("static-") else label
    cache = folder.parent.parent / "cache"
    encoder = find_encoder(asked, info.encoder, device=device, cache=cache if cache.is_dir() else None)
    costs = Costs("US$", {}, load_question_costs(folder))
    extended = load_extended(folder, fitted)
    return Router(Bundle(extended, info, encoder, asked, costs, {}), encoder.static_files)


def _of_home(folder: Path, device: str | None) -> Router:
    """Return the router that serves in a home."""
    from assets.embedding.serving import open_bundle
    from assets.inputs.home import Home
    from assets.matrix.reading import encoder_in_use

    asked = os.environ.get("EMBEDLLM_ENCODER") or "static"
    home = Home(folder.resolve(), encoder=asked, device=device)
    bundle = open_bundle(
        home
    )  # says so where there is none, before an encoder is distilled into a folder that is no home
    return Router(bundle, encoder_in_use(home).static_files if teacher_of(asked) else None)
