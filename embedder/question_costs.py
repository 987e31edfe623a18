"""What a question will cost each model, in US$ or tokens: learnt from what the train questions took.

embedders/<version>/question_costs.safetensors    what was learnt of each amount
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save as tensor_bytes

from .questions import Questions
from .store import StoreError, digest_arrays, read_tensors, write_file

__all__ = ["FORM", "MEAN", "CostPredictor", "load_question_costs", "save_question_costs"]

FILE = "question_costs.safetensors"
MEAN, CATEGORY, FORM = "mean", "category", "form"
_PENALTIES = (1.0, 10.0, 100.0, 1000.0)  # of the ridge regression on standardised features
_GAIN = 0.01  # by which another way than the mean must have less error, as a share
_ENOUGH = 20  # questions whose cost is known, below which a model's costs tell nothing of form


@dataclass(frozen=True)
class CostPredictor:
    """Predicts an amount (US$, or tokens) that a question takes of each of M models.

    Three ways: the model's `mean`; its mean in the question's `category` (of C: the benchmarks), drawn towards its mean
    as far as the data say; or the `form` of the text, by ridge regression of log(1 + amount / mean) on the L lexical
    features. Which one holds was chosen on val questions: `told` where a question's benchmark is known, `untold` else.
    """

    models: tuple[str, ...]
    categories: tuple[str, ...]
    told: str
    untold: str
    means: np.ndarray  # (M,); NaN where nothing is known of a model
    by_category: np.ndarray  # (C, M)
    centre: np.ndarray  # (L,) of the features
    scale: np.ndarray  # (L,)
    weights: np.ndarray  # (L + 1, M), the last is the intercept
    correction: np.ndarray  # (M,): the logarithm's mean is not the mean's logarithm
    lowest: np.ndarray  # (M,): no prediction from form is below or above what was seen, however odd the text
    highest: np.ndarray  # (M,)

    @classmethod
    def fit(cls, amounts: np.ndarray, questions: Questions, splits: np.ndarray, models: tuple[str, ...]) -> Self | None:
        """Learn from `amounts` (Q, M), NaN where not known, of the Q `questions`; None where the train split has none.

        Raises ValueError where the amounts are of other questions or models.
        """
        if amounts.shape != (len(questions), len(models)):
            described = f"{len(questions)} questions and {len(models)} models"
            raise ValueError(f"the amounts are {amounts.shape}, but there are {described}")
        train, val = (splits == split for split in ("train", "val"))
        seen, known = amounts[train].astype(np.float64), ~np.isnan(amounts[train])
        if not known.any():
            return None
        asked, total = questions.rows(train), np.nan_to_num(seen).sum(0)
        means = _ratio(total, known.sum(0), np.nan)
        categories = () if asked.benchmarks is None else tuple(sorted(set(asked.benchmarks)))
        form = asked.form
        centre, deviation = form.mean(0, np.float64), form.std(0, np.float64)
        scale = np.where(deviation > 0, deviation, 1)
        fitted = cls(
            models=models,
            categories=categories,
            told=MEAN,
            untold=MEAN,
            means=means,
            by_category=_category_means(seen, means, asked, categories),
            centre=centre,
            scale=scale,
            weights=_regress(seen, means, (form - centre) / scale),
            correction=np.ones(len(models)),
            lowest=np.where(known, seen, np.inf).min(0),
            highest=np.where(known, seen, 0).max(0),
        )
        by_form = np.where(known, fitted.predict_by(FORM, asked), 0).sum(0)
        return replace(fitted, correction=_ratio(total, by_form, 1))._choose_ways(amounts[val], questions.rows(val))

    def predict(self, questions: Questions) -> np.ndarray:
        """Return the amounts (n, M); NaN for a model of which nothing is known."""
        if questions.benchmarks is None or self.told == self.untold:
            return self.predict_by(self.untold, questions)
        known = np.isin(questions.benchmarks.astype(str), self.categories)
        return np.where(known[:, None], self.predict_by(self.told, questions), self.predict_by(self.untold, questions))

    def predict_by(self, way: str, questions: Questions) -> np.ndarray:
        """Return the amounts (n, M) by one of the three ways; a category that is not known has the model's mean."""
        if way == FORM:
            features = (questions.form - self.centre) / self.scale
            relative = np.expm1(np.clip(features @ self.weights[:-1] + self.weights[-1], 0, 50))
            return np.clip(relative * self.means * self.correction, self.lowest, self.highest)
        if way == MEAN or questions.benchmarks is None:
            return np.repeat(self.means[None], len(questions), axis=0)
        row = {name: at for at, name in enumerate(self.categories)}
        return np.vstack([self.by_category, self.means])[[row.get(name, len(row)) for name in questions.benchmarks]]

    def _choose_ways(self, amounts: np.ndarray, questions: Questions) -> Self:
        """Choose, for questions whose benchmark is known and for others, the way of the least squared error on val
        questions, each model's as a share of the error of its mean: what is spent adds up, so the mean must be right.
        The model's mean is chosen where no way is better."""
        errors = {way: np.nansum((self.predict_by(way, questions) - amounts) ** 2, 0) for way in (MEAN, CATEGORY, FORM)}
        differs = errors[MEAN] > 0
        if not differs.any():
            return self
        share = {way: float((error[differs] / errors[MEAN][differs]).mean()) for way, error in errors.items()}
        share[MEAN] -= _GAIN
        told, untold = (min(ways, key=share.__getitem__) for ways in ((MEAN, CATEGORY, FORM), (MEAN, FORM)))
        return replace(self, told=told, untold=untold)


def _category_means(
    seen: np.ndarray, means: np.ndarray, questions: Questions, categories: tuple[str, ...]
) -> np.ndarray:
    """(C, M) means of `seen` (n, M) by category, drawn towards the models' means (M,).

    The variances within and between a model's categories are estimated by their moments, as in an analysis of variance;
    a category of n questions counts n * between / (n * between + within).
    """
    if questions.benchmarks is None:
        return np.empty((0, len(means)))
    belongs = (questions.benchmarks[:, None] == np.array(categories, object)).astype(np.float64)  # (n, C)
    known = ~np.isnan(seen)
    count = belongs.T @ known  # (C, M)
    mean = np.where(count > 0, _ratio(belongs.T @ np.nan_to_num(seen), count, 0), means)
    total, groups = count.sum(0), (count > 0).sum(0)
    within = _ratio(np.nansum((seen - belongs @ np.nan_to_num(mean)) ** 2, 0), total - groups, 0)
    spread = np.nansum(count * (mean - means) ** 2, 0) - (groups - 1) * within
    between = np.maximum(_ratio(spread, total - _ratio((count**2).sum(0), total, 0), 0), 0)
    return means + _ratio(count * between, count * between + within, 0) * (mean - means)


def _regress(seen: np.ndarray, means: np.ndarray, features: np.ndarray) -> np.ndarray:
    """(L + 1, M) weights of log(1 + amount / mean); of a model with few amounts, or only zeros, the mean alone."""
    from sklearn.linear_model import RidgeCV

    weights = np.zeros((features.shape[1] + 1, len(means)))
    weights[-1] = np.log(2)  # amount = mean
    for model, mean in enumerate(means):
        known = ~np.isnan(seen[:, model])
        if known.sum() >= _ENOUGH and mean > 0:
            ridge = RidgeCV(_PENALTIES).fit(features[known], np.log1p(seen[known, model] / mean))
            weights[:, model] = np.append(ridge.coef_, ridge.intercept_)  # pyright: ignore[reportArgumentType, reportCallIssue]
    return weights


def _ratio(above: np.ndarray, below: np.ndarray, otherwise: float) -> np.ndarray:
    result = np.full(np.broadcast(above, below).shape, otherwise, np.float64)
    return np.divide(above, below, out=result, where=below > 0)


def save_question_costs(folder: Path, predictors: Mapping[str, CostPredictor]) -> Path | None:
    """Write the predictors, by the name of the amount, into the folder of an embedder in place of what was there;
    without any, remove it. Return the file, if there is one."""
    if not predictors:
        (folder / FILE).unlink(missing_ok=True)
        return None
    arrays, words = {}, {}
    for amount, predictor in predictors.items():
        values = {field.name: getattr(predictor, field.name) for field in fields(predictor)}
        words[amount] = {name: value for name, value in values.items() if not isinstance(value, np.ndarray)}
        arrays |= {f"{amount}.{n}": np.ascontiguousarray(v) for n, v in values.items() if isinstance(v, np.ndarray)}
    described = {"predictors": words, "sha256": digest_arrays(arrays)}
    # Under one key: the order of several differs from write to write.
    write_file(folder / FILE, tensor_bytes(arrays, {"described": json.dumps(described)}))
    return folder / FILE


def load_question_costs(folder: Path) -> dict[str, CostPredictor]:
    """Return the predictors by the name of the amount; none where nothing was known when the embedder was made.

    Raises StoreError where the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        arrays, metadata = read_tensors(path)
        described = json.loads(metadata["described"])
        if digest_arrays(arrays) != described["sha256"]:
            raise ValueError("its SHA-256 is not the one in its metadata")
        found = {}
        for amount, words in described["predictors"].items():
            its = {name.removeprefix(f"{amount}."): a for name, a in arrays.items() if name.startswith(f"{amount}.")}
            names = {name: tuple(words[name]) for name in ("models", "categories")}
            found[amount] = CostPredictor(**{**words, **names, **its})
        return found
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path}: damaged ({error}); delete it, and `embedllm run` makes it again") from error
