import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from embedder.spectral.moderation import moderate, recentre_bias, scale_unknown


@given(mean=st.floats(-4, 4), deviation=st.floats(0.1, 3))
def test_it_is_the_probability_expected_of_uncertain_log_odds(mean, deviation):
    expected = quad(lambda z: expit(z) * norm.pdf(z, mean, deviation), mean - 10 * deviation, mean + 10 * deviation)[0]
    found = moderate(torch.tensor(mean), torch.tensor(deviation**2)).sigmoid().item()
    assert found == pytest.approx(expected, abs=0.02)


def test_what_is_certain_stays_and_what_is_unknown_is_even():
    logits = torch.tensor([2.0, -1.0])
    torch.testing.assert_close(moderate(logits, torch.zeros(2)), logits)
    assert moderate(logits, torch.full((2,), 1e9)).sigmoid() == pytest.approx([0.5, 0.5], abs=1e-3)


def test_the_biases_keep_every_models_mean():
    rng = np.random.default_rng(0)
    signal = torch.from_numpy(rng.normal(0, 1.5, (400, 3)).astype(np.float32))
    variances = torch.from_numpy(rng.gamma(2, 1, (400, 3)).astype(np.float32))
    bias = torch.tensor([-3.0, 0.2, 2.5])
    centred = recentre_bias(signal, bias, variances)
    before = (signal + bias).sigmoid().mean(0)
    after = moderate(signal + centred, variances).sigmoid().mean(0)
    torch.testing.assert_close(after, before, atol=1e-4, rtol=0)
    assert (centred.abs() > bias.abs()).all()


def test_where_nothing_is_known_the_models_means_hold():
    rng = np.random.default_rng(1)
    signal = torch.from_numpy(rng.normal(0, 2, (1000, 2)).astype(np.float32))
    bias = torch.tensor([-1.5, 1.0])
    nothing = torch.zeros(1000, 2)
    scale, centre = scale_unknown(signal, bias, nothing, nothing, torch.tensor([8.0, 8.0]))
    assert scale == 0.5  # the signal's own variance, 4
    far = moderate(centre, scale * torch.tensor([8.0, 8.0])).sigmoid()
    torch.testing.assert_close(far, (signal + bias).sigmoid().mean(0), atol=0.02, rtol=0)
