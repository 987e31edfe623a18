"""What a policy of the router may hold: by which rule a server chooses a model for a request (docs/serve.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictBool, model_validator

from .entries import StrictModel, Text, Texts

__all__ = ["BUILT_IN", "FILE", "Policies", "Policy"]

FILE = "policies.yaml"

_MODEL_FIELDS = ("model", "default_model")


def _usable_policy_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name):
        raise ValueError(f"{name!r} is no policy name; use lower-case letters, digits, '_', '.' and '-' only")
    return name


class Policy(StrictModel):
    """How a model is chosen. A client asks for it as the model `embedllm/<name>`."""

    name: Annotated[str, AfterValidator(_usable_policy_name)] = Field(description="its name, e.g. cheap")
    choose: Literal["best", "cheapest", "pinned", "shadow"] = Field(
        default="best",
        description="best (by routing score), cheapest (of those likely enough to be right), pinned (one model) or "
        "shadow (the default model, while what would have been chosen is logged)",
    )
    at_least: float = Field(
        default=0.7, ge=0, le=1, description="a number from 0 to 1: the probability that is enough, for cheapest"
    )
    cost_weight: float = Field(
        default=0, ge=0, description="a number, 0 or more: what a unit of cost takes from the score, for best"
    )
    model: Text | None = Field(default=None, description="the model's name, for pinned")
    default_model: Text | None = Field(
        default=None, description="a model's name: what answers where too little is known of a question"
    )
    among: Texts | None = Field(
        default=None, min_length=1, description="a list of models, the only ones it chooses from"
    )
    without: Texts = Field(default=(), description="a list of models that it does not choose")
    benchmark: Text | None = Field(default=None, description="the benchmark or category that its questions are of")
    least_support: float | None = Field(
        default=None, ge=0, le=1, description="a number from 0 to 1: the support below which too little is known"
    )
    widest_interval: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="a number up to 1: the width of the 95% interval above which too little is known",
    )
    budget_usd_a_day: float | None = Field(default=None, gt=0, description="a number above 0: US$ a day (UTC)")
    when_spent: Literal["refuse", "cheapest"] = Field(
        default="refuse", description="refuse or cheapest: what happens once the day's budget is spent"
    )
    turns_before: int = Field(
        default=0, ge=0, strict=True, description="a whole number: how many messages before the last question count too"
    )
    stickiness: float = Field(
        default=0.05,
        ge=0,
        description="a number, 0 or more: the gain in score for which a conversation changes its model",
    )
    fall_back: StrictBool = Field(
        default=True, description="true or false: whether the next model is asked where the chosen one fails"
    )
    timeout_s: float = Field(default=120, gt=0, description="a number above 0: seconds until a model's answer begins")
    deadline_s: float = Field(default=300, gt=0, description="a number above 0: seconds for all tries together")
    description: str = Field(default="", description="text")

    @model_validator(mode="after")
    def _says_which_model(self) -> Policy:
        if self.choose == "pinned" and self.model is None:
            raise ValueError("lacks 'model', which it needs to choose pinned")
        if self.choose != "pinned" and self.model is not None:
            raise ValueError("has 'model', which means nothing unless it chooses pinned; add 'choose: pinned'")
        if self.choose == "shadow" and self.default_model is None:
            raise ValueError("lacks 'default_model', which answers where it chooses shadow")
        return self

    @property
    def models_named(self) -> tuple[str, ...]:
        named = (getattr(self, field) for field in _MODEL_FIELDS)
        return (*(name for name in named if name), *(self.among or ()), *self.without)


@dataclass(frozen=True)
class Policies:
    """The policies in force by name; `default` is the name of the one that the model `embedllm` stands for."""

    by_name: Mapping[str, Policy]
    default: str
    file: Path | None = None  # None: those that come with embedllm


BUILT_IN = Policies(
    {
        policy.name: policy
        for policy in (
            Policy(name="best", description="the best routing score, whatever it costs"),
            Policy(name="cheap", choose="cheapest", description="the cheapest whose probability is at least 0.7"),
        )
    },
    default="best",
)
"""Where a registry has no policies.yaml."""
