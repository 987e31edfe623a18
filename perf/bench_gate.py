"""How often the gate holds back an ordinary refresh, and one whose training labels were shuffled; and what it costs.

    python perf/bench_gate.py [--data ../shared/data] [--cache data/cache] [--sets mmlu_pro zeroeval combined]
                              [--encoder NAME] [--sizes 300 1200] [--draws 5]

Each draw takes so many of the train and val questions (0: all; test questions are not looked at). The version before is
fitted on three quarters of the models, or on all questions but those of one category, or on three quarters of the
training questions; the new one on 80% of the models and on all questions drawn. "shuffled" is fitted on the
same answers, after the rows of the training questions were exchanged at random.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from embedder.encoder import load_encoder  # noqa: E402
from embedder.gate import Version, judge_version  # noqa: E402
from embedder.matrix import CorrectnessMatrix  # noqa: E402
from embedder.questions import Questions  # noqa: E402
from embedder.spectral.spectral import SpectralEmbedder  # noqa: E402
from perf._common import SETS, embed, is_there, parser, published  # noqa: E402
from perf._common import table as new_table  # noqa: E402

GROWTH = ("models", "benchmark", "questions")  # that joined


def shuffle(matrix: CorrectnessMatrix, rng: np.random.Generator) -> CorrectnessMatrix:
    """Every training question gets the answers to another."""
    labels, train = matrix.labels.copy(), np.flatnonzero(matrix.splits == "train")
    labels[train] = labels[rng.permutation(train)]
    return replace(matrix, labels=labels)


def earlier(matrix: CorrectnessMatrix, questions: Questions, growth: str, rng: np.random.Generator) -> Version:
    """What was fitted before `matrix` grew."""
    keep = np.ones(len(matrix.labels), bool)
    models = matrix.models
    if growth == GROWTH[0]:
        models = tuple(sorted(rng.permutation(models)[: 3 * len(models) // 4]))
    elif growth == GROWTH[1]:
        keep = matrix.benchmarks != rng.choice(np.unique(matrix.benchmarks).astype(str))
    else:
        keep = (rng.random(len(keep)) < 0.75) | (matrix.splits == "val")
    return Version("before", SpectralEmbedder().fit(matrix.of_models(models).rows(keep), questions.rows(keep)), None)


def measure(matrix: CorrectnessMatrix, questions: Questions, size: int, draw: int) -> dict[str, list]:
    """By growth: whether the ordinary and the shuffled version are held back; by "seconds", of the processor: those of
    the fit, and of the verdict."""
    rng = np.random.default_rng(draw)
    rows = np.sort(rng.permutation(len(matrix.labels))[: size or None])
    models = tuple(sorted(rng.permutation(matrix.models)[: 8 * len(matrix.models) // 10]))
    some, asked = matrix.rows(rows).of_models(models), questions.rows(rows)
    started = time.process_time()
    ordinary = SpectralEmbedder().fit(some, asked)
    fitting, judging = time.process_time() - started, []
    versions = [ordinary, SpectralEmbedder().fit(shuffle(some, rng), asked)]
    val = asked.rows(some.splits == "val").by_text_alone()
    found: dict[str, list] = {}
    for growth in GROWTH:
        before = earlier(some, asked, growth, rng)
        found[growth] = []
        for version in versions:
            probabilities = version.predict_proba(val)
            started = time.process_time()
            verdict = judge_version(version, some, asked, probabilities, before)
            judging.append(time.process_time() - started)
            found[growth].append(verdict.holds_back)
            if version is ordinary and verdict.faults:
                print(f"size {size}, draw {draw}, {growth}: {'; and '.join(verdict.faults)}", file=sys.stderr)
    return found | {"seconds": [fitting, float(np.mean(judging))]}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    arguments.add_argument("--encoder", default="static")
    arguments.add_argument("--sizes", nargs="+", type=int, default=(300, 1200))
    arguments.add_argument("--draws", type=int, default=5)
    options = arguments.parse_args()
    if not is_there(options.data):
        return
    encoder = load_encoder(options.encoder)
    columns = [f"{kind}: {growth}" for kind in ("ordinary", "shuffled") for growth in GROWTH]
    drawn = new_table("share held back", ("set, questions", *columns, "fit, s", "verdict, s"))
    for name in options.sets:
        matrix = published(options.data, name)
        matrix = matrix.rows(matrix.splits != "test")
        questions = Questions(matrix.texts, embed(encoder, matrix.texts.tolist(), options.cache), matrix.benchmarks)
        for size in options.sizes:
            draws = [measure(matrix, questions, size, draw) for draw in range(options.draws)]
            held = np.mean([[found[growth] for growth in GROWTH] for found in draws], axis=0).T.ravel()
            seconds = np.mean([found["seconds"] for found in draws], axis=0)
            drawn.add_row(f"{name}, {size or 'all'}", *(f"{s:.0%}" for s in held), *(f"{s:.2f}" for s in seconds))
    Console(width=160).print(drawn)


if __name__ == "__main__":
    main()
