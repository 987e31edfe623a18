from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.baselines.rates import ModelMean
from embedder.matrix import CorrectnessMatrix
from embedder.questions import Questions
from embedder.router import Router
from embedder.spectral.fold_in import FoldedModel, ModelPool
from embedder.spectral.onboarded import Onboarded, extend, load_extended, save_onboarded
from embedder.spectral.spectral import SpectralEmbedder
from embedder.store import StoreError


class Case:
    """A pool of 12 models, of which one has no answers, and 3 models that are not in it, of 40 answers each."""

    def __init__(self, matrix: CorrectnessMatrix, questions: Questions) -> None:
        labels = matrix.labels.copy()
        labels[:, 5] = np.nan
        self.questions = questions
        self.new = labels[:, 12:]
        self.matrix = replace(matrix, labels=labels[:, :12], models=matrix.models[:12])
        self.embedder = SpectralEmbedder(landmarks=100, rank=6).fit(self.matrix, questions)
        self.pool = ModelPool.of(self.embedder, self.matrix, questions)
        self.folded = {f"new{i}": self.fold_in(i, 40) for i in range(3)}
        self.onboarded = Onboarded.of(self.folded, questions)

    def fold_in(self, model: int, count: int) -> FoldedModel:
        answers = np.full(len(self.new), np.nan)
        rows = np.flatnonzero(self.matrix.splits == "train")[:count]
        answers[rows] = self.new[rows, model]
        return self.pool.fold_in(answers)


@pytest.fixture(scope="module")
def case(make_world) -> Case:
    world = make_world(n=600, models=15)
    return Case(world.matrix, world.questions)


def test_the_pools_own_models_do_not_move(case):
    grown = extend(case.embedder, case.onboarded)
    assert grown.models == (*case.embedder.models, "new0", "new1", "new2")
    assert grown.model_embeddings[:12].tobytes() == case.embedder.model_embeddings.tobytes()
    before, after = case.embedder.forecast(case.questions), grown.forecast(case.questions)
    np.testing.assert_allclose(after.probabilities[:, :12], before.probabilities, atol=1e-6)
    np.testing.assert_allclose(after.deviations[:, :12], before.deviations, atol=1e-5)
    np.testing.assert_allclose(after.routing_scores[:, :12], before.routing_scores, atol=1e-6)


def test_extending_changes_neither_the_embedder_nor_its_file(case):
    before = {name: array.tobytes() for name, array in case.embedder.state()[0].items()}
    extend(case.embedder, case.onboarded)
    assert {name: array.tobytes() for name, array in case.embedder.state()[0].items()} == before
    assert len(case.embedder.models) == 12


def test_a_new_column_forecasts_as_the_folded_model_does(case):
    forecast = extend(case.embedder, case.onboarded).forecast(case.questions)
    for column, folded in enumerate(case.folded.values(), start=12):
        alone = folded.forecast(case.questions)
        np.testing.assert_allclose(forecast.probabilities[:, column], alone.probabilities[:, 0], atol=1e-5)
        np.testing.assert_allclose(forecast.deviations[:, column], alone.deviations[:, 0], rtol=1e-4)


@settings(max_examples=10, deadline=None)
@given(chosen=st.lists(st.sampled_from(["new0", "new1", "new2"]), min_size=1, max_size=3, unique=True))
def test_who_else_is_onboarded_changes_no_model(case, chosen):
    few = Onboarded.of({name: case.folded[name] for name in chosen}, case.questions)
    everyone, some = (extend(case.embedder, o) for o in (case.onboarded, few))
    columns = [everyone.models.index(name) for name in some.models]
    whole, part = everyone.forecast(case.questions), some.forecast(case.questions)
    for values in ("probabilities", "deviations", "routing_scores"):
        np.testing.assert_allclose(getattr(part, values), getattr(whole, values)[:, columns], atol=1e-5)


def test_a_model_asked_everything_is_routed_by_the_same_rates_as_if_it_had_been_fitted(case):
    """Its rates on the categories come from its answers then, not from what is expected of it."""
    train = case.matrix.splits == "train"
    answers = np.where(train, case.new[:, 0], np.nan)
    rates = Onboarded.of({"m": case.pool.fold_in(answers)}, case.questions).category_rates[:, 0]
    names, category = np.unique(case.matrix.categories[train], return_inverse=True)
    own = np.array([case.new[train, 0][category == number].mean() for number in range(len(names))])
    assert np.abs(rates - own).max() < 0.1
    assert np.corrcoef(rates, own)[0, 1] > 0.9


def test_the_router_ranks_new_models_among_the_others(case):
    class Encoder:
        def encode(self, texts, *, progress=True):
            return case.questions.vectors[: len(texts)]

    router = Router(extend(case.embedder, case.onboarded), Encoder())
    (ranked,) = router.rank([case.questions.texts[0]], top=20)
    assert {choice.model for choice in ranked} == {*case.embedder.models, "new0", "new1", "new2"}
    (only,) = router.rank([case.questions.texts[0]], models=["new1"])
    assert 0 < only[0].low < only[0].probability < only[0].high < 1


def test_what_is_kept_is_what_is_loaded(case, tmp_path):
    save_onboarded(tmp_path, case.onboarded)
    loaded, made = load_extended(tmp_path, case.embedder), extend(case.embedder, case.onboarded)
    assert loaded.models == made.models
    for name, array in made.state()[0].items():
        np.testing.assert_array_equal(loaded.state()[0][name], array)
    assert (tmp_path / "onboarded.safetensors").stat().st_size < 4000
    assert [file.name for file in tmp_path.iterdir()] == ["onboarded.safetensors"]


def test_without_onboarded_models_the_embedder_is_itself(case, tmp_path):
    assert load_extended(tmp_path, case.embedder) is case.embedder
    save_onboarded(tmp_path, case.onboarded)
    save_onboarded(tmp_path, None)
    assert load_extended(tmp_path, case.embedder) is case.embedder
    assert list(tmp_path.iterdir()) == []


def test_methods_without_question_coordinates_are_left_as_they_are(case, tmp_path):
    save_onboarded(tmp_path, case.onboarded)
    mean = ModelMean().fit(case.matrix, case.questions)
    assert load_extended(tmp_path, mean) is mean


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda content: content[:100], "does not fit the embedder"),
        (lambda content: content[:-3] + b"\x01\x02\x03", "its SHA-256 is not the one in its metadata"),
        (lambda content: b"", "does not fit the embedder"),
    ],
)
def test_a_damaged_file_is_named(case, tmp_path, spoil, said):
    save_onboarded(tmp_path, case.onboarded)
    path = tmp_path / "onboarded.safetensors"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(StoreError, match=said) as raised:
        load_extended(tmp_path, case.embedder)
    assert str(path) in str(raised.value)
    assert "delete it" in str(raised.value)


def test_models_of_another_embedder_are_refused(case, tmp_path):
    save_onboarded(tmp_path, case.onboarded)
    other = SpectralEmbedder(landmarks=50, rank=1).fit(case.matrix, case.questions)
    with pytest.raises(StoreError, match=r"embeddings should be \(3, 2\), found \(3, \d\)"):
        load_extended(tmp_path, other)


def test_a_model_the_embedder_was_fitted_on_is_refused(case):
    twice = replace(case.onboarded, models=("new0", "m03", "new2"))
    with pytest.raises(ValueError, match="the embedder was fitted on m03 already"):
        extend(case.embedder, twice)
