"""What a question costs, from the prices in the registry."""

from __future__ import annotations

from harness.entries import Registry

# A multiple-choice question with its options, and an answer of a few sentences.
INPUT_TOKENS, OUTPUT_TOKENS = 200, 200


def question_costs(registry: Registry) -> dict[str, float]:
    """US$ that a question of typical length costs, by model; models without a price are left out."""
    return {
        m.name: (INPUT_TOKENS * m.price.input + OUTPUT_TOKENS * m.price.output) / 1e6
        for m in registry.models
        if m.price
    }
