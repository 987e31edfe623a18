"""A router in a folder of its own, for other machines: it needs neither a home nor the lake.

router.json                    costs, models and the encoder, with a digest of each other file
embedder.json, *.safetensors   the embedder, with the models that were onboarded to it
question_costs.safetensors     what answers take, where that is known
encoder/                       a static encoder; another one is known by its name
README.md                      for people: a model card, as model hubs show it
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from .costs import Costs
from .errors import EmbedderError
from .lazy_encoder import LazyEncoder
from .predictor import Predictor
from .question_costs import load_question_costs, save_question_costs
from .router import Router, TextEncoder
from .static_reader import StaticReader
from .store import EmbedderInfo, StoreError, load_embedder, save_embedder

__all__ = ["Bundle", "BundleExists", "assemble", "find_encoder", "is_bundle", "load_bundle", "save_bundle"]

FILE = "router.json"
FORMAT = 1


class BundleExists(EmbedderError):
    """The folder for a router has files already: an old router mixed with a new one would be neither."""


@dataclass(frozen=True)
class Bundle:
    """What a router is made of. `labels` are what is known of models beside their answers, by name: family, size_b,
    context_tokens, capabilities. `asked` is the name by which the encoder is loaded."""

    predictor: Predictor
    info: EmbedderInfo
    encoder: TextEncoder
    asked: str
    costs: Costs
    labels: Mapping[str, Mapping[str, Any]]

    @property
    def router(self) -> Router:
        return assemble(self.predictor, self.encoder, self.costs)


def assemble(predictor: Predictor, encoder: TextEncoder, costs: Costs) -> Router:
    """Return the router that ranks by `predictor` and knows `costs`."""
    predict = partial(costs.predict, models=predictor.models) if costs.predictors else None
    return Router(predictor, encoder, costs.by_model, predict, costs.unit)


def is_bundle(folder: Path) -> bool:
    return (folder / FILE).is_file()


def save_bundle(folder: Path, bundle: Bundle, *, encoder_files: Path | None = None) -> None:
    """Write a router into a new folder, all of it or nothing. `encoder_files` is the folder of a static encoder.

    Raises BundleExists.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BundleExists(f"{folder} is there already; name a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        draft = Path(scratch) / "router"
        save_embedder(draft, bundle.predictor, bundle.info)
        save_question_costs(draft, bundle.costs.predictors)
        if encoder_files is not None:
            shutil.copytree(encoder_files, draft / "encoder")
        (draft / "README.md").write_text(_card(bundle), encoding="utf-8")
        files = sorted(path for path in draft.rglob("*") if path.is_file() and path.name != "README.md")
        described = {
            "format": FORMAT,
            "encoder": {"name": bundle.info.encoder, "asked": bundle.asked},
            "costs": {"unit": bundle.costs.unit, "by_model": bundle.costs.by_model, "prices": bundle.costs.prices},
            "models": bundle.labels,
            "sha256": {path.relative_to(draft).as_posix(): _digest(path) for path in files},
        }
        (draft / FILE).write_text(json.dumps(described, indent=1), encoding="utf-8")
        for path in draft.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)  # others may read what is meant for them
        if folder.exists():
            folder.rmdir()
        draft.rename(folder)


def load_bundle(folder: Path, *, device: str | None = None, cache: Path | None = None) -> Bundle:
    """Return the router in `folder`. `cache` is where encoders are kept that are known by name only.

    Raises StoreError where it is damaged, EncoderError where its encoder cannot be loaded.
    """
    file = folder / FILE
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
        if described["format"] != FORMAT:
            raise StoreError(f"{file}: format {described['format']!r}, this version reads {FORMAT}; export it again")
        for name, digest in described["sha256"].items():
            if _digest(folder / name) != digest:
                raise StoreError(f"{folder / name}: its SHA-256 is not the one in {FILE}; export the router again")
        asked, name = described["encoder"]["asked"], described["encoder"]["name"]
        told = described["costs"]
        prices = {model: (price[0], price[1]) for model, price in told["prices"].items()}
        costs = Costs(told["unit"], told["by_model"], load_question_costs(folder), prices)
        labels = dict(described["models"])
    except FileNotFoundError as error:
        raise StoreError(f"{error.filename}: no such file; export the router again") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise StoreError(f"{file}: damaged ({error}); export the router again") from error
    predictor, info = load_embedder(folder, encoder=name)
    encoder: TextEncoder
    if (folder / "encoder").is_dir():
        encoder = StaticReader(folder / "encoder")
    else:
        encoder = find_encoder(asked, name, device=device, cache=cache)
    return Bundle(predictor, info, encoder, asked, costs, labels)


def find_encoder(asked: str, name: str, *, device: str | None, cache: Path | None) -> LazyEncoder:
    """Return the encoder that is loaded as `asked`. Raises StoreError where that is not the one called `name`."""
    encoder = LazyEncoder(asked, device=device, cache=cache or Path.home() / ".cache" / "embedllm")
    if encoder.name != name:
        raise StoreError(f"the encoder {asked!r} is {encoder.name} here, but the router was fitted on {name}")
    return encoder


def _digest(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


def _card(bundle: Bundle) -> str:
    """Return a model card in Markdown."""
    info, predictor = bundle.info, bundle.predictor
    categories = predictor.known_categories()
    sure = "" if info.val_accuracy is None else f", {info.val_accuracy:.1%} of forecasts right on validation questions"
    models = "\n".join(f"- `{name}`" for name in predictor.models)
    known = f"\nIt knows the benchmarks and categories {', '.join(categories)}.\n" if categories else ""
    return f"""---
library_name: embedllm
tags:
- routing
- model-selection
- embedllm
---

# A router over {len(predictor.models)} language models

For each question it forecasts which of these models answers it correctly, how sure that is, and what it costs.
Embedder `{info.embedder}`, fitted on {info.questions:,} questions{sure}; question encoder `{info.encoder}`.
{known}
```python
import embedllm

router = embedllm.load("this/folder")
router.route(["What is 12 plus 7?"])
```

## Models

{models}
"""
