"""What all pictures have in common. Colours are Okabe and Ito's, told apart by everyone."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OURS, OTHERS = "#0072B2", "#999999"
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKERS = "os^Dv<>"
DPI = 130
DOLLARS, PARAMETERS = "US$", "billions of parameters"
_SCALES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))


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


def parameters(size_b: float) -> str:
    """Billions of parameters the way one says them, in three digits: 46.7B, 135M, 79.3K."""
    count = float(f"{size_b * 1e9:.3g}")
    scale, letter = next((unit for unit in _SCALES if count >= unit[0]), (1, ""))
    return f"{count / scale:g}{letter}"
