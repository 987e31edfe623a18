"""What is read once for all the stages of a run."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import wraps
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def remember_last(
    key: Callable[Arguments, Hashable],
) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """Decorate a function that takes long: as long as the `key` of its arguments, which tells all that the result
    depends on, is the same, it returns its last result again."""

    def decorate(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        last: list[tuple[Hashable, Result]] = []

        @wraps(function)
        def recall(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            now = key(*args, **kwargs)
            for known, result in last[:]:
                if known == now:
                    return result
            result = function(*args, **kwargs)
            last[:] = [(now, result)]
            return result

        return recall

    return decorate
