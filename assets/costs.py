"""What asking a model costs: by the registry's prices, or by its size where models have none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .inputs import model_labels
from .workspace import Workspace

# A multiple-choice question with its options, and an answer of a few sentences.
INPUT_TOKENS, OUTPUT_TOKENS = 200, 200
DOLLARS, PARAMETERS = "US$", "billions of parameters"
_SCALES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))


@dataclass(frozen=True)
class Costs:
    """Cost of a question by model, in one unit; models whose cost is not known are left out."""

    unit: str
    by_model: Mapping[str, float]


def model_costs(workspace: Workspace) -> Costs:
    """US$ that a question of typical length costs, or billions of parameters where fewer models have a price than a
    size."""
    labels = model_labels(workspace)
    prices = {
        m.model: (INPUT_TOKENS * m.price_input + OUTPUT_TOKENS * m.price_output) / 1e6
        for m in labels
        if m.price_input is not None and m.price_output is not None
    }
    sizes = {m.model: m.size_b for m in labels if m.size_b is not None}
    return Costs(DOLLARS, prices) if len(prices) >= len(sizes) else Costs(PARAMETERS, sizes)


def parameters(size_b: float) -> str:
    """Billions of parameters the way one says them, in three digits: 46.7B, 135M, 79.3K."""
    count = float(f"{size_b * 1e9:.3g}")
    scale, letter = next((unit for unit in _SCALES if count >= unit[0]), (1, ""))
    return f"{count / scale:g}{letter}"
