from dataclasses import dataclass

import numpy as np
import pytest
import torch

from embedder.spectral.tensors import flatten, rebuild


@dataclass(frozen=True)
class Inner:
    scale: torch.Tensor
    counts: torch.Tensor


@dataclass(frozen=True)
class Outer:
    weights: torch.Tensor
    inner: Inner


OUTER = Outer(torch.tensor([[1.0, 2.0]]), Inner(torch.tensor(0.5), torch.tensor([3, 4])))


def test_nested_ones_get_dotted_names():
    arrays = flatten(OUTER)
    assert {name: array.tolist() for name, array in arrays.items()} == {
        "weights": [[1.0, 2.0]],
        "inner.scale": 0.5,
        "inner.counts": [3, 4],
    }
    assert arrays["weights"].dtype == np.float32
    assert arrays["inner.counts"].dtype == np.int64


def test_rebuilt_is_what_was_flattened():
    again = rebuild(Outer, flatten(OUTER))
    assert isinstance(again.inner, Inner)
    torch.testing.assert_close(again.weights, OUTER.weights)
    torch.testing.assert_close(again.inner.scale, OUTER.inner.scale)
    torch.testing.assert_close(again.inner.counts, OUTER.inner.counts)


def test_empty_tensors_keep_their_shape():
    again = rebuild(Inner, flatten(Inner(torch.empty(3, 0), torch.empty(0))))
    assert again.scale.shape == (3, 0)


def test_other_arrays_do_not_matter():
    assert rebuild(Inner, flatten(OUTER.inner) | {"has_answers": np.ones(2, bool)}).scale == 0.5


@pytest.mark.parametrize("gone", ["weights", "inner.counts"])
def test_a_tensor_that_is_missing_is_named(gone):
    arrays = flatten(OUTER)
    del arrays[gone]
    with pytest.raises(KeyError, match=gone):
        rebuild(Outer, arrays)
