from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.downstream.communities import COMMUNITIES, compare_communities


class Labels(NamedTuple):
    model: str
    family: str | None = None
    size_b: float | None = None
    communities: tuple[str, ...] = ()


def compared(points: Iterable[float] | np.ndarray, labels: list[Labels], seed: int = 0):
    """Rows by kind and label, of models at `points`, on a line or in space."""
    at = np.asarray(points, np.float32)
    embeddings = at[:, None] if at.ndim == 1 else at
    table = compare_communities(embeddings, [label.model for label in labels], labels, "v1", seed=seed)
    assert table.schema == COMMUNITIES
    return {(row["kind"], row["label"]): row for row in table.to_pylist()}


def tagged(*tags: str) -> list[Labels]:
    """Models m00, m01, …, each of one community or, by the empty string, of none."""
    return [Labels(f"m{at:02d}", communities=(tag,) if tag else ()) for at, tag in enumerate(tags)]


def test_distances_by_hand():
    """At 0, 1, 3 and 10: inside {0, 1, 3} the distances are 1, 2, 3; to 10 they are 10, 9, 7."""
    found = compared([0, 1, 3, 10], tagged("near", "near", "near", ""))
    row = found["community", "near"]
    assert (row["models"], row["inside"], row["outside"]) == (3, pytest.approx(2), pytest.approx(26 / 3))
    assert row["ratio"] == pytest.approx(2 / (26 / 3))
    # The four groups of three have inside 2, 20/3, 6, 6 and outside 26/3, 4, 14/3, 14/3: none of the others is as low,
    # so that one in four random groups is, give or take three standard deviations.
    assert row["p_value"] == pytest.approx(1 / 4, abs=0.013)
    assert row["chance_low"] == pytest.approx(2 / (26 / 3))
    assert row["chance_high"] == pytest.approx((20 / 3) / 4)
    assert row["reason"] is None


def test_a_planted_community_is_found_and_a_random_one_is_not():
    rng = np.random.default_rng(3)
    points = rng.standard_normal((60, 8))
    points[:10, 0] += 4
    labels = [Labels(f"m{at:02d}", communities=("planted",) * (at < 10) + ("odd",) * (at % 2)) for at in range(60)]
    found = compared(points, labels)
    assert found["community", "planted"]["p_value"] < 0.01
    assert found["community", "planted"]["ratio"] < found["community", "planted"]["chance_low"]
    odd = found["community", "odd"]
    assert odd["p_value"] > 0.05
    assert odd["chance_low"] < odd["ratio"] < odd["chance_high"]


def test_random_labels_have_p_values_all_over():
    """40 random communities of 12 models: p is uniform, so that 10 lie in each quarter (8 of 10,000 draws have < 2)."""
    rng = np.random.default_rng(1)
    chosen = [set(rng.choice(48, 12, replace=False).tolist()) for _ in range(40)]
    labels = [
        Labels(f"m{at:02d}", communities=tuple(f"c{n}" for n, inside in enumerate(chosen) if at in inside))
        for at in range(48)
    ]
    p_values = [row["p_value"] for row in compared(rng.standard_normal((48, 5)), labels).values()]
    assert len(p_values) == 40
    quarters = np.histogram(p_values, bins=4, range=(0, 1))[0]
    assert quarters.min() >= 3
    assert sum(p_value < 0.05 for p_value in p_values) <= 6


def test_families_and_sizes_are_held_against_models_whose_family_or_size_is_known():
    """m3, of unknown family and size, is far away, and counts for communities only."""
    labels = [
        Labels("m0", "yi", 6.7, ("chat",)),
        Labels("m1", "yi", 9.0, ("chat",)),
        Labels("m2", "qwen", 72.0),
        Labels("m3"),
    ]
    found = compared([0, 1, 3, 1000], labels)
    assert list(found) == [
        ("community", "chat"),
        ("size", "7B"),
        ("size", "70B"),
        ("family", "qwen"),
        ("family", "yi"),
    ]
    assert found["community", "chat"]["outside"] == pytest.approx((3 + 2 + 1000 + 999) / 4)
    for key in (("size", "7B"), ("family", "yi")):
        assert (found[key]["inside"], found[key]["outside"]) == (pytest.approx(1), pytest.approx(2.5))


@pytest.mark.parametrize(
    ("size", "name"),
    [
        (1.1, "1B"),
        (2.0, "3B"),
        (6.0, "7B"),
        (9.24, "7B"),
        (10.7, None),
        (13.0, "13B"),
        (34.4, "34B"),
        (46.7, None),
        (65.2, "70B"),
        (72.3, "70B"),
        (405.0, "100B+"),
    ],
)
def test_size_classes(size: float, name: str | None):
    found = compared([0, 1], [Labels("a", size_b=size), Labels("b", communities=("x",))])
    assert [label for kind, label in found if kind == "size"] == ([name] if name else [])


def test_no_size_class_where_a_community_is_called_so():
    labels = [Labels("a", size_b=7.0, communities=("7b",)), Labels("b", size_b=13.0)]
    assert [*compared([0, 1], labels)] == [("community", "7b"), ("size", "13B")]


def test_too_few_models_have_a_reason_and_no_figures():
    found = compared([0, 1, 2], tagged("one", "two", "two"))
    row = found["community", "one"]
    assert row["reason"] == "needs at least 2 models inside and 1 outside, found 1 and 2"
    assert {row[name] for name in ("inside", "outside", "ratio", "chance_low", "chance_high", "p_value")} == {None}
    assert found["community", "two"]["reason"] is None


def test_what_all_models_are():
    row = compared([0, 1], tagged("all", "all"))["community", "all"]
    assert row["reason"] == "needs at least 2 models inside and 1 outside, found 2 and 0"


def test_one_model_and_none():
    assert compared([1], tagged("x"))["community", "x"]["reason"].endswith("found 1 and 0")
    assert compared(np.empty((0, 3)), [])["all", "all"]["reason"]


def test_no_labels():
    found = compared([0, 1, 2], tagged("", "", ""))
    assert list(found) == [("all", "all")]
    assert found["all", "all"]["reason"] == "no model has a community, a size or a family"


def test_models_that_do_not_differ():
    row = compared([2, 2, 2], tagged("x", "x", ""))["community", "x"]
    assert (row["inside"], row["outside"], row["ratio"], row["p_value"]) == (0, 0, None, None)
    assert row["reason"] == "the embeddings of all models are the same"


def test_models_without_an_embedding_or_a_label_do_not_count():
    labels = tagged("x", "x", "x", "")
    embeddings = np.array([[0.0], [1], [np.nan], [5]], np.float32)
    models = [*(label.model for label in labels), "new"]
    table = compare_communities(np.vstack([embeddings, [[6]]]), models, labels, "v").to_pylist()
    assert [(row["label"], row["models"], row["inside"], row["outside"]) for row in table] == [
        ("x", 2, pytest.approx(1), pytest.approx((5 + 4 + 6 + 5) / 4))
    ]


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(9)), st.integers(0, 5))
def test_neither_the_order_of_models_nor_a_move_of_all_matters(order: list[int], seed: int):
    points = np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32)
    labels = tagged("a", "a", "a", "b", "b", "b", "b", "", "")
    shuffled = compare_communities(
        points[order], [labels[at].model for at in order], [labels[at] for at in order], "v1"
    )
    assert shuffled == compare_communities(points, [label.model for label in labels], labels, "v1")
    moved = compared(points + np.float32(seed), labels)
    for key, row in compared(points, labels).items():
        assert moved[key]["ratio"] == pytest.approx(row["ratio"], rel=1e-4)


def test_many_models_go_block_by_block():
    """300 models: 9,999 random groups do not fit in one block."""
    points = np.random.default_rng(0).standard_normal((300, 4))
    points[:30] *= 0.2
    labels = tagged(*["core"] * 30, *[""] * 270)
    row = compared(points, labels)["community", "core"]
    assert row["p_value"] == pytest.approx(1e-4)
    assert row["chance_low"] < 1 < row["chance_high"]
