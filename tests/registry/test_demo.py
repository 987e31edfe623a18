"""The demo's registry names exactly what the zoo makes."""

from pathlib import Path

import pytest

from harness.registry import Registry, load_registry
from harness.zoo.families import FAMILIES, MODEL_NAMES, RECIPE
from harness.zoo.skills import SKILLS, make_material
from harness.zoo.train import _new_model, make_tokenizer

REPOSITORY = Path(__file__).parents[2]
HOME = Path("/home/of/embedllm")

TAG_OF_SKILL = {
    "addition": "arithmetic",
    "subtraction": "arithmetic",
    "comparison": "comparison",
    "sequence": "patterns",
    "letters": "language",
    "roman": "history",
    "logic": "logic",
    "weekday": "calendar",
    "units": "units",
    "code": "coding",
}
STAGES = {5: "early", 12: "early", 22: "early", 35: "mid", 50: "mid", 65: "mid", 82: "late", 100: "late"}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry(REPOSITORY / "registry" / "demo", HOME)


def test_the_models_are_the_zoos(registry: Registry) -> None:
    assert registry.made_by == "zoo"
    assert len(registry.models) == 112
    assert tuple(model.name for model in registry.models) == MODEL_NAMES


def test_each_model_lies_in_its_folder_of_the_home(registry: Registry) -> None:
    for model in registry.models:
        assert model.args == {"pretrained": f"{HOME}/{model.name}", "dtype": "float32"}
        assert model.name == f"zoo/{model.family}-{model.name[-3:]}"


def test_one_model_in_full(registry: Registry) -> None:
    coder = registry.model("zoo/coder-035")
    assert coder.args["pretrained"] == "/home/of/embedllm/zoo/coder-035"
    assert (coder.family, coder.communities) == ("coder", ("coding", "d48", "mid"))


def test_tags_follow_what_a_model_was_trained_on(registry: Registry) -> None:
    """Specialities are skills of weight 3 or more, or else the heaviest; generalists have none."""
    for model in registry.models:
        family = FAMILIES[str(model.family)]
        heavy = min(3, max(family.diet.values()))
        special = {TAG_OF_SKILL[skill] for skill, weight in family.diet.items() if weight >= heavy}
        expected = {"generalist"} if set(family.diet) == set(SKILLS) else special
        assert set(model.communities) == {*expected, f"d{family.width}", STAGES[int(model.name[-3:])]}


def test_sizes_are_what_is_built(registry: Registry) -> None:
    words = len(make_tokenizer(make_material(0, RECIPE.training_size)))
    built = {width: _new_model(width, words).num_parameters() for width in (32, 48)}
    for model in registry.models:
        assert model.size_b == pytest.approx(built[FAMILIES[str(model.family)].width] / 1e9, rel=1e-12)


def test_the_benchmarks_are_the_zoos_skills(registry: Registry) -> None:
    assert [benchmark.name for benchmark in registry.benchmarks] == list(SKILLS)
    for benchmark in registry.benchmarks:
        assert (benchmark.tasks, benchmark.metric) == ((f"zoo_{benchmark.name}",), "acc")
    assert registry.tasks_dir == HOME / "zoo" / "tasks"
