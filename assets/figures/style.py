"""What all pictures have in common. Colours are Okabe and Ito's, told apart by everyone."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OURS, OTHERS = "#0072B2", "#999999"
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKERS = "os^Dv<>"
DPI = 130
_KEPT = 8  # pictures of each kind that a process remembers

P = ParamSpec("P")


def drawn_once(draw: Callable[P, str]) -> Callable[P, str]:
    """Pictures of the same arguments are drawn once a process: most are shown by the asset that makes their table, and
    by the report after it."""
    known: dict[str, str] = {}

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> str:
        key = hashlib.sha256(json.dumps([args, kwargs], default=_plain).encode()).hexdigest()
        if key not in known:
            if len(known) == _KEPT:
                del known[next(iter(known))]
            known[key] = draw(*args, **kwargs)
        return known[key]

    return drawn


def _plain(value: object) -> Any:
    """What stands for a value that JSON does not know. Raises TypeError where nothing does."""
    if isinstance(value, np.ndarray):
        contents = value.tolist() if value.dtype == object else hashlib.sha256(value.tobytes()).hexdigest()
        return [value.dtype.str, value.shape, contents]
    if isinstance(value, np.generic):
        return value.item()
    if is_dataclass(value):
        return [getattr(value, field.name) for field in fields(value)]
    raise TypeError(f"pictures are not drawn of a {type(value).__name__}")


def markdown(uri: str) -> str:
    """A picture as Dagster shows it in metadata."""
    return f"![]({uri})"


def figure(height: float, width: float = 6.0) -> Figure:
    """An empty figure of that many inches; 6 inches of width leave its text readable on a phone."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def data_uri(drawn: Figure) -> str:
    """The figure as a PNG inside a page; the same figure gives the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    drawn.set_dpi(DPI)
    FigureCanvasAgg(drawn).print_png(buffer, metadata={"Software": None})  # savefig would draw everything twice
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
