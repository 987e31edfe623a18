"""Whether a task's definition fits its data: lm-eval does not check, and no model could then answer right."""

import difflib
import re
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any

from jinja2 import Environment
from jinja2.meta import find_undeclared_variables
from lm_eval.api.task import ConfigurableTask, Task

from .checks import shortened
from .errors import TaskFaulty

__all__ = ["check_columns", "check_nothing_is_none", "check_target", "describe_fields"]


def describe_fields(name: str, config: dict[str, Any]) -> str:
    """Return `t: doc_to_text 'q', doc_to_choice 'choices', doc_to_target 'label'`."""
    fields = [
        f"{field} {config[field]!r}" for field in ("doc_to_text", "doc_to_choice", "doc_to_target") if field in config
    ]
    return f"{name}: {', '.join(fields)}"


def check_columns(task: Task) -> None:
    """Raise TaskFaulty where a field of the definition is neither a column of the data nor a template.

    lm-eval would take the word itself for the prompt, or for the right answer, of every document.
    """
    if not isinstance(task, ConfigurableTask) or task.prompt is not None:
        return
    fields = {"doc_to_text": task.config.doc_to_text, "doc_to_choice": task.config.doc_to_choice}
    if task.config.process_results is None:  # else the task's own code knows the right answer
        fields["doc_to_target"] = task.config.doc_to_target
    for field, value in fields.items():
        if isinstance(value, str) and value not in task.features and _is_constant(field, value, task):
            near = difflib.get_close_matches(str(value), task.features, n=1)
            remedy = f"perhaps '{near[0]}' is meant" if near else "name a column"
            raise TaskFaulty(
                f"{field} of task '{task.config.task}' is '{shortened(value)}', which is no column of its data "
                f"(they have {', '.join(task.features)}); {remedy}, or write a template with {{{{ }}}}"
            )


def _is_constant(field: str, value: str, task: ConfigurableTask) -> bool:
    """Whether the field would be the same for every document where they must differ."""
    if re.fullmatch(r"[^\W\d][\w.-]*", value):  # a word: the name of a column that is not there
        return True
    differ = isinstance(task.config.doc_to_choice, (str, Callable))  # the choices, of which each document has its own
    return field == "doc_to_text" and bool(value) and not differ and "{{" not in value and "{%" not in value


def check_target(task: Task, doc: Any) -> bool:
    """Whether a document has a right answer that is not empty.

    Raises TaskFaulty where it has none at all, or one that is none of its choices.
    """
    if not isinstance(task, ConfigurableTask) or task.config.process_results is not None:
        return True  # its own code knows
    target = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    if target is None:
        raise TaskFaulty("has no right answer (doc_to_target gives nothing); correct the data or doc_to_target")
    if task.config.doc_to_choice is not None:
        _check_choices(target, task.doc_to_choice(doc), texts=task.OUTPUT_TYPE == "multiple_choice")
    elif task.OUTPUT_TYPE in ("generate_until", "loglikelihood") and task.config.doc_to_target != "":
        return target != [] and str(target).strip() != ""
    return True


def _check_choices(target: Any, choices: Any, *, texts: bool) -> None:
    """`texts`: a choice may be named by its own text."""
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, str) for choice in choices):
        raise TaskFaulty(
            f"has {choices!r} for its choices, which must be a list of texts; correct the data or doc_to_choice"
        )
    targets = target if isinstance(target, list) else [target]
    named = texts and isinstance(target, str)
    positions = range(len(choices))
    is_right = [(isinstance(one, Integral) and one in positions) or (named and one in choices) for one in targets]
    if not is_right or not all(is_right):
        shown = ", ".join(repr(choice) for choice in choices[:6])
        raise TaskFaulty(
            f"has {target!r} for its right answer, which is none of its {len(choices)} choices ({shown}): give the "
            "number of the right choice, the first being 0, as a whole number and not as text, or the choice's own text"
        )


def check_nothing_is_none(task: Task, doc: Any) -> None:
    """Raise TaskFaulty where a template writes `None` for a value that the document lacks."""
    if not isinstance(task, ConfigurableTask) or task.prompt is not None or not isinstance(doc, Mapping):
        return
    absent = {name for name, value in doc.items() if value is None}
    if not absent:
        return
    for field, render in (("doc_to_text", task.doc_to_text), ("doc_to_target", task.doc_to_target)):
        template = getattr(task.config, field)
        if isinstance(template, str) and "{{" in template and "None" in str(render(doc)):
            used = sorted(find_undeclared_variables(Environment().parse(template)) & absent)
            if used:
                raise TaskFaulty(f"has no {', '.join(used)}, for which {field} would write 'None'; correct the data")
