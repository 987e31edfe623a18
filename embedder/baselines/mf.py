"""EmbedLLM's matrix factorisation (arXiv 2410.02223): the paper's model, trained on whole question batches.

A question with sentence embedding x and a model m meet as

    q = Linear(x)                         (d,)
    two logits = Linear(P[m] * q)         element-wise product
    s(m, q) = sigmoid(logit_1 - logit_0)  the probability that m answers q correctly

Only the difference of the logits counts, so with w = w_1 - w_0 and b = b_1 - b_0 the logits of a batch of
questions and all models are one matrix product, (q * w) Pᵀ + b. The authors' code trains on single (question,
model) pairs in file order, keeps its noise on and takes missing labels for wrong ones where it routes, and keeps
its last epoch whatever it is worth; here cells that were not asked are masked, questions are shuffled, noise is for
training only, and the epoch that is best on the validation questions is kept.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from embedder.predictor import Predictor, Sample
from embedder.questions import Questions

__all__ = ["MatrixFactorization"]


class FactorModel(nn.Module):
    """The paper's model: D features, M models, d dimensions."""

    def __init__(self, features: int, models: int, dimensions: int, initial_scale: float = 1.0) -> None:
        super().__init__()
        self.P = nn.Embedding(models, dimensions)  # (M, d), standard normal
        with torch.no_grad():
            self.P.weight.mul_(initial_scale)
        self.question = nn.Linear(features, dimensions)
        self.classifier = nn.Linear(dimensions, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, D) question features → (n, M) log-odds that each model is right."""
        weight = self.classifier.weight[1] - self.classifier.weight[0]  # (d,)
        bias = self.classifier.bias[1] - self.classifier.bias[0]
        return (self.question(x) * weight) @ self.P.weight.T + bias


@dataclass(eq=False)
class MatrixFactorization(Predictor):
    """The paper's embedder: d, alpha and Adam are the paper's, the rest was chosen on validation questions.

    `alpha` is the standard deviation of the noise on x in training. Training stops when the validation
    log-loss has not fallen for `patience` epochs, and goes back to the best; without validation answers it
    takes `steps_unvalidated`. Learning rate, weight decay and batch size were chosen by the mean validation
    log-loss over mmlu_pro, zeroeval and the two combined; learning rates of 1e-3 to 1e-2, weight decay up to
    1e-4 and batches of 64 to 2,048 differ by less than 0.002 nats. `initial_scale` is 1 in the authors' code; then
    most of an embedding is what it was before training, and models that answer alike are no closer than others.
    With 0.1 the validation log-loss is the same or lower, and distance means disagreement.
    """

    method: ClassVar[str] = "mf"

    dimensions: int = 232
    alpha: float = 0.05
    initial_scale: float = 0.1  # standard deviation of P before training
    learning_rate: float = 3e-3
    weight_decay: float = 5e-5
    batch_size: int = 128  # questions; a step sees their answers by all models
    max_epochs: int = 200
    patience: int = 10
    steps_unvalidated: int = 500

    @property
    def model_embeddings(self) -> np.ndarray:
        """(M, d) float32: the rows of P; NaN for a model without training answers."""
        embeddings = self._model.P.weight.detach().numpy()
        return np.where(self.has_answers[:, None], embeddings, np.float32(np.nan))

    def _fit(self, train: Sample, val: Sample, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):  # leave the caller's random numbers alone
            torch.manual_seed(seed)
            self._model = FactorModel(self.dimensions_in, len(self.models), self.dimensions, self.initial_scale)
            self._train(_Answers(train), _Answers(val))

    def _train(self, train: _Answers, val: _Answers) -> None:
        model = self._model
        optimizer = torch.optim.Adam(model.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        if not val.asked.any():
            steps_an_epoch = math.ceil(len(train.x) / self.batch_size)
            for _ in range(math.ceil(self.steps_unvalidated / steps_an_epoch)):
                self._epoch(train, optimizer)
            return
        best, best_loss, best_epoch = copy.deepcopy(model.state_dict()), math.inf, 0
        for epoch in range(self.max_epochs):
            self._epoch(train, optimizer)
            with torch.no_grad():
                loss = _masked_loss(model(val.x), val.right, val.asked).item()
            if loss < best_loss:
                best, best_loss, best_epoch = copy.deepcopy(model.state_dict()), loss, epoch
            elif epoch - best_epoch >= self.patience:
                break
        model.load_state_dict(best)

    def _epoch(self, train: _Answers, optimizer: torch.optim.Optimizer) -> None:
        for batch in torch.randperm(len(train.x)).split(self.batch_size):
            x = train.x[batch]
            noisy = x + self.alpha * torch.randn_like(x)
            loss = _masked_loss(self._model(noisy), train.right[batch], train.asked[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def _probabilities(self, questions: Questions) -> np.ndarray:
        with torch.no_grad():
            return torch.sigmoid(self._model(torch.tensor(questions.vectors, dtype=torch.float32))).numpy()

    def _learnt(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return {name: tensor.numpy() for name, tensor in self._model.state_dict().items()}, {}

    def _restore(self, arrays: dict[str, np.ndarray], rest: dict[str, Any]) -> None:
        self._model = FactorModel(self.dimensions_in, len(self.models), self.dimensions)
        names = self._model.state_dict().keys()
        self._model.load_state_dict({name: torch.from_numpy(arrays[name]) for name in names})


class _Answers:
    """Questions and their labels as tensors, unasked cells masked."""

    def __init__(self, sample: Sample) -> None:
        self.x = torch.tensor(sample.questions.vectors, dtype=torch.float32)  # (n, D)
        self.right = torch.from_numpy(np.nan_to_num(sample.matrix.labels))  # (n, M), 0 where not asked: masked
        self.asked = torch.from_numpy(sample.matrix.observed.astype(np.float32))  # (n, M), 0 or 1


def _masked_loss(logits: torch.Tensor, right: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """Mean binary cross-entropy of the cells asked; 0 where a batch has none."""
    loss = binary_cross_entropy_with_logits(logits, right, reduction="none")
    return (loss * asked).sum() / asked.sum().clamp(min=1)
