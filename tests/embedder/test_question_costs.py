"""What a question will cost, learnt from what others took, with planted causes."""

import numpy as np
import pytest

from embedder.question_costs import CATEGORY, FORM, MEAN, CostPredictor, load_question_costs, save_question_costs
from embedder.questions import Questions
from embedder.store import StoreError

MODELS = ("even", "odd")
SPLITS = np.array((["train"] * 8 + ["val", "test"]) * 60, object)


@pytest.fixture
def questions():
    """600 in categories a, b, c; of one word up to thirty, whichever the category."""
    rng = np.random.default_rng(0)
    texts = np.array([" ".join(["word"] * n) for n in rng.integers(1, 31, 600)], object)
    return Questions(texts, np.zeros((600, 1), np.float32), np.array(["a", "b", "c"] * 200, object))


def words(questions):
    return np.array([len(text.split()) for text in questions.texts])


def fit(costs, questions):
    """Even's cost is 1 for all; odd's are `costs`. Each give or take a tenth."""
    noise = np.random.default_rng(1).normal(1, 0.1, (600, 2))
    return CostPredictor.fit(np.column_stack([np.ones(600), costs]) * noise, questions, SPLITS, MODELS)


def test_a_model_that_is_expensive_in_one_category_only(questions):
    fitted = fit(np.where(questions.benchmarks == "c", 30, 1), questions)
    assert (fitted.told, fitted.untold) == (CATEGORY, MEAN)
    asked = Questions(np.array(["word"] * 3, object), np.zeros((3, 1), np.float32), np.array(["a", "c", "new"], object))
    assert fitted.predict(asked) == pytest.approx(np.array([[1, 1], [1, 30], [1, 32 / 3]]), rel=0.05)
    untold = Questions(asked.texts, asked.vectors)
    assert fitted.predict(untold) == pytest.approx(np.array([[1, 32 / 3]] * 3), rel=0.05)


def test_costs_that_grow_with_the_text_told_a_category_or_not(questions):
    fitted = fit(words(questions), questions)
    assert (fitted.told, fitted.untold) == (FORM, FORM)
    test = questions.rows(SPLITS == "test")
    for asked in (test, Questions(test.texts, test.vectors)):
        predicted = fitted.predict(asked)
        assert np.abs(predicted[:, 1] - words(test)).mean() < 1.5
        assert predicted.sum(0) == pytest.approx([60, words(test).sum()], rel=0.05)  # what is spent adds up
    long = Questions(np.array(["word " * 10_000], object), np.zeros((1, 1), np.float32))
    assert fitted.predict(long)[0, 1] < 45  # nothing that long was ever seen


def test_where_nothing_shows_that_questions_differ_the_mean_holds(questions):
    fitted = fit(np.full(600, 5), questions)
    assert (fitted.told, fitted.untold) == (MEAN, MEAN)
    assert fitted.predict(questions)[:3] == pytest.approx(np.array([[1, 5]] * 3), rel=0.02)


def test_a_category_of_few_questions_is_drawn_towards_the_mean(questions):
    """Costs are noisy: of a category with one question, which was dear, little is known."""
    rng = np.random.default_rng(2)
    names = questions.benchmarks.copy()
    names[0] = "rare"
    costs = rng.exponential(1, (600, 1)) * np.where(names == "b", 2, 1)[:, None]
    costs[0] = 20
    fitted = CostPredictor.fit(costs, Questions(questions.texts, questions.vectors, names), SPLITS, ("m",))
    at = {name: row for row, name in enumerate(fitted.categories)}
    assert fitted.by_category[at["b"]] == pytest.approx(np.nanmean(costs[names == "b"]), rel=0.15)
    assert fitted.means < fitted.by_category[at["rare"]] < 12  # it was 20


def test_what_was_not_measured_is_not_free(questions):
    costs = np.where(questions.benchmarks == "c", 30.0, 1.0)
    costs[np.random.default_rng(3).random(600) < 0.5] = np.nan
    fitted = fit(costs, questions)
    asked = questions.rows(np.array([0, 2]))
    assert fitted.predict(asked)[:, 1] == pytest.approx([1, 30], rel=0.05)


def test_a_model_whose_costs_nobody_measured_stays_unknown(questions):
    fitted = fit(np.full(600, np.nan), questions)
    predicted = fitted.predict(questions)
    assert np.isnan(predicted[:, 1]).all()
    assert predicted[:, 0] == pytest.approx(np.ones(600), rel=0.05)
    assert CostPredictor.fit(np.full((600, 2), np.nan), questions, SPLITS, MODELS) is None


def test_free_models_and_no_val_questions(questions):
    train = np.full(600, "train", object)
    free = CostPredictor.fit(np.zeros((600, 2)), questions, train, MODELS)
    assert free.predict(questions).max() == 0
    costs = np.column_stack([np.ones(600), words(questions)])
    assert CostPredictor.fit(costs, questions, train, MODELS).told == MEAN


def test_other_shapes_are_refused(questions):
    with pytest.raises(ValueError, match=r"the amounts are \(600, 1\), but there are 600 questions and 2 models"):
        CostPredictor.fit(np.ones((600, 1)), questions, SPLITS, MODELS)


def test_kept_with_an_embedder_bit_for_bit_and_damage_is_noticed(questions, tmp_path):
    fitted = {"cost": fit(words(questions), questions), "tokens_in": fit(np.full(600, 7), questions)}
    save_question_costs(tmp_path, fitted)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    loaded = load_question_costs(tmp_path)
    assert set(loaded) == {"cost", "tokens_in"}
    for name, predictor in loaded.items():
        assert (predictor.models, predictor.told) == (MODELS, fitted[name].told)
        assert (predictor.predict(questions) == fitted[name].predict(questions)).all()
    save_question_costs(tmp_path, loaded)
    assert file.read_bytes() == content
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(StoreError, match="its SHA-256 is not the one in its metadata"):
        load_question_costs(tmp_path)
    file.write_bytes(content[:50])
    with pytest.raises(StoreError, match="delete it, and `embedllm run` makes it again"):
        load_question_costs(tmp_path)
    save_question_costs(tmp_path, {})
    assert load_question_costs(tmp_path) == {}
