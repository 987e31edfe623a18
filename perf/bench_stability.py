"""How far models move when one more joins, with the axes of the new fit aligned to those of the old one and without.

    python perf/bench_stability.py [--sets mmlu_pro] [--data ../shared/data] [--cache data/cache]

Every third model by name, ten at most, joins in turn: the embedder is fitted on the others, then on all. Distances are
those of the others' embeddings from where they were, as shares of the mean distance between two models.
"""

import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from scipy.spatial.distance import pdist

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from embedder.encoder import load_encoder  # noqa: E402
from embedder.matrix import CorrectnessMatrix  # noqa: E402
from embedder.questions import Questions  # noqa: E402
from embedder.spectral.alignment import align, measure_drift  # noqa: E402
from embedder.spectral.spectral import SpectralEmbedder  # noqa: E402
from perf._common import SETS, embed, is_there, parser, published  # noqa: E402
from perf._common import table as new_table  # noqa: E402


def fitted(matrix: CorrectnessMatrix, questions: Questions, models: list[str]) -> SpectralEmbedder:
    return SpectralEmbedder().fit(matrix.of_models(tuple(sorted(models))), questions)


def compared(new: SpectralEmbedder, old: SpectralEmbedder, tested: Questions) -> list[float]:
    """Distances moved without and with alignment, share of forecasts that changed sides, and the root mean square
    change of the forecasts' deviations by alignment, as a share of them."""
    aligned = align(new, old)
    spread = pdist(new.model_embeddings).mean()
    bare, found = measure_drift(new, old, tested), measure_drift(aligned, old, tested)
    assert bare.distance is not None
    assert found.distance is not None
    assert found.predictions is not None
    before, after = (one.forecast(tested).deviations for one in (new, aligned))
    assert before is not None
    assert after is not None
    off = np.sqrt(np.square(after / before - 1).mean())
    return [bare.distance / spread, found.distance / spread, found.predictions, float(off)]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--sets", nargs="+", choices=SETS, default=("mmlu_pro",))
    options = arguments.parse_args()
    if not is_there(options.data):
        return
    encoder, console = load_encoder(), Console(width=120)
    for name in options.sets:
        matrix = published(options.data, name)
        questions = Questions(matrix.texts, embed(encoder, matrix.texts.tolist(), options.cache), matrix.benchmarks)
        tested = questions.rows(matrix.splits == "test")
        everyone = fitted(matrix, questions, list(matrix.models))
        scores = []
        for joins in track(matrix.models[::3][:10], "models that join"):
            others = [model for model in matrix.models if model != joins]
            scores.append(compared(everyone, fitted(matrix, questions, others), tested))
        columns = ("", "moved", "moved, aligned", "forecasts that changed sides", "deviations changed by alignment")
        table = new_table(f"{name}: {len(matrix.models)} models", columns)
        for label, of in (("one joins: mean", np.mean), ("one joins: worst", np.max)):
            table.add_row(label, *(f"{value:.2%}" for value in of(scores, axis=0)))
        console.print(table)


if __name__ == "__main__":
    main()
