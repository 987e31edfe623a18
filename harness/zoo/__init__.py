"""A zoo of 112 tiny language models with ten benchmarks, trained here: real models where no hub is within reach."""

from .build import ZooSummary, build_zoo, is_built, recipe_digest, update_tasks
from .families import FAMILIES, MODEL_NAMES
from .skills import SKILLS
from .tasks import TASK_PREFIX

__all__ = [
    "FAMILIES",
    "MODEL_NAMES",
    "SKILLS",
    "TASK_PREFIX",
    "ZooSummary",
    "build_zoo",
    "is_built",
    "recipe_digest",
    "update_tasks",
]
