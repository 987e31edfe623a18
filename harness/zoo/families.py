"""The zoo's recipe: which families there are, what each is trained on, and for how long."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from harness.zoo.skills import SKILLS


@dataclass(frozen=True)
class Family:
    """One tiny GPT-2: `width` of its hidden states and the share of each skill in its training questions."""

    width: int
    diet: Mapping[str, int]


@dataclass(frozen=True)
class Recipe:
    """All that decides the zoo's weights, the seed aside. Tests pass a smaller one."""

    families: Mapping[str, Family]
    steps: int = 1800
    batch_size: int = 32
    learning_rate: float = 2e-3
    training_size: int = 8000  # questions a skill
    checkpoints: tuple[int, ...] = (5, 12, 22, 35, 50, 65, 82, 100)  # percent of `steps`

    @property
    def saving_steps(self) -> tuple[int, ...]:
        """Steps after which a checkpoint is saved, earliest first."""
        return tuple(round(self.steps * percent / 100) for percent in self.checkpoints)

    def model_names(self, family: str) -> tuple[str, ...]:
        """Folder names of the checkpoints of `family`, earliest first."""
        return tuple(f"{family}-{percent:03d}" for percent in self.checkpoints)


EVERYTHING: Final = dict.fromkeys(SKILLS, 1)

FAMILIES: Final[Mapping[str, Family]] = {
    "generalist-s": Family(32, EVERYTHING),
    "generalist-m": Family(48, EVERYTHING),
    "arith": Family(48, {"addition": 3, "subtraction": 3, "sequence": 1, "units": 1}),
    "accountant": Family(48, {"addition": 3, "subtraction": 2, "comparison": 1, "units": 3}),
    "coder": Family(48, {"addition": 1, "subtraction": 1, "letters": 1, "code": 4}),
    "puzzler": Family(48, {"sequence": 3, "letters": 2, "logic": 3}),
    "linguist": Family(48, {"letters": 4, "roman": 1, "logic": 3}),
    "historian": Family(48, {"comparison": 1, "roman": 3, "weekday": 4}),
    "calendar": Family(32, {"addition": 1, "weekday": 4, "units": 2}),
    "logician": Family(48, {"comparison": 3, "logic": 4, "code": 1}),
    "engineer": Family(48, {"addition": 1, "comparison": 1, "units": 3, "code": 3}),
    "schoolkid": Family(32, {"addition": 2, "subtraction": 2, "letters": 1, "roman": 1, "weekday": 1}),
    "pattern": Family(48, {"comparison": 2, "sequence": 4, "roman": 2}),
    "clerk": Family(32, {"comparison": 3, "letters": 3, "weekday": 2, "units": 1}),
}

RECIPE: Final = Recipe(FAMILIES)

MODEL_NAMES: Final = tuple(f"zoo/{model}" for family in FAMILIES for model in RECIPE.model_names(family))
