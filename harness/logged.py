"""What lm-eval's logs leave to the definitions of tasks: the text of a question, and the names of filters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any

from .errors import UNEXPLAINED, HarnessError

if TYPE_CHECKING:
    from lm_eval.api.task import Task

    from .tasks import TaskIndex

__all__ = ["LoggedTasks"]

_TRIES = 3  # documents with which a task may fail to load before it counts as another task of the same name


_SILENCE = 2  # seconds
_FINDING = "  finding out which of the tasks lm-eval knows (their questions get the text of our own evaluations)"


class LoggedTasks:
    """The tasks whose logs people have: those of a registry's `tasks_dir`, and those that lm-eval brings.

    Nothing is loaded but definitions: no data, no network. lm-eval's index takes seconds, and is made when a task is
    first asked for that `tasks_dir` does not have.
    """

    def __init__(self, tasks_dir: Path | None, tell: Callable[[str], None] = lambda text: None) -> None:
        """`tell` is given a line to print where finding the tasks takes long."""
        self._tasks_dir = tasks_dir
        self._patience: Timer | None = Timer(_SILENCE, tell, [_FINDING])  # until lm-eval is first needed
        self._loaded: dict[str, Task] = {}
        self._failures: Counter[str] = Counter()
        self.without_text: Counter[str] = Counter()
        """Documents of known tasks for which a definition gave no text, by task."""

    def text_of(self, task: str, doc: Mapping[str, Any]) -> str | None:
        """Return the text that our own evaluation gives a logged document of a task.

        None where the task is not known, loads its data by code of its own or by code that needs what is not
        installed, or its definition does not fit `doc`.
        """
        known = dict(doc)
        with self._patiently():
            from .tasks import question_text

            try:
                definition = self._definition(task, known)
                return None if definition is None else question_text(definition, known)
            except (*UNEXPLAINED, HarnessError, ImportError, OSError, RuntimeError):
                self.without_text[task] += 1
                return None

    def filters_of(self, task: str) -> Sequence[str]:
        """Return the names of a task's filters, in the order in which lm-eval applies them; none if it is not known."""
        with self._patiently():
            index = self._index_with(task)
            return () if index is None else index.filters(task)

    def _definition(self, task: str, doc: dict[str, Any]) -> Task | None:
        if task not in self._loaded:
            if self._failures[task] == _TRIES or (index := self._index_with(task)) is None:
                return None
            self._failures[task] += 1
            self._loaded[task] = index.load_without_data(task, doc)
        return self._loaded[task]

    def _index_with(self, task: str) -> TaskIndex | None:
        if self._local is not None and self._local.knows(task):
            return self._local
        return self._own if self._own.knows(task) else None

    @contextmanager
    def _patiently(self) -> Iterator[None]:
        """Tell what is going on where the first use takes long, which loads lm-eval and its index."""
        patience, self._patience = self._patience, None
        if patience is not None:
            patience.start()
        try:
            yield
        finally:
            if patience is not None:
                patience.cancel()

    @cached_property
    def _local(self) -> TaskIndex | None:
        from .tasks import TaskIndex

        return TaskIndex(self._tasks_dir) if self._tasks_dir is not None and self._tasks_dir.is_dir() else None

    @property
    def _own(self) -> TaskIndex:
        return _lm_evals_own()


@cache
def _lm_evals_own() -> TaskIndex:
    from .tasks import TaskIndex

    return TaskIndex(None)
