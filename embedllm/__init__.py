"""Which language model answers a question correctly, and what it costs.

    import embedllm

    router = embedllm.load("data")                      # a home, an exported router, or a version of the embedder
    router.route(["What is 12 plus 7?"])                # the models to ask, the best first
    router = embedllm.fit(frame)                        # columns model, prompt, label and, where known, category

Tables come and go as pandas DataFrames. Importing this package imports nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .fitting import fit
    from .loading import load
    from .router import Router

__all__ = ["Router", "fit", "load"]

_WHERE = {"Router": "router", "fit": "fitting", "load": "loading"}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_WHERE[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
