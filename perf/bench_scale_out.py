"""Beyond one machine: evaluations a minute over Ray nodes, and a lake of many models and benchmarks.

    python perf/bench_scale_out.py --nodes 1 2 3 [--rounds 2] [--sleep 15]
    python perf/bench_scale_out.py [--models 1000] [--benchmarks 30] [--questions 100] [--at FOLDER]

With --nodes, so many Ray nodes of one worker each, on this machine, ask as many models as they can at once, --rounds
times; each model sleeps for --sleep seconds a batch, so that two cores do not limit them. Measured is the time from
when the first run came into the queue to the end of the last one.

Without, models and answers are made up, and what is measured is how long plan, sensors and publishing take, and how
much memory. With --at, an empty folder, the homes stay there. Every step runs in a process of its own, so that its peak
memory is its own. Seconds are wall (processor).
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import yaml
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from assets.inputs.entries import ENTRY, entry_digest
from assets.inputs.workspace import Workspace
from perf._common import peak_memory, table, timed
from pipelines.automation.plan import plan
from pipelines.automation.sensors import build_sensors
from pipelines.instance import register_models, use_home
from pipelines.jobs import EVALUATE
from pipelines.settings import Settings, open_workspace
from tests.cluster.cluster import Cluster, find_missing, started_cluster
from tests.cluster.services import wait_for
from tests.command import Command
from tests.micro import save_micro_model, save_micro_task, write_registry_of
from warehouse.database.publish import publish

TOGETHER = 10  # models whose answers are one commit, as when ten nodes write every half minute
ASKED = ("sums", "towns")  # the benchmarks that models that sleep are asked
ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
Step = Callable[[Workspace, dg.DagsterInstance], Any]


def make_registry(folder: Path, models: int, benchmarks: int) -> None:
    folder.mkdir(parents=True)
    entries = [
        {"name": f"org/model-{number:05}", "args": {"pretrained": f"org/model-{number:05}"}, "size_b": 7.0}
        for number in range(models)
    ]
    asked = [{"name": f"benchmark-{number:02}", "tasks": ["arc_easy"], "metric": "acc"} for number in range(benchmarks)]
    (folder / "models.yaml").write_text(yaml.safe_dump({"models": entries}))
    (folder / "benchmarks.yaml").write_text(yaml.safe_dump({"benchmarks": asked}))


def write_answers(workspace: Workspace, questions: int) -> str:
    """Write what evaluations of everything would have: answers with what they took, and what determined them."""
    registry, lake, draw = workspace.registry, workspace.lake, np.random.default_rng(0)
    numbers = np.arange(questions)
    asked = {
        benchmark.name: pa.table(
            {
                "task": [benchmark.name] * questions,
                "doc_id": numbers,
                "text": [
                    f"What is the answer to question {number} of {benchmark.name}?" for number in range(questions)
                ],
                "category": [benchmark.name] * questions,
            }
        )
        for benchmark in registry.benchmarks
    }
    for start in range(0, len(registry.models), TOGETHER):
        with lake.together():
            for model in registry.models[start : start + TOGETHER]:
                for benchmark in registry.benchmarks:
                    correct = draw.random(questions) < 0.5
                    texts = asked[benchmark.name]
                    answers = texts.select(["task", "doc_id"]).append_column("correct", pa.array(correct))
                    answers = answers.append_column("score", pa.array(correct.astype(float)))
                    answers = answers.append_column("tokens_in", pa.array(draw.integers(50, 500, questions)))
                    known = {"fingerprint": model.name, ENTRY: entry_digest(model, benchmark, workspace)}
                    known |= {
                        "node": "node-1",
                        "seconds": "12.5",
                        "tokens_per_second": "811.1",
                        "asked": f"{questions}",
                    }
                    lake.write_evaluation(benchmark.name, model.name, answers, texts, known)
    return f"{len(lake.pairs()):,} evaluations"


def tick(name: str) -> Step:
    """What a sensor's look takes, as in a code server that has looked before."""

    def look(workspace: Workspace, instance: dg.DagsterInstance) -> str:
        (sensor,) = [one for one in build_sensors(workspace.registry, lambda: workspace) if one.name == name]
        with dg.build_sensor_context(instance=instance) as context:
            found = sensor(context)
        return f"{len(found.run_requests or ())} runs" if isinstance(found, dg.SensorResult) else str(found)

    return look


def queue_runs(workspace: Workspace, instance: dg.DagsterInstance) -> str:
    """Make a run of every model, as the daemon does of what the sensor asks for; for the plan, started is queued."""
    requests = [request for request in plan(workspace, instance) if request.model]
    for request in requests:
        tags = {**request.tags, "dagster/partition": request.model or ""}
        instance.add_run(dg.DagsterRun(EVALUATE, str(uuid.uuid4()), tags=tags, status=dg.DagsterRunStatus.STARTED))
    return f"{len(requests):,} runs"


def measure(home: Path, registry: Path, name: str) -> list[tuple[str, str, str, str]]:
    """Take the steps of this name in this process: for each what it is, its seconds, the memory by then, its result."""
    os.environ |= {"EMBEDLLM_HOME": str(home), "EMBEDLLM_REGISTRY": str(registry)}
    settings = Settings()
    use_home(settings)
    measured = []
    with dg.DagsterInstance.get() as instance:
        for what, step in steps(name):
            workspace = open_workspace(settings)
            said, spent = timed(lambda step=step, workspace=workspace: step(workspace, instance))
            measured.append((what, str(spent), f"{peak_memory():,.0f}", str(said)))
    return measured


def steps(name: str) -> Iterator[tuple[str, Step]]:
    def planned(workspace: Workspace, instance: dg.DagsterInstance) -> str:
        return f"{sum(request.model is not None for request in plan(workspace, instance)):,} models due"

    evaluate, refresh = tick("evaluate_what_is_new"), tick("refresh_what_changed")
    match name.partition(" ")[0]:
        case "register":
            yield "partitions made", lambda w, i: register_models(i, (model.name for model in w.registry.models))
        case "write":
            yield "answers written", lambda w, i: write_answers(w, int(name.partition(" ")[2]))
        case "looks":
            yield "plan, at first", planned
            yield "plan, again", planned
            yield "tick: evaluate_what_is_new", evaluate
            yield "tick: refresh_what_changed", refresh
        case "queue":
            yield "runs queued", queue_runs
        case "publish":
            yield "lake opened", lambda w, i: f"{len(w.lake.pairs()):,} evaluations"
            yield "published", lambda w, i: f"{publish(w.lake, w.database)['responses']:,} answers"
            yield "published again", lambda w, i: f"{publish(w.lake, w.database)['responses']:,} answers"
        case "compact":
            yield "compacted", lambda w, i: w.lake.compact(kept=timedelta(0))


SLEEPING = """
import time
from transformers import GPT2LMHeadModel

class Sleeping(GPT2LMHeadModel):
    def forward(self, *args, **options):
        time.sleep({seconds})
        return super().forward(*args, **options)
"""


def make_sleeping(folder: Path, models: int, seconds: float) -> Command:
    """A registry of tiny models that sleep before each batch, and the command on it."""
    names = [f"tiny/sleeper-{number}" for number in range(models)]
    (folder / "tasks").mkdir(parents=True)
    for benchmark in ASKED:
        save_micro_task(folder / "tasks", benchmark)
    for seed, name in enumerate(names):
        model = folder / "models" / Path(name).name
        save_micro_model(model, seed)
        (model / "sleeping.py").write_text(SLEEPING.format(seconds=seconds))
        config = json.loads((model / "config.json").read_text())
        config["auto_map"] = {"AutoModelForCausalLM": "sleeping.Sleeping"}
        (model / "config.json").write_text(json.dumps(config))
    write_registry_of(folder / "registry", folder, names, ASKED)
    entries = yaml.safe_load((folder / "registry" / "models.yaml").read_text())["models"]
    trusted = {"models": [entry | {"trust_remote_code": True} for entry in entries]}
    (folder / "registry" / "models.yaml").write_text(yaml.safe_dump(trusted))
    return Command(folder / "home", folder / "registry", {"HF_DATASETS_CACHE": str(folder / "datasets")})


def measure_nodes(nodes: int, rounds: int, seconds: float) -> tuple[float, float, str]:
    """Return evaluations a minute, the seconds from the queue to the last run's end, and how runs ended."""
    models = nodes * rounds
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        home = make_sleeping(folder, models, seconds)
        with started_cluster(home, folder, [f"node-{number}" for number in range(nodes)]) as cluster:
            command = cluster.command.start("run")
            try:
                wait_for(lambda: len(ended_evaluations(cluster)) >= models, "the evaluations", 1800, every=2)
                records = ended_evaluations(cluster)
            finally:
                command.kill()
                command.communicate()
    began = min(record.create_timestamp.replace(tzinfo=UTC).timestamp() for record in records)
    took = max(record.end_time or 0.0 for record in records) - began
    states = Counter(record.dagster_run.status.value for record in records)
    return 60 * states["SUCCESS"] * len(ASKED) / took, took, str(dict(states))


def ended_evaluations(cluster: Cluster) -> list[dg.RunRecord]:
    with cluster.instance() as instance:
        records = instance.get_run_records(dg.RunsFilter(statuses=ENDED))
    return [record for record in records if "dagster/partition" in record.dagster_run.tags]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", help="of Ray, of one worker each")
    parser.add_argument("--rounds", type=int, default=2, help="models that each node is asked, one after the other")
    parser.add_argument("--sleep", type=float, default=15.0, help="seconds that a model sleeps a batch")
    parser.add_argument("--models", type=int, default=1_000)
    parser.add_argument("--benchmarks", type=int, default=30)
    parser.add_argument("--questions", type=int, default=100, help="of each benchmark")
    parser.add_argument("--at", type=Path, help="folder in which the home stays")
    options = parser.parse_args()
    if options.nodes:
        measure_scaling(options.nodes, options.rounds, options.sleep)
    else:
        measure_lake(options)


def measure_scaling(nodes: Sequence[int], rounds: int, seconds: float) -> None:
    if missing := find_missing():
        print(f"skipped: {missing}")
        return
    drawn = table("evaluations over Ray nodes", ("nodes", "models", "s", "evaluations a minute", "efficiency", "runs"))
    one = 0.0
    for number in nodes:
        rate, took, ended = measure_nodes(number, rounds, seconds)
        one = one or rate / number
        drawn.add_row(
            *(f"{number}", f"{number * rounds}", f"{took:.0f}", f"{rate:.2f}", f"{rate / number / one:.0%}", ended)
        )
        Console(width=150).print(drawn)


def measure_lake(options: argparse.Namespace) -> None:
    folder = options.at or Path(tempfile.mkdtemp())
    size = f"{options.models:,} models x {options.benchmarks} benchmarks of {options.questions:,} questions"
    drawn = table(f"{size}; seconds are wall (processor), MB the most by then", ("step", "seconds", "MB", "result"))
    try:
        make_registry(folder / "registry", options.models, options.benchmarks)
        for state, home, names in (
            ("nothing was asked yet", "new", ["register", "looks"]),
            ("all is queued", "new", ["queue", "looks"]),
            ("all has answered", "done", ["register", f"write {options.questions}", "looks", "publish"]),
            ("after compaction", "done", ["compact", "looks"]),
        ):
            drawn.add_row(state, style="bold")
            for name in names:
                print(f"{state}: {name}", file=sys.stderr)
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    for row in pool.submit(measure, folder / home, folder / "registry", name).result():
                        drawn.add_row(*row)
            drawn.add_section()
    finally:
        if not options.at:
            shutil.rmtree(folder)
    Console(width=150).print(drawn)


if __name__ == "__main__":
    main()
