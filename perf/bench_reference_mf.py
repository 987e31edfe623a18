"""The training procedure released with EmbedLLM (arXiv 2410.02223), as it is: how long it takes, and how good it is.

    python perf/bench_reference_mf.py [--epochs 50] [--sets mmlu_pro zeroeval] [--data ../shared/data]
                                      [--cache data/cache]

A row is one (question, model) pair; a DataLoader fetches the rows one by one and hands them on in batches of 2,048, in
file order, never shuffled. Adam, learning rate 1e-4, weight decay 1e-5, 50 epochs, of which the last counts. After
every epoch the test rows are scored, which is part of the procedure and of its time. Noise is on where the released
code computes its test loss and where it routes, off where it computes its accuracy; both are printed. Where it
routes, and only there, it takes missing labels for wrong ones: training and forecasting, measured here, have a row
only for what was asked. Two things differ: sentence vectors are those of this project's encoder, and it runs on the
CPU, as what it is compared with does.

The project's own embedders are fitted in the same run, so that times compare.
With fewer `--epochs` the time of all 50 is extrapolated, and the quality is that of the last epoch run.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from embedder import metrics  # noqa: E402
from embedder.baselines.mf import MatrixFactorization  # noqa: E402
from embedder.encoder import load_encoder  # noqa: E402
from embedder.matrix import CorrectnessMatrix  # noqa: E402
from embedder.predictor import Predictor  # noqa: E402
from embedder.questions import Questions  # noqa: E402
from embedder.spectral.spectral import SpectralEmbedder  # noqa: E402
from perf._common import SETS, embed, is_there, parser, published  # noqa: E402
from perf._common import table as new_table  # noqa: E402

EPOCHS = 50
BATCH = 2048
DIMENSIONS = 232
NOISE = 0.05
LEARNING_RATE = 1e-4
WEIGHT_DECAY = 1e-5
SEED = 42


class Pairs(Dataset):
    """The questions of one split with each model that was asked: (model, question, right) row by row."""

    def __init__(self, matrix: CorrectnessMatrix, split: str) -> None:
        asked = matrix.observed & (matrix.splits == split)[:, None]
        questions, models = np.nonzero(asked)  # question by question, as the published files have them
        self.models = torch.from_numpy(models)
        self.questions = torch.from_numpy(questions)
        self.labels = torch.from_numpy(matrix.labels[asked].astype(np.int64))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.models[index], self.questions[index], self.labels[index]


class PairModel(nn.Module):
    """The paper's model, a pair at a time; `vectors` (Q, D) of all questions are a frozen table."""

    def __init__(self, vectors: np.ndarray, models: int) -> None:
        super().__init__()
        self.model = nn.Embedding(models, DIMENSIONS)
        self.vector = nn.Embedding.from_pretrained(torch.from_numpy(vectors), freeze=True)
        self.question = nn.Linear(vectors.shape[1], DIMENSIONS)
        self.classifier = nn.Linear(DIMENSIONS, 2)

    def forward(self, models: torch.Tensor, questions: torch.Tensor, *, noisy: bool) -> torch.Tensor:
        """(n, 2) logits of wrong and right."""
        x = self.vector(questions)  # (n, D)
        if noisy:
            x = x + NOISE * torch.randn_like(x)
        return self.classifier(self.model(models) * self.question(x))


def train(matrix: CorrectnessMatrix, vectors: np.ndarray, epochs: int) -> tuple[dict[bool, np.ndarray], float]:
    """Probabilities of the test rows after the last epoch, with noise (True) and without, and the seconds it took."""
    torch.manual_seed(SEED)
    started = time.perf_counter()
    rows, test_rows = (DataLoader(Pairs(matrix, split), BATCH, shuffle=False) for split in ("train", "test"))
    model = PairModel(vectors, len(matrix.models))
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    probabilities = {}
    with tqdm(total=epochs * len(rows), unit="batch") as bar:
        for epoch in range(epochs):
            bar.set_description(f"epoch {epoch + 1} of {epochs}")
            for models, questions, labels in rows:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(models, questions, noisy=True), labels).backward()
                optimizer.step()
                bar.update()
            probabilities = score(model, test_rows)
    return probabilities, time.perf_counter() - started


@torch.no_grad()
def score(model: PairModel, rows: DataLoader) -> dict[bool, np.ndarray]:
    """(n,) probabilities that the model of a row is right, by whether there is noise: the released code does both."""
    right: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    for models, questions, _ in rows:
        for noisy, batches in right.items():
            batches.append(model(models, questions, noisy=noisy).softmax(dim=1)[:, 1])
    return {noisy: torch.cat(batches).numpy() for noisy, batches in right.items()}


def duration(epochs: int, seconds: float) -> str:
    """How long it took, and would have taken."""
    took = f"{seconds:.1f} s for {epochs} of {EPOCHS} epochs on {torch.get_num_threads()} threads"
    if epochs == EPOCHS:
        return took
    return f"{took}; extrapolated, not measured: {seconds / epochs * EPOCHS:.0f} s for {EPOCHS}"


def quality_table(name: str, matrix: CorrectnessMatrix, probabilities: dict[bool, np.ndarray]) -> Table:
    """A row is the last epoch, with or without noise, held against the answers to the test questions."""
    trained, tested = (Pairs(matrix, split) for split in ("train", "test"))
    labels = tested.labels.numpy().astype(np.float32)
    title = f"{name}: {len(trained):,} training rows, {len(tested):,} test rows"
    table = new_table(title, ("after the last epoch", "accuracy", "AUC", "log-loss", "ECE"))
    for noisy, label in ((False, "noise off, as for its accuracy"), (True, "noise on, as for its loss and routes")):
        scores = [f(labels, probabilities[noisy]) for f in (metrics.auc, metrics.log_loss, metrics.ece)]
        accuracy = metrics.accuracy(labels, probabilities[noisy])
        table.add_row(label, f"{accuracy:.2%}", *(f"{score:.4f}" for score in scores))
    return table


PEERS: dict[str, Callable[[], Predictor]] = {
    "default embedder": SpectralEmbedder,
    "the same on sentence vectors alone, 300 landmarks": partial(
        SpectralEmbedder, landmarks=300, lexical_weight=0, category_weight=0
    ),
    "the paper's model, whole question batches, stopped on val": MatrixFactorization,
}


def peers_table(matrix: CorrectnessMatrix, vectors: np.ndarray, reference: float) -> Table:
    """A row is an embedder of this project: its quality on test, and how often it is fitted in `reference` seconds."""
    columns = ("embedder", "accuracy", "log-loss", "seconds", "reference's time / its time")
    table = new_table("fitted in the same run, features of the text's form included", columns)
    test = matrix.of_split("test")
    for name, make in PEERS.items():
        questions = Questions(matrix.texts, vectors, matrix.benchmarks)
        started = time.perf_counter()
        predictor = make().fit(matrix, questions)
        seconds = time.perf_counter() - started
        probabilities = predictor.predict_proba(questions.rows(matrix.splits == "test"))
        accuracy = f"{metrics.accuracy(test.labels, probabilities):.2%}"
        loss = f"{metrics.log_loss(test.labels, probabilities):.4f}"
        table.add_row(name, accuracy, loss, f"{seconds:.2f}", f"{reference / seconds:.0f}")
    return table


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--sets", nargs="+", choices=SETS, default=("mmlu_pro", "zeroeval"))
    arguments.add_argument("--epochs", type=int, default=EPOCHS)
    options = arguments.parse_args()
    if options.epochs < 1:
        arguments.error(f"--epochs is {options.epochs}; run at least 1")
    if not is_there(options.data):
        return
    encoder = load_encoder()
    console = Console(width=120)
    for name in options.sets:
        matrix = published(options.data, name)
        vectors = embed(encoder, matrix.texts.tolist(), options.cache)
        probabilities, seconds = train(matrix, vectors, options.epochs)
        console.print(quality_table(name, matrix, probabilities))
        console.print(duration(options.epochs, seconds))
        console.print(peers_table(matrix, vectors, seconds / options.epochs * EPOCHS))


if __name__ == "__main__":
    main()
