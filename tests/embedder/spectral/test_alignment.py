"""A version is turned onto the one before: what it says stays, and the models stay where they were."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.stats import ortho_group

from embedder.spectral.alignment import Drift, align, common_models, measure_drift, measure_moves
from embedder.spectral.spectral import SpectralEmbedder

LANDMARKS = 200
RANK = 3  # as many as the world has waves
QUESTIONS = 1600
ROUNDING = 2e-4  # of sums of hundreds of terms in single precision, most of which cancel


def fit(world, models, *, rank: int = RANK, labels=None) -> SpectralEmbedder:
    """On some of the world's models: their columns."""
    chosen = list(models)
    names = tuple(world.matrix.models[column] for column in chosen)
    labels = world.matrix.labels if labels is None else labels
    matrix = replace(world.matrix, labels=labels[:, chosen], models=names)
    return SpectralEmbedder(landmarks=LANDMARKS, rank=rank).fit(matrix, world.questions)


def turned(embedder: SpectralEmbedder, rotation: np.ndarray) -> SpectralEmbedder:
    """The same embedder on other axes."""
    arrays, rest = embedder.state()
    theta, bias = arrays["embeddings"][:, :-1], arrays["embeddings"][:, -1:]
    changed = {
        "coordinates": (arrays["coordinates"] @ rotation).astype(np.float32),
        "category_coordinates": (arrays["category_coordinates"] @ rotation).astype(np.float32),
        "embeddings": np.concatenate([theta @ rotation, bias], 1).astype(np.float32),
    }
    return SpectralEmbedder.restored(embedder.settings(), {**arrays, **changed}, rest)


@pytest.fixture(scope="module")
def world(make_world):
    return make_world(n=QUESTIONS, models=16, contrast=1.5)


@pytest.fixture(scope="module")
def old(world):
    return fit(world, range(15))


@pytest.fixture(scope="module")
def new(world):
    """With one model more."""
    return fit(world, range(16))


@pytest.fixture(scope="module")
def test(world):
    return world.questions.rows(world.matrix.splits == "test")


def rotations(dimensions: int) -> st.SearchStrategy:
    return st.integers(0, 2**32 - 1).map(lambda seed: ortho_group.rvs(dimensions, random_state=seed))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rotation=rotations(RANK))
def test_any_other_axes_are_turned_back(new, test, rotation):
    back = align(turned(new, rotation), new)
    np.testing.assert_allclose(back.model_embeddings, new.model_embeddings, atol=1e-5)
    np.testing.assert_allclose(back.coordinates(test), new.coordinates(test), atol=4 * ROUNDING)
    assert measure_drift(back, new, test).distance < 1e-5


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rotation=rotations(RANK))
def test_what_it_says_stays(new, old, test, rotation):
    """Whatever the axes it is turned onto."""
    aligned = align(new, turned(old, rotation))
    before, after = new.forecast(test), aligned.forecast(test)
    np.testing.assert_allclose(after.probabilities, before.probabilities, atol=ROUNDING)
    np.testing.assert_allclose(after.routing_scores, before.routing_scores, atol=ROUNDING)
    np.testing.assert_allclose(pdist(aligned.model_embeddings), pdist(new.model_embeddings), atol=1e-5)
    log_odds = aligned.coordinates(test) @ aligned.model_embeddings.T
    np.testing.assert_allclose(log_odds, new.coordinates(test) @ new.model_embeddings.T, atol=4 * ROUNDING)
    variance = [one.state()[0]["embedding_variance"].sum(1) for one in (new, aligned)]
    np.testing.assert_allclose(variance[1], variance[0], rtol=1e-5)
    # Of a single forecast, however wild the rotation, the deviation changes by a fraction.
    np.testing.assert_allclose(after.deviations, before.deviations, rtol=0.25)
    assert np.sqrt(np.square(after.deviations).mean()) == pytest.approx(
        np.sqrt(np.square(before.deviations).mean()), rel=0.01
    )


def test_one_model_more_hardly_moves_the_others(new, old, test):
    spread = pdist(old.model_embeddings).mean()
    unaligned, aligned = measure_drift(new, old, test), measure_drift(align(new, old), old, test)
    assert unaligned.distance > 0.3 * spread
    assert aligned.distance < 0.1 * spread
    assert aligned.predictions == pytest.approx(unaligned.predictions, abs=1e-3)


def test_of_a_chain_of_versions_the_last_is_still_near_the_first(world, test):
    first = last = fit(world, range(8))
    for count in range(9, 17):
        last = align(fit(world, range(count)), last)
    assert measure_drift(last, first, test).distance < 0.2 * pdist(first.model_embeddings).mean()


def test_axes_that_only_change_places_and_signs_take_what_is_uncertain_with_them(new, test):
    swapped = turned(new, np.array([[0, 0, 1], [-1, 0, 0], [0, 1, 0]]))
    aligned = align(new, swapped)
    np.testing.assert_allclose(aligned.model_embeddings, swapped.model_embeddings, atol=1e-5)
    np.testing.assert_allclose(aligned.forecast(test).deviations, new.forecast(test).deviations, rtol=1e-4)


def test_deviations_hardly_change(new, old, test):
    before, after = new.forecast(test).deviations, align(new, old).forecast(test).deviations
    np.testing.assert_allclose(after, before, rtol=0.05)


def test_neither_of_the_two_is_changed(new, old):
    states = [embedder.state()[0] for embedder in (new, old)]
    copies = [{name: array.copy() for name, array in arrays.items()} for arrays in states]
    align(new, old)
    for embedder, kept in zip((new, old), copies, strict=True):
        for name, array in embedder.state()[0].items():
            np.testing.assert_array_equal(array, kept[name])


def test_models_removed(world, old, test):
    """Two are gone, one is new: the others stay."""
    aligned = align(fit(world, range(2, 16)), old)
    assert common_models(aligned, old) == tuple(f"m{i:02d}" for i in range(2, 15))
    assert list(measure_moves(aligned, old)) == list(common_models(aligned, old))
    assert measure_drift(aligned, old, test).distance < 0.15 * pdist(old.model_embeddings).mean()


@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 2)])
def test_dimensions_more_or_fewer(world, test, before, after):
    """The directions that both have are matched; in the others, the one with fewer is at zero."""
    earlier, later = fit(world, range(15), rank=before), fit(world, range(16), rank=after)
    assert (earlier.model_embeddings.shape[1], later.model_embeddings.shape[1]) == (before + 1, after + 1)
    aligned = align(later, earlier)
    assert aligned.model_embeddings.shape == later.model_embeddings.shape
    np.testing.assert_allclose(aligned.predict_proba(test), later.predict_proba(test), atol=ROUNDING)
    assert measure_drift(aligned, earlier, test).distance < 0.5 * measure_drift(flipped(later), earlier, test).distance
    theta = aligned.model_embeddings[:15, : min(before, after)], earlier.model_embeddings[:, : min(before, after)]
    assert np.corrcoef(theta[0][:, 0], theta[1][:, 0])[0, 1] > 0.95


def flipped(embedder: SpectralEmbedder) -> SpectralEmbedder:
    return turned(embedder, -np.eye(embedder.model_embeddings.shape[1] - 1))


def test_what_a_single_common_model_leaves_open_stays_as_it_is(world, test):
    """Its own direction is brought to where it was; at right angles to both, nothing turns."""
    earlier, later = fit(world, [0, *range(9, 16)]), fit(world, range(9))
    assert common_models(later, earlier) == ("m00",)
    aligned = align(later, earlier)
    was, is_now, before = (e.model_embeddings[e.models.index("m00"), :-1] for e in (earlier, aligned, later))
    np.testing.assert_allclose(is_now / np.linalg.norm(is_now), was / np.linalg.norm(was), atol=1e-4)
    involved = np.linalg.svd(np.stack([before, was]).astype(np.float64))[2]
    untouched = involved[2:]  # (RANK - 2, RANK), at right angles to where it was and where it is
    np.testing.assert_allclose(
        aligned.model_embeddings[:, :-1] @ untouched.T, later.model_embeddings[:, :-1] @ untouched.T, atol=1e-4
    )
    np.testing.assert_allclose(aligned.predict_proba(test), later.predict_proba(test), atol=ROUNDING)


def test_without_common_models_nothing_is_turned(world, test):
    earlier, later = fit(world, range(8)), fit(world, range(8, 16))
    assert common_models(later, earlier) == ()
    aligned = align(later, earlier)
    np.testing.assert_allclose(aligned.model_embeddings, later.model_embeddings, atol=1e-6)
    assert measure_drift(aligned, earlier, test) == Drift(None, None)


def test_a_model_without_answers_counts_for_nothing(world, old, test):
    """It has no embedding in one of the two, so it cannot have moved."""
    labels = world.matrix.labels.copy()
    labels[:, 3] = np.nan
    unanswered = align(fit(world, range(16), labels=labels), old)
    assert "m03" not in common_models(unanswered, old)
    assert np.isnan(unanswered.model_embeddings[3]).all()
    assert 0 < measure_drift(unanswered, old, test).distance < 0.15 * pdist(old.model_embeddings).mean()


def test_drift_counts_forecasts_that_changed_sides(new, test):
    """All axes the same, one of 16 models turned into its opposite: all its forecasts change, and no others."""
    arrays, rest = new.state()
    embeddings = arrays["embeddings"].copy()
    embeddings[5] = -embeddings[5]
    opposite = SpectralEmbedder.restored(new.settings(), {**arrays, "embeddings": embeddings}, rest)
    found = measure_drift(opposite, new, test)
    assert found.predictions == pytest.approx(1 / 16)
    far = 2 * np.linalg.norm(new.model_embeddings[5])
    assert found.distance == pytest.approx(far / 16, rel=1e-5)
    assert measure_moves(opposite, new)["m05"] == pytest.approx(far, rel=1e-5)


def test_without_test_questions_only_the_distance_is_known(new, old, world):
    none = world.questions.rows(np.zeros(QUESTIONS, bool))
    found = measure_drift(align(new, old), old, none)
    assert found.predictions is None
    assert found.distance > 0


def test_a_version_without_any_dimension(new, old, test):
    """No question tells its models apart: embeddings are a bias alone."""
    arrays, rest = new.state()
    none = {name: arrays[name][:, :0] for name in ("coordinates", "category_coordinates")}
    none |= {name: arrays[name][:, -1:] for name in ("embeddings", "embedding_variance")}
    alike = SpectralEmbedder.restored(new.settings(), {**arrays, **none}, rest)
    np.testing.assert_array_equal(align(alike, old).predict_proba(test), alike.predict_proba(test))
    np.testing.assert_allclose(align(old, alike).model_embeddings, old.model_embeddings, atol=1e-6)
    assert measure_drift(align(old, alike), alike, test).distance > 0
