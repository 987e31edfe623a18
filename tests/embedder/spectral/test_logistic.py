from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from embedder.spectral.logistic import LogisticProblem

N, FEATURES, DIRECTIONS, MODELS = 60, 4, 2, 3


def problem(*, seed: int = 0, missing: float = 0.2, dtype: torch.dtype = torch.float32) -> LogisticProblem:
    """60 questions of 4 features by 3 models that differ in 2 directions; answers follow a random such model."""
    rng = np.random.default_rng(seed)
    left, singular, _ = np.linalg.svd(rng.standard_normal((N, FEATURES)), full_matrices=False)
    features = left * singular
    directions = np.linalg.qr(rng.standard_normal((MODELS, DIRECTIONS)))[0]
    logits = features @ rng.standard_normal((FEATURES, DIRECTIONS)) @ directions.T + rng.standard_normal(MODELS)
    labels = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(float)
    labels[rng.random(labels.shape) < missing] = np.nan

    def tensor(x):
        return torch.tensor(x, dtype=dtype)

    return LogisticProblem(
        features=tensor(features),
        variances=tensor(singular**2),
        directions=tensor(directions),
        labels=tensor(labels),
        strengths=tensor([0.5, 2.0]),
        overall_rate=0.4,
        prior_answers=5.0,
    )


def a_point(seed: int, *, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    coefficients = torch.randn(FEATURES, DIRECTIONS, generator=generator) * scale
    return coefficients.to(dtype), (torch.randn(MODELS, generator=generator) * scale).to(dtype)


def solved(given: LogisticProblem, start: tuple[torch.Tensor, torch.Tensor] | None = None) -> np.ndarray:
    """All parameters at the optimum, closely."""
    zeros = torch.zeros(FEATURES, given.directions.shape[1]), torch.zeros(given.labels.shape[1])
    found = given.solve(*(start or zeros), max_steps=500, tolerance=1e-12)
    return torch.cat([part.flatten() for part in found]).numpy()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_gradient_agrees_with_finite_differences(seed):
    given_, (coefficients, bias) = problem(seed=seed, dtype=torch.float64), a_point(seed, dtype=torch.float64)
    _, *gradients = given_.objective(coefficients, bias)
    for part, gradient in zip((coefficients, bias), gradients, strict=True):
        for i in range(part.numel()):
            values = []
            for step in (1e-5, -1e-5):
                part.view(-1)[i] += step
                values.append(given_.objective(coefficients, bias)[0])
                part.view(-1)[i] -= step
            assert gradient.flatten()[i].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-6, abs=1e-6)


def test_objective_by_hand():
    """One question, x = 2, one model, right: B = 1, b = 0.5, log-odds 2.5; prior strength 3, ten answers half right."""
    one = LogisticProblem(
        features=torch.tensor([[2.0]]),
        variances=torch.tensor([4.0]),
        directions=torch.tensor([[1.0]]),
        labels=torch.tensor([[1.0]]),
        strengths=torch.tensor([3.0]),
        overall_rate=0.5,
        prior_answers=10.0,
    )
    value, by_coefficients, by_bias = one.objective(torch.tensor([[1.0]]), torch.tensor([0.5]))
    right = 1 / (1 + np.exp(-2.5))
    sure = 1 / (1 + np.exp(-0.5))
    assert value == pytest.approx(-np.log(right) + 3 / 2 - 5 * np.log(sure) - 5 * np.log(1 - sure))
    assert by_coefficients.item() == pytest.approx(2 * (right - 1) + 3)
    assert by_bias.item() == pytest.approx(right - 1 + 10 * (sure - 0.5))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(0, 5))
def test_the_optimum_does_not_depend_on_the_start(seed, scale):
    given_ = problem()
    np.testing.assert_allclose(solved(given_, a_point(seed, scale=scale)), solved(given_), atol=3e-3)


def test_the_gradient_vanishes_at_the_optimum():
    given_ = problem()
    _, *gradients = given_.objective(*given_.solve(*a_point(0), max_steps=500, tolerance=1e-12))
    assert max(gradient.abs().max().item() for gradient in gradients) < 0.01


def test_the_optimum_lies_where_no_step_gains():
    given_ = problem(dtype=torch.float64)
    coefficients, bias = (part.double() for part in given_.solve(*a_point(0), max_steps=500, tolerance=1e-12))
    least = given_.objective(coefficients, bias)[0]
    for seed in range(20):
        step = a_point(seed, scale=0.1, dtype=torch.float64)
        assert given_.objective(coefficients + step[0], bias + step[1])[0] > least


@pytest.mark.parametrize("prior_answers", [0.0, 8.0])
def test_one_model_is_ordinary_logistic_regression(prior_answers):
    """The bias prior is as many more answers to a question without features, a share of them right."""
    one = replace(
        problem(missing=0),
        directions=torch.tensor([[1.0]]),
        labels=problem(missing=0).labels[:, :1],
        strengths=torch.tensor([0.7]),
        prior_answers=prior_answers,
    )
    x = np.vstack([one.features, np.zeros((2, FEATURES))])
    y = np.append(one.labels[:, 0], [1, 0])
    weights = np.append(np.ones(N), [prior_answers * one.overall_rate, prior_answers * (1 - one.overall_rate)])
    expected = LogisticRegression(C=1 / 0.7, tol=1e-8, max_iter=1000).fit(x, y, sample_weight=weights)
    np.testing.assert_allclose(solved(one), [*expected.coef_[0], *expected.intercept_], atol=2e-3)


def test_questions_nobody_answered_have_no_influence():
    """Whatever their features; and no answer is not a wrong one."""
    few = problem()
    unanswered = torch.full((20, MODELS), torch.nan)
    more = replace(
        few,
        features=torch.cat([few.features, 9 * torch.ones(20, FEATURES)]),
        labels=torch.cat([few.labels, unanswered]),
    )
    np.testing.assert_allclose(solved(more), solved(few), atol=3e-3)
    right = torch.where(few.labels.isnan(), torch.nan, torch.ones(()))
    _, bias = replace(few, labels=right, overall_rate=0.99).solve(*a_point(0))
    assert (bias > 2).all()


def test_a_model_without_answers_keeps_the_overall_rate():
    silent = problem()
    silent.labels[:, 1] = torch.nan
    _, bias = silent.solve(*a_point(3), max_steps=500, tolerance=1e-12)
    assert torch.sigmoid(bias[1]).item() == pytest.approx(0.4, abs=1e-3)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_constant_answers_leave_all_finite(label):
    constant = problem(missing=0)
    found = solved(replace(constant, labels=torch.full_like(constant.labels, label)))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("cells", [1, 50, 10_000])
def test_blocks_give_the_same_as_one_block(monkeypatch, cells):
    given_, point = problem(dtype=torch.float64), a_point(4, dtype=torch.float64)
    whole = given_.objective(*point)
    monkeypatch.setattr("embedder.spectral.logistic._BLOCK_CELLS", cells)
    for part, expected in zip(given_.objective(*point), whole, strict=True):
        torch.testing.assert_close(part, expected)


def test_a_strong_prior_leaves_only_the_models_rates():
    """Coefficients vanish; each bias is the log-odds of the model's share of right answers, prior answers included."""
    given_ = replace(problem(), strengths=torch.tensor([1e6, 1e6]))
    coefficients, bias = given_.solve(*a_point(5), max_steps=500, tolerance=1e-12)
    right, asked = given_.labels.nansum(0), (~given_.labels.isnan()).sum(0)
    assert coefficients.abs().max() < 1e-3
    torch.testing.assert_close(torch.sigmoid(bias), (right + 5 * 0.4) / (asked + 5), atol=1e-3, rtol=0)


def test_few_steps_reach_the_optimum_from_near_it():
    """What a warm start is for: as good, within the tolerance, after five steps as after hundreds."""
    given_ = problem()
    coefficients, bias = given_.solve(*a_point(0), max_steps=500, tolerance=1e-12)
    least = given_.objective(coefficients, bias)[0]
    near = given_.solve(coefficients + 0.1, bias + 0.1, max_steps=5)
    assert given_.objective(*near)[0] == pytest.approx(least, rel=1e-3)


def test_information_is_the_number_of_answers_times_their_variance():
    given_ = replace(problem(), labels=torch.tensor([[1.0, torch.nan], [0.0, torch.nan], [1.0, 0.0]]))
    torch.testing.assert_close(given_.information(torch.zeros(2)), torch.tensor([0.75, 0.25]))
