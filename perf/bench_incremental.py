"""Seconds of a refresh after one more model, one more benchmark and nothing, next to those of making everything.

    python perf/bench_incremental.py [--models 112] [--questions 2000 28843] [--home FOLDER]

The answers are made up, to questions like the demo's in ten benchmarks; importing them is not measured, as evaluating
is not. With more than MOST questions the expensive experiments, which then take hours, are left out; the title says so.
Every case is a process of its own, as `embedllm run` is: its seconds are those of the whole chain, encoding and loading
what it needs included. What any command takes to start is told apart. On a machine that others use too, set
OMP_NUM_THREADS=1 and compare the processor's seconds, those of all processes. With --home the homes stay there.
"""

import argparse
import logging
import random
import resource
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

# The processes that are timed import this file: what they load beside the chain is not to be heavy.
from harness.zoo.skills import LEVELS, SKILLS, Question  # noqa: E402

FAMILIES = 14
CHANCE = 0.25  # of four choices
MOST = 5_000  # questions with which the expensive experiments are measured too
PROCESSES = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
NEW_BENCHMARK = "two-steps"
TARGETS = {"one more model": 0.10, "one more benchmark": 0.40, "nothing": 0.01}  # most seconds, as shares of everything


@dataclass(frozen=True)
class Asked:
    """The questions (Q) of some benchmarks, and how hard each is (Q,), in log-odds."""

    texts: list[str]
    benchmarks: list[str]
    hardness: np.ndarray


@dataclass(frozen=True)
class Cost:
    """Of a case: seconds of the chain, of those by asset that was made, of the process with its start, and processor
    seconds of the chain."""

    chain: float
    assets: dict[str, float]
    process: float
    processor: float


MEASURES: dict[str, Callable[[Cost], float]] = {
    "together": lambda cost: cost.chain,
    "of the processor": lambda cost: cost.processor,
    "with the start of Python": lambda cost: cost.process,
}


# --- made-up results


def asked_in(benchmarks: Sequence[str], questions: int) -> Asked:
    """As many different questions of each benchmark."""
    texts, hardness = [], []
    for benchmark in benchmarks:
        source = random.Random(benchmark)
        found: dict[str, int] = {}
        while len(found) < questions:
            level = LEVELS[len(found) % len(LEVELS)]
            found.setdefault(_text(source, benchmark, level), level)
        texts += found
        hardness += found.values()
    names = [name for name in benchmarks for _ in range(questions)]
    noise = np.random.default_rng(len(benchmarks)).normal(0, 0.7, len(texts))
    return Asked(texts, names, np.array(hardness) - 1 + noise)


def _text(source: random.Random, benchmark: str, level: int) -> str:
    """A question with its choices, as a model reads it."""
    if benchmark in SKILLS:
        return _shown(source, SKILLS[benchmark](source, level))
    steps = [SKILLS[skill](source, level) for skill in source.sample(sorted(SKILLS), 2)]
    return "First: " + "\nThen: ".join(_shown(source, step) for step in steps)


def _shown(source: random.Random, question: Question) -> str:
    choices = source.sample([question.answer, *question.distractors], 4)
    return "\n".join([question.text, *(f"{letter}. {choice}" for letter, choice in zip("ABCD", choices, strict=True))])


def write_answers(path: Path, asked: Asked, models: Sequence[int], seed: int) -> None:
    """Those of the `models` (M), in the published layout. The families have skills of their own, and their models grow
    abler."""
    from scipy.special import expit

    draw = np.random.default_rng(seed)
    names, of = np.unique(asked.benchmarks, return_inverse=True)
    numbers = np.array(models)
    taste = np.random.default_rng(0).normal(0, 1, (FAMILIES, len(names)))[numbers % FAMILIES]  # (M, B)
    ability = (numbers // FAMILIES) / 4 - 1  # (M,)
    chance = CHANCE + (1 - CHANCE) * expit(taste[:, of] + ability[:, None] - asked.hardness)
    right = draw.random(chance.shape) < chance  # (M, Q)
    model, question = np.divmod(np.arange(right.size), len(of))
    text = pa.DictionaryArray.from_arrays(question.astype(np.int32), asked.texts)
    category = pa.DictionaryArray.from_arrays(of[question].astype(np.int32), list(names))
    name = pa.DictionaryArray.from_arrays(model.astype(np.int32), [name_of(number) for number in models])
    columns = {"prompt_id": question, "model_id": numbers[model], "category_id": of[question]}
    columns |= {"label": right.ravel().astype(np.int8), "model_name": name, "category": category, "prompt": text}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def write_labels(path: Path, models: Sequence[int]) -> None:
    """Family, size and a community of the models."""
    rows = [
        {
            "model_name": name_of(number),
            "family": f"family-{number % FAMILIES:02}",
            "size_b": 0.5 * 2.0 ** (number // FAMILIES),
            "communities": "coding" if number % FAMILIES < 3 else "",
        }
        for number in models
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)


def name_of(number: int) -> str:
    return f"made-up/family-{number % FAMILIES:02}-{number // FAMILIES}"


# --- the cases


def cases(home: Path, models: int, questions: int) -> Iterator[tuple[str, Cost]]:
    """In the order in which they must be measured."""
    asked = asked_in(sorted(SKILLS), questions // len(SKILLS))
    new = asked_in([NEW_BENCHMARK], questions // len(SKILLS))
    sources, everybody = home / "sources", [*range(models)]
    write_answers(sources / "pool.parquet", asked, everybody, seed=1)
    write_answers(sources / "model.parquet", asked, [models], seed=2)
    write_answers(sources / "benchmark.parquet", new, [*everybody, models], seed=3)
    write_labels(sources / "labels.parquet", [*everybody, models])
    order = {"everything": "pool", "nothing": None, "one more model": "model", "one more benchmark": "benchmark"}
    for name, source in order.items():
        yield name, in_process(home, source, expensive=questions <= MOST)


def in_process(home: Path, source: str | None, *, expensive: bool) -> Cost:
    """Imports the source, where there is one, then times the chain in a process that starts afresh."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        if source:
            pool.submit(bring_in, home, home / "sources" / f"{source}.parquet").result()
    started = time.perf_counter()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        chain, processor, assets = pool.submit(run, home, expensive).result()
    return Cost(chain, assets, time.perf_counter() - started, processor)


def bring_in(home: Path, source: Path) -> None:
    from pipelines.settings import Settings, open_workspace
    from warehouse.imports.ingest import import_results

    workspace = open_workspace(Settings(home=home))
    import_results(workspace.lake, str(source), models=source.with_name("labels.parquet"), benchmark_of=str)


def run(home: Path, expensive: bool) -> tuple[float, float, dict[str, float]]:
    """Runs the chain; returns its seconds, the processor's, and the seconds of each asset that it made."""
    import dagster as dg

    from assets.matrix.checks import build_checks
    from pipelines.chain import run_chain
    from pipelines.console import Console as Progress
    from pipelines.instance import use_home
    from pipelines.local import runner
    from pipelines.settings import Settings, open_workspace

    logging.getLogger("dagster").setLevel(logging.ERROR)
    if not expensive:
        runner.make_assets = without_expensive(runner.make_assets)
    settings = Settings(home=home)
    use_home(settings)
    with dg.DagsterInstance.get() as instance:
        before = {run.run_id for run in instance.get_runs()}
    started, computed = time.perf_counter(), processor_seconds()
    with Progress() as progress:
        run_chain(settings, open_workspace(settings), progress)
    seconds, computed = time.perf_counter() - started, processor_seconds() - computed
    with dg.DagsterInstance.get() as instance:
        made = [run.run_id for run in instance.get_runs() if run.run_id not in before]
        steps = [step for run_id in made for step in instance.get_run_step_stats(run_id)]
    checks = {check.op.name for check in build_checks()}
    taken: defaultdict[str, float] = defaultdict(float)
    for step in steps:
        if step.start_time and step.end_time:
            name = "checks of the data" if step.step_key in checks else step.step_key
            taken[name] += step.end_time - step.start_time
    return seconds, computed, dict(taken)


def without_expensive(make_assets: Callable[..., None]) -> Callable[..., None]:
    """Return a `make_assets` that leaves out the assets that are tagged as expensive."""
    from assets.evaluation.experiments import EXPERIMENTS
    from assets.evaluation.left_out_embeddings import left_out_embeddings
    from assets.inputs.provenance import EXPENSIVE

    specs = [asset.get_asset_spec() for asset in (left_out_embeddings, *EXPERIMENTS)]
    skipped = {spec.key for spec in specs if EXPENSIVE.items() <= spec.tags.items()}

    def make(assets: Sequence[Any], *arguments: Any) -> None:
        cheap = [key for key in assets if key not in skipped]
        if {key.to_user_string() for key in cheap} - {"warehouse", "report"}:  # these follow from what is left out
            make_assets(cheap, *arguments)

    return make


def processor_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    return sum(resource.getrusage(who).ru_utime + resource.getrusage(who).ru_stime for who in PROCESSES)


# --- what came out


def shown(title: str, costs: dict[str, Cost]) -> None:
    """Seconds by asset, and the whole as a share of making everything."""
    table = Table("seconds", title=title, title_justify="left")
    for name in costs:
        table.add_column(name, justify="right")
    for asset in dict.fromkeys(asset for cost in costs.values() for asset in cost.assets):
        table.add_row(asset, *(_number(cost.assets.get(asset)) for cost in costs.values()))
    table.add_row("between them", *(_number(cost.chain - sum(cost.assets.values())) for cost in costs.values()))
    table.add_section()
    for measure, of in MEASURES.items():
        table.add_row(measure, *(_number(of(cost)) for cost in costs.values()))
        table.add_row("share of everything", *(f"{of(cost) / of(costs['everything']):.1%}" for cost in costs.values()))
        table.add_section()
    table.add_row("target", *(f"{TARGETS[name]:.0%}" if name in TARGETS else "" for name in costs))
    Console(width=120).print(table)


def _number(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f}"


@contextmanager
def kept_in(home: Path | None) -> Iterator[Path]:
    """The folder, or one that is removed afterwards."""
    if home is not None:
        yield home
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=112)
    parser.add_argument("--questions", type=int, nargs="+", default=[2_000, 28_843])
    parser.add_argument("--home", type=Path)
    options = parser.parse_args()
    with kept_in(options.home) as folder:
        for questions in options.questions:
            title = f"{options.models} models x {questions:,} questions"
            title += "" if questions <= MOST else ", without the expensive experiments"
            home = folder / f"{options.models}x{questions}"
            if home.exists():
                raise SystemExit(f"{home} exists: name another folder with --home, or remove it")
            costs = {}
            for name, cost in cases(home, options.models, questions):
                costs[name] = cost
                print(f"{title}: {name}: {cost.chain:.1f} s", file=sys.stderr)
            shown(title, costs)


if __name__ == "__main__":
    main()
