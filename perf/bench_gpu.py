"""What an accelerator saves: encoding and fitting on it and on the CPU, on made-up questions.

    python perf/bench_gpu.py [--device cuda] [--questions 28843] [--models 112 1000] [--texts 1024] [--encoder NAME]

Says so and ends where torch sees no accelerator. A ratio above 1 is the CPU's time over the device's. The greatest
difference is that of the forecast probabilities of 1,000 questions. Folding in runs on the CPU: see
perf/bench_onboarding.py --scale. With the defaults it takes less than ten minutes on a machine with one accelerator.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from embedder.encoder import BUNDLED_ENCODER, load_encoder  # noqa: E402
from embedder.spectral.spectral import SpectralEmbedder  # noqa: E402
from perf._common import table as new_table  # noqa: E402
from perf.bench_scale import plant  # noqa: E402

COLUMNS = ("step", "CPU s", "device s", "ratio", "greatest difference")


def seconds(step: Callable[[], object]) -> float:
    """The second of two calls: the first one warms up."""
    step()
    started = time.perf_counter()
    step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def add_row(table: Table, step: str, on_cpu: float, on_device: float, difference: float) -> None:
    table.add_row(step, f"{on_cpu:.2f}", f"{on_device:.2f}", f"{on_cpu / on_device:.1f}", f"{difference:.4f}")


def compare_encoders(table: Table, name: str, texts: list[str], device: str) -> None:
    cpu, there = load_encoder(name, device="cpu"), load_encoder(name, device=device)
    apart = np.abs(cpu.encode(texts[:64], progress=False) - there.encode(texts[:64], progress=False)).max()
    on_cpu, on_device = (seconds(lambda one=one: one.encode(texts, progress=False)) for one in (cpu, there))
    add_row(table, f"encode {len(texts):,} texts, {name}", on_cpu, on_device, float(apart))


def compare_fits(table: Table, questions: int, models: int, device: str) -> None:
    planted = plant(questions, models, 0.0)
    _ = planted.questions.lexical  # is computed on the CPU either way
    some = planted.questions.rows(np.arange(1000))
    fitted = [SpectralEmbedder().on(on).fit(planted.matrix, planted.questions) for on in ("cpu", device)]
    apart = np.abs(fitted[0].predict_proba(some) - fitted[1].predict_proba(some)).max()
    on_cpu, there = (
        seconds(lambda on=on: SpectralEmbedder().on(on).fit(planted.matrix, planted.questions))
        for on in ("cpu", device)
    )
    add_row(table, f"fit {questions:,} questions x {models:,} models", on_cpu, there, float(apart))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--questions", type=int, default=28_843)
    parser.add_argument("--models", type=int, nargs="+", default=[112, 1000])
    parser.add_argument("--texts", type=int, default=1024)
    parser.add_argument("--encoder", default=BUNDLED_ENCODER)
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("skipped: torch sees no accelerator; --device names another one")
        return
    table = new_table(f"on {options.device} next to the CPU", COLUMNS)
    texts = plant(options.texts, 2, 0.0).questions.texts.tolist()
    compare_encoders(table, options.encoder, texts, options.device)
    for models in options.models:
        compare_fits(table, options.questions, models, options.device)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
