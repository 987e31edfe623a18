"""One reader a format of evaluation results. A reader turns files into graded answers; what they then must satisfy,
and how they come into the lake, is the same for all of them (`warehouse/imports`).

A format of your own is a class like `Reader`, which a package names under the entry point `embedllm.importers`.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from .code_benchmarks import CodeBenchmarkReader
from .every_eval_ever import EveryEvalEverReader
from .failures_only import BfclReader, SweBenchReader
from .helm import HelmReader
from .inspect_logs import InspectReader
from .lighteval import LightevalReader
from .lm_eval import LmEval
from .long_tables import LongTableReader
from .opencompass import OpenCompassReader
from .reader import Reader
from .router_logs import RouterArenaReader, RouterBenchRunReader
from .scores import IrtReader, ScoresReader
from .wide_tables import WideTableReader

__all__ = ["all_readers"]

ENTRY_POINT = "embedllm.importers"


def all_readers() -> list[Reader]:
    """Return a reader of every format; those of other packages come last."""
    own: list[Reader] = [
        LmEval(),
        LightevalReader(),
        InspectReader(),
        HelmReader(),
        OpenCompassReader(),
        EveryEvalEverReader(),
        CodeBenchmarkReader(),
        RouterBenchRunReader(),
        RouterArenaReader(),
        BfclReader(),
        SweBenchReader(),
        ScoresReader(),
        IrtReader(),
        WideTableReader(),
        LongTableReader(),
    ]
    return [*own, *(point.load()() for point in sorted(entry_points(group=ENTRY_POINT), key=lambda point: point.name))]
