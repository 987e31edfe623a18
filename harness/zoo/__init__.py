"""A zoo of 112 tiny language models with ten benchmarks, trained here: real models where no hub is within reach."""

from harness.zoo.build import ZooSummary, build_zoo, is_built, recipe_in_force, update_tasks
from harness.zoo.families import FAMILIES, MODEL_NAMES
from harness.zoo.skills import SKILLS
from harness.zoo.tasks import TASK_PREFIX

__all__ = [
    "FAMILIES",
    "MODEL_NAMES",
    "SKILLS",
    "TASK_PREFIX",
    "ZooSummary",
    "build_zoo",
    "is_built",
    "recipe_in_force",
    "update_tasks",
]
