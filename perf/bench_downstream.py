"""Seconds of every experiment and of the report, on made-up answers.

    python perf/bench_downstream.py [--models 112] [--questions 2000 28843] [--home FOLDER]

The answers are those of perf/bench_scale.py, in ten benchmarks; they are imported into a home of their own, and the
assets run as they do in Dagster: reading, computing, drawing, writing, publishing. Trainings without a benchmark use
every core. --home measures the stages on a copy of that home instead, whatever it holds."""

import argparse
import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from assets.embedding.embedder import embedder  # noqa: E402
from assets.evaluation.experiments import EXPERIMENTS  # noqa: E402
from assets.inputs.workspace import Workspace  # noqa: E402
from assets.matrix.correctness_matrix import build_correctness_matrix  # noqa: E402
from assets.matrix.reading import encoder_in_use  # noqa: E402
from assets.report.report import report  # noqa: E402
from assets.report.warehouse import warehouse  # noqa: E402
from harness.registry import Registry  # noqa: E402
from perf._common import table as new_table  # noqa: E402
from perf.bench_scale import Planted, plant  # noqa: E402
from pipelines.graph import build_resources  # noqa: E402
from pipelines.settings import Settings, open_workspace  # noqa: E402
from warehouse.imports.ingest import import_results  # noqa: E402

STAGES = (*EXPERIMENTS, warehouse, report)
BENCHMARKS = 10
TARGET = 180.0  # seconds of the whole stage at 112 models x 2,000 questions


def made_up(home: Path, models: int, questions: int) -> Workspace:
    """A home whose answers are imported and whose questions have their vectors."""
    workspace = Workspace(home, Registry(home, (), ()))
    planted = plant(questions, models, missing=0.0)
    source = home / "published.parquet"
    home.mkdir(parents=True, exist_ok=True)
    pq.write_table(_published(planted), source)
    import_results(workspace.lake, str(source), benchmark_of=str)
    known = workspace.lake.questions()
    vector = dict(zip(planted.matrix.texts, planted.questions.vectors, strict=True))
    vectors = np.stack([vector[text] for text in known["text"].to_pylist()])
    workspace.lake.add_question_embeddings(encoder_in_use(workspace).name, known["question_id"].to_pylist(), vectors)
    return workspace


def _published(planted: Planted) -> pa.Table:
    """Long, in the published layout; sixty categories become ten benchmarks."""
    count, models = planted.matrix.labels.shape
    row, column = np.divmod(np.arange(count * models), models)
    benchmark = np.unique(planted.matrix.categories, return_inverse=True)[1] % BENCHMARKS
    return pa.table(
        {
            "prompt_id": row,
            "model_id": column,
            "category_id": benchmark[row],
            "label": planted.matrix.labels.ravel().astype(np.int8),
            "model_name": pa.DictionaryArray.from_arrays(column.astype(np.int32), list(planted.matrix.models)),
            "category": pa.DictionaryArray.from_arrays(
                benchmark[row].astype(np.int32), [f"benchmark-{number}" for number in range(BENCHMARKS)]
            ),
            "prompt": pa.DictionaryArray.from_arrays(row.astype(np.int32), planted.matrix.texts.tolist()),
        }
    )


def seconds(workspace: Workspace) -> dict[str, float]:
    """Of every asset from the embedder on, in the order in which they run."""
    measured = {}
    with dg.DagsterInstance.ephemeral() as instance:
        for asset in (build_correctness_matrix(workspace.registry), embedder, *STAGES):
            started = time.perf_counter()
            dg.materialize([asset], resources=build_resources(workspace), instance=instance)
            measured[asset.op.name] = time.perf_counter() - started
            print(f"{asset.op.name}: {measured[asset.op.name]:.1f} s", file=sys.stderr)
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=112)
    parser.add_argument("--questions", type=int, nargs="+", default=[2_000, 28_843])
    parser.add_argument("--home", type=Path)
    options = parser.parse_args()
    logging.getLogger("dagster").setLevel(logging.ERROR)
    columns = {}
    with tempfile.TemporaryDirectory() as folder:
        if options.home:
            home = Path(shutil.copytree(options.home, Path(folder) / "home"))
            columns[options.home.name] = seconds(open_workspace(Settings(home=home)))
        for questions in () if options.home else options.questions:
            workspace = made_up(Path(folder) / str(questions), options.models, questions)
            columns[f"{options.models} x {questions:,}"] = seconds(workspace)
    table = new_table("seconds", ("asset", *columns))
    for name in next(iter(columns.values())):
        table.add_row(name, *(f"{column[name]:.1f}" for column in columns.values()))
    stages = [asset.op.name for asset in STAGES]
    totals = [sum(column[name] for name in stages) for column in columns.values()]
    table.add_row("experiments, warehouse and report", *(f"{total:.1f}" for total in totals))
    table.add_row(f"x target of {TARGET:.0f} s at 2,000 questions", *(f"{total / TARGET:.2f}" for total in totals))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
