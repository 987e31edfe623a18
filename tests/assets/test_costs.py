"""A question costs what its tokens do."""

from dataclasses import replace

import pytest

from assets.costs import question_costs
from harness.entries import Price, Registry


def test_a_typical_question_at_the_registrys_prices(registry: Registry) -> None:
    elm, oak = registry.models
    priced = elm.model_copy(update={"price": Price(input=0.5, output=1.5)})
    # 200 tokens in at 0.5, 200 out at 1.5 US$ a million; the other has no price.
    assert question_costs(replace(registry, models=(priced, oak))) == {"elm": pytest.approx(0.0004)}
