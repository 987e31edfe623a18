"""What the harness costs: CPU-seconds a zoo model for all benchmarks of the demo registry.

    python perf/bench_harness.py [--home data] [--ours 12] [--theirs 3]

The yardstick is one `lm_eval` command-line call a model for the same tasks, on one thread as well and with
the batch size that the harness takes. Exits with 1 if any answer differs between the two.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, here and in the calls of lm_eval
REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from harness.registry import Registry, load_registry  # noqa: E402
from harness.zoo import build_zoo  # noqa: E402

Scores = dict[tuple[str, int], float]  # (task, doc_id) → metric


def ours(registry: Registry, n: int, cache: Path) -> tuple[dict[str, Scores], list[float], float]:
    """Answers by model, CPU-seconds of each model, CPU-seconds until the first question."""
    from harness.evaluate import LoadedModel, TaskIndex, evaluate

    tasks = TaskIndex(registry.tasks_dir)
    for benchmark in registry.benchmarks:
        tasks.questions(benchmark)
    start = time.process_time()
    scores: dict[str, Scores] = {}
    seconds: list[float] = []
    for entry in registry.models[:n]:
        before = time.process_time()
        with LoadedModel(entry, device="cpu", cache_dir=cache) as model:
            tables = [evaluate(model, benchmark, tasks).answers for benchmark in registry.benchmarks]
        seconds.append(time.process_time() - before)
        rows = [row for table in tables for row in table.to_pylist()]
        scores[entry.name] = {(row["task"], row["doc_id"]): row["score"] for row in rows}
    return scores, seconds, start


def theirs(registry: Registry, n: int, folder: Path) -> Iterator[tuple[str, Scores, float]]:
    """Model, its answers, the CPU-seconds of the call."""
    tasks = ",".join(task for benchmark in registry.benchmarks for task in benchmark.tasks)
    metric = {task: (b.metric, b.filter) for b in registry.benchmarks for task in b.tasks}
    for number, entry in enumerate(registry.models[:n]):
        output = folder / str(number)
        model_args = ",".join(f"{name}={value}" for name, value in entry.args.items())
        before = _children_cpu()
        command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--model_args", model_args]
        command += ["--tasks", tasks, "--include_path", str(registry.tasks_dir), "--device", "cpu"]
        command += ["--batch_size", "64", "--log_samples", "--output_path", str(output)]
        subprocess.run(command, check=True, capture_output=True)
        seconds = _children_cpu() - before
        scores: Scores = {}
        for path in output.rglob("samples_*.jsonl"):
            task = next(task for task in metric if path.name.startswith(f"samples_{task}_2"))
            for line in path.read_text().splitlines():
                row = json.loads(line)
                if row["filter"] == metric[task][1]:
                    scores[task, row["doc_id"]] = row[metric[task][0]]
        yield entry.name, scores, seconds


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description="CPU-seconds a model, harness against lm_eval")
    parser.add_argument("--home", type=Path, default=REPOSITORY / "data", help="home with the zoo (built if absent)")
    parser.add_argument("--ours", type=int, default=12, help="models to evaluate with the harness")
    parser.add_argument("--theirs", type=int, default=3, help="models to evaluate with lm_eval's command line")
    options = parser.parse_args()
    registry = load_registry(REPOSITORY / "registry" / "demo", options.home)
    build_zoo(options.home / "zoo")

    with tempfile.TemporaryDirectory() as scratch:
        our_scores, our_seconds, start = ours(registry, max(options.ours, options.theirs), Path(scratch))
        their_seconds: list[float] = []
        differing = compared = 0
        for name, scores, seconds in theirs(registry, options.theirs, Path(scratch)):
            their_seconds.append(seconds)
            compared += len(scores)
            differing += len(set(scores.items()) ^ set(our_scores[name].items()))

    steady = statistics.median(our_seconds[1:])
    once = start + our_seconds[0] - steady  # imports, data, what transformers imports with its first model
    all_in = steady + once / len(registry.models)
    call = statistics.mean(their_seconds)
    n = len(registry.models)
    print(f"lm_eval command line: {call:.2f} CPU-seconds a model (mean of {len(their_seconds)})")
    print(f"harness: {steady:.2f} a model (median of {len(our_seconds) - 1}) and {once:.1f} once a process")
    print(f"{n} models in one process: {all_in:.2f} CPU-seconds a model, {call / all_in:.1f} times less")
    print(f"answers compared: {compared}, differing: {differing}")
    return int(differing > 0 or compared == 0)


if __name__ == "__main__":
    sys.exit(main())
