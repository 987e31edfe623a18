from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import logit

from embedder import metrics
from embedder.questions import Questions
from embedder.spectral.spectral import SpectralEmbedder
from embedder.store import EmbedderInfo, load_embedder, save_embedder

SMALL = {"landmarks": 300}


@pytest.fixture(scope="module")
def world(make_world):
    return make_world()


@pytest.fixture(scope="module")
def fitted(world):
    return SpectralEmbedder(**SMALL).fit(world.matrix, world.questions)


@pytest.fixture(scope="module")
def new(world):
    """The test questions."""
    return world.questions.rows(world.matrix.splits == "test")


def test_inner_products_of_coordinates_and_embeddings_are_the_log_odds(fitted, new):
    """The probabilities are a little nearer to one half: they allow for what is not known of the questions."""
    log_odds = fitted.coordinates(new) @ fitted.model_embeddings.T
    told = logit(fitted.predict_proba(new).astype(np.float64))
    assert (np.abs(told) <= np.abs(log_odds) + 1e-5).all()
    assert (told * log_odds >= 0).all()
    assert np.median(np.abs(told) / np.abs(log_odds)) > 0.9
    assert fitted.model_embeddings.shape == (40, fitted.coordinates(new).shape[1])


def test_squared_distance_of_two_models_is_their_mean_squared_difference_in_log_odds(world, fitted):
    """Over the train questions, which are mapped as if they were new: hence roughly."""
    train = world.questions.rows(world.matrix.splits == "train")
    log_odds = fitted.coordinates(train).astype(np.float64) @ fitted.model_embeddings.T
    one, other = np.triu_indices(40, 1)
    differences = np.square(log_odds[:, one] - log_odds[:, other]).mean(0)
    distances = np.square(fitted.model_embeddings[one] - fitted.model_embeddings[other]).sum(1)
    np.testing.assert_allclose(distances, differences, rtol=0.15)


def test_coordinates_are_standardised(world, fitted):
    """Over the train questions, which are mapped as if they were new: hence roughly."""
    coordinates = fitted.coordinates(world.questions.rows(world.matrix.splits == "train"))
    assert (coordinates[:, -1] == 1).all()
    np.testing.assert_allclose(coordinates[:, :-1].mean(0), 0, atol=0.2)
    np.testing.assert_allclose(np.cov(coordinates[:, :-1].T), np.eye(coordinates.shape[1] - 1), atol=0.3)


def test_the_seed_changes_nothing(world, new, fitted):
    other = SpectralEmbedder(**SMALL).fit(world.matrix, world.questions, seed=1)
    np.random.seed(3)
    third = SpectralEmbedder(**SMALL).fit(world.matrix, world.questions, seed=2)
    for again in (other, third):
        assert again.predict_proba(new).tobytes() == fitted.predict_proba(new).tobytes()
        assert again.model_embeddings.tobytes() == fitted.model_embeddings.tobytes()


def test_probabilities_are_near_the_true_ones(world, fitted, new):
    true = world.probabilities[world.matrix.splits == "test"]
    off = np.sqrt(np.square(fitted.predict_proba(new) - true).mean())
    assert off < 0.7 * true.std(0).mean()  # which is what is left when only the model is known


def coverage(world, fitted, new) -> float:
    """How often the 95% interval has the true probability."""
    true = world.probabilities[world.matrix.splits == "test"]
    low, high = fitted.forecast(new).interval()
    return float(((low <= true) & (true <= high)).mean())


def test_the_variance_of_a_question_is_the_part_of_the_deviations_that_all_models_share(world, fitted):
    """The rest is for want of a model's answers; far from the training questions it hardly counts."""
    train, test = (world.questions.rows(world.matrix.splits == split) for split in ("train", "test"))
    elsewhere = replace(test, vectors=test.vectors + 5)
    of_questions = [fitted.question_variance(q) for q in (train, test, elsewhere)]
    of_forecasts = [np.square(fitted.forecast(q).deviations).mean(1) for q in (train, test, elsewhere)]
    assert [part.shape for part in of_questions] == [(900,), (300,), (300,)]
    assert of_questions[0].mean() <= of_questions[1].mean() < 0.6 * of_questions[2].mean()
    for part, whole in zip(of_questions, of_forecasts, strict=True):
        assert (part > 0).all()
        assert (part < whole).all()


def test_the_variance_of_another_encoders_questions_is_refused(fitted, new):
    with pytest.raises(ValueError, match=r"vectors of length 6, but these are \(300, 5\)"):
        fitted.question_variance(replace(new, vectors=new.vectors[:, :5]))


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_intervals_have_the_true_probability_about_as_often_as_they_say(make_world, seed):
    """95%, were the world drawn from the prior and Laplace's approximation exact; neither is: so within 85 to 99%."""
    world = make_world(seed=seed, contrast=0.3)
    fitted = SpectralEmbedder().fit(world.matrix, world.questions)
    assert 0.85 <= coverage(world, fitted, world.questions.rows(world.matrix.splits == "test")) <= 0.99


def test_they_do_where_text_explains_much(make_world):
    world = make_world(contrast=1.0)
    fitted = SpectralEmbedder().fit(world.matrix, world.questions)
    assert coverage(world, fitted, world.questions.rows(world.matrix.splits == "test")) >= 0.85


def test_less_is_known_of_questions_unlike_all_others(world, fitted):
    """The nearest are train questions themselves, then test questions, then vectors from elsewhere altogether."""
    train, test = (world.questions.rows(world.matrix.splits == split) for split in ("train", "test"))
    elsewhere = replace(test, vectors=test.vectors + 5)
    deviations = [np.sqrt(np.square(fitted.forecast(q).deviations).mean()) for q in (train, test, elsewhere)]
    assert deviations[0] <= deviations[1] < 0.8 * deviations[2]


def few_answers_of_eight_models(world, count: int):
    """The matrix with only `count` train answers of each of the first eight models."""
    labels = world.matrix.labels.copy()
    train, rng = np.flatnonzero(world.matrix.splits == "train"), np.random.default_rng(0)
    for model in range(8):
        labels[rng.permutation(train)[count:], model] = np.nan
    return replace(world.matrix, labels=labels)


def test_less_is_known_of_a_model_with_hardly_any_answers(world, fitted, new):
    few = SpectralEmbedder(**SMALL).fit(few_answers_of_eight_models(world, 10), world.questions)
    before, after = fitted.forecast(new).deviations, few.forecast(new).deviations
    assert after[:, :8].mean() > before[:, :8].mean()


@pytest.mark.xfail(
    strict=True,
    reason="their embeddings are a third as long as they should be: forecasts off by more than their deviations say",
)
def test_intervals_of_models_with_a_fifth_of_the_answers(make_world):
    """180 each: theirs are as honest as those of the other models."""
    shares = []
    for seed in range(3):
        world = make_world(seed=seed, contrast=0.3)
        fitted = SpectralEmbedder().fit(few_answers_of_eight_models(world, 180), world.questions)
        test = world.matrix.splits == "test"
        low, high = fitted.forecast(world.questions.rows(test)).interval()
        true = world.probabilities[test]
        shares.append(((low <= true) & (true <= high))[:, :8].mean())
    assert np.mean(shares) >= 0.85


def test_less_is_known_from_fewer_questions(world, fitted, new):
    some = np.flatnonzero(world.matrix.splits == "train")[::8]
    few = SpectralEmbedder(**SMALL).fit(world.matrix.rows(some), world.questions.rows(some))
    assert few.forecast(new).deviations.mean() > 1.2 * fitted.forecast(new).deviations.mean()


def specialists(make_matrix, n: int = 900) -> tuple:
    """Three topics that vectors tell; model t knows 80% of topic t and 45% of the others, the fourth 65% of all."""
    rng = np.random.default_rng(0)
    topic = rng.integers(0, 3, n)
    rates = np.full((3, 4), 0.45)
    rates[range(3), range(3)] = 0.8
    rates[:, 3] = 0.65
    matrix = make_matrix(
        (rng.random((n, 4)) < rates[topic]).astype(np.float32),
        splits=["test" if i % 3 == 2 else "train" for i in range(n)],
        benchmarks=[f"topic{t}" for t in topic],
    )
    vectors = (np.eye(6)[topic] + 0.2 * rng.standard_normal((n, 6))).astype(np.float32)
    return matrix, Questions(matrix.texts, vectors), topic


def test_routing_picks_the_specialist_where_categories_decide(make_matrix):
    matrix, questions, topic = specialists(make_matrix)
    test = matrix.splits == "test"
    fitted = SpectralEmbedder(**SMALL).fit(matrix, replace(questions, benchmarks=matrix.benchmarks))
    scores = fitted.routing_scores(questions.rows(test))  # the benchmarks of new questions are not known
    assert (scores.argmax(1) == topic[test]).mean() > 0.95
    assert ((scores > 0) & (scores < 1)).all()


def test_routing_scores_are_not_the_probabilities_but_near_them(make_matrix):
    matrix, questions, _ = specialists(make_matrix)
    fitted = SpectralEmbedder(**SMALL).fit(matrix, questions)
    forecast = fitted.forecast(questions.rows(matrix.splits == "test"))
    assert not np.allclose(forecast.routing_scores, forecast.probabilities, atol=0.005)
    assert np.corrcoef(forecast.routing_scores.ravel(), forecast.probabilities.ravel())[0, 1] > 0.9


def test_a_benchmark_that_all_fail(planted):
    """It is known, and known for sure, that nobody solves it; on the others models still differ."""
    matrix, questions = planted
    failed, test = matrix.benchmarks == "topic0", matrix.splits == "test"
    labels = np.where(failed[:, None], 0, matrix.labels).astype(np.float32)
    fitted = SpectralEmbedder().fit(replace(matrix, labels=labels), questions)
    forecast = fitted.forecast(questions.rows(test))
    assert np.median(forecast.routing_scores[failed[test]]) < 0.1
    assert np.median(forecast.interval()[1][failed[test]]) < 0.5
    rest = ~failed[test]
    assert metrics.accuracy(labels[test][rest], forecast.probabilities[rest]) >= 0.93


@pytest.mark.parametrize("missing", ["most questions", "most models"])
def test_two_blocks_that_share_little(planted, missing):
    """Either half of the models was asked its own half of the questions and 60 of the others'; or each half of the
    questions was put to its own half of the models and one of the others."""
    matrix, questions = planted
    first_questions, first_models = np.arange(600)[:, None] < 300, np.arange(12) < 6
    asked = first_questions == first_models
    asked |= np.arange(600)[:, None] % 10 == 0 if missing == "most questions" else np.isin(np.arange(12), [0, 6])
    blocks = replace(matrix, labels=np.where(asked, matrix.labels, np.float32(np.nan)))
    test = matrix.splits == "test"
    probabilities = SpectralEmbedder().fit(blocks, questions).predict_proba(questions)
    assert metrics.accuracy(matrix.labels[test], probabilities[test]) >= 0.9
    unasked = np.where(asked, np.nan, matrix.labels)
    assert metrics.accuracy(unasked, probabilities) >= 0.88  # what the other block alone can tell


def test_who_was_asked_what_is_no_direction_in_which_models_differ(world, new):
    """Either half of the models was asked its own half of the questions, and all a tenth. Few directions tell models
    apart, and none is wasted on the pattern of the gaps: the error is near that of a fit without gaps."""
    first_questions, first_models = np.arange(1200)[:, None] < 600, np.arange(40) < 20
    asked = (first_questions == first_models) | (np.random.default_rng(0).random((1200, 1)) < 0.1)
    blocks = replace(world.matrix, labels=np.where(asked, world.matrix.labels, np.float32(np.nan)))
    true = world.probabilities[world.matrix.splits == "test"]
    whole, part = (
        np.sqrt(np.square(SpectralEmbedder(**SMALL, rank=3).fit(m, world.questions).predict_proba(new) - true).mean())
        for m in (world.matrix, blocks)
    )
    assert part < 1.25 * whole


def test_models_that_answer_alike_are_near_though_asked_different_questions(planted):
    """Copies of the first six models, each asked the half of the questions the original was not."""
    matrix, questions = planted
    first = np.arange(600)[:, None] % 2 == 0
    labels = np.hstack([np.where(first, matrix.labels[:, :6], np.nan), np.where(first, np.nan, matrix.labels[:, :6])])
    embeddings = SpectralEmbedder().fit(replace(matrix, labels=labels.astype(np.float32)), questions).model_embeddings
    distances = np.linalg.norm(embeddings[:6, None] - embeddings[None, 6:], axis=2)
    assert (distances.argmin(1) == np.arange(6)).all()


def test_categories_that_nothing_tells_of_a_question(world, new):
    """Cells of a table may be labelled anyhow; the fit does not break, and is hardly worse."""
    drawn = np.random.default_rng(0).choice(["x", "y"], len(world.questions), p=[0.9, 0.1]).astype(object)
    fitted = SpectralEmbedder().fit(replace(world.matrix, categories=drawn), world.questions)
    true = world.probabilities[world.matrix.splits == "test"]
    assert np.sqrt(np.square(fitted.predict_proba(new) - true).mean()) < 0.7 * true.std(0).mean()


def test_what_is_loaded_forecasts_the_same(fitted, new, tmp_path):
    info = EmbedderInfo(
        embedder="spectral-1",
        encoder="e@1",
        created_at="2026-01-02T03:04:05+00:00",
        seed=0,
        questions=900,
        val_accuracy=None,
        val_log_loss=None,
        seconds=1.0,
    )
    save_embedder(tmp_path, fitted, info)
    loaded, _ = load_embedder(tmp_path)
    assert isinstance(loaded, SpectralEmbedder)
    assert loaded.settings() == fitted.settings()
    before, after = fitted.forecast(new), loaded.forecast(new)
    for name in ("probabilities", "deviations", "routing_scores"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    np.testing.assert_array_equal(loaded.coordinates(new), fitted.coordinates(new))


def test_coordinates_of_another_encoders_vectors_are_refused(fitted, new):
    with pytest.raises(ValueError, match=r"vectors of length 6, but these are \(300, 5\)"):
        fitted.coordinates(replace(new, vectors=new.vectors[:, :5]))


def elsewhere(questions: Questions) -> Questions:
    """Vectors unlike all that was seen."""
    return replace(questions, vectors=questions.vectors + 50)


def test_far_from_all_training_questions_forecasts_are_the_models_rates(world, fitted, new):
    train = world.matrix.splits == "train"
    forecast = fitted.forecast(elsewhere(new))
    assert np.abs(forecast.probabilities - world.matrix.labels[train].mean(0)).max() < 0.03
    assert forecast.support.max() < 0.01 < fitted.least_support
    low, high = forecast.interval()
    near_low, near_high = fitted.forecast(new).interval()
    assert (high - low).mean() > 1.5 * (near_high - near_low).mean()


def test_nearly_all_questions_like_the_training_questions_are_supported(fitted, new):
    support = fitted.support(new)
    assert ((support >= 0) & (support <= 1)).all()
    assert (support > fitted.least_support).mean() > 0.97
    np.testing.assert_array_equal(support, fitted.forecast(new).support)


def test_a_known_category_tells_what_texts_do_not(make_matrix):
    """Two kinds of questions that read alike; each model knows one of them."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 400)
    rates = np.array([[0.9, 0.2], [0.2, 0.9]])
    matrix = make_matrix(
        (rng.random((400, 2)) < rates[kind]).astype(np.float32),
        splits=[("train", "train", "val", "test")[i % 4] for i in range(400)],
        benchmarks=[f"kind{k}" for k in kind],
    )
    questions = Questions(matrix.texts, rng.standard_normal((400, 4)).astype(np.float32), matrix.benchmarks)
    fitted = SpectralEmbedder().fit(matrix, questions)
    test = questions.rows(matrix.splits == "test")
    untold = fitted.predict_proba(test.by_text_alone())
    told = fitted.predict_proba(test)
    labels = matrix.labels[matrix.splits == "test"]
    assert metrics.log_loss(labels, untold) > 0.66
    assert metrics.log_loss(labels, told) < 0.5
    unheard = replace(test, benchmarks=np.full(len(test), "unheard of", object))
    np.testing.assert_allclose(fitted.predict_proba(unheard), untold, atol=1e-6)
    assert fitted.known_categories() == ("kind0", "kind1")


def test_far_from_the_training_questions_a_known_category_has_its_own_rates(make_matrix):
    matrix, questions, topic = specialists(make_matrix)
    fitted = SpectralEmbedder(**SMALL).fit(matrix, replace(questions, benchmarks=matrix.benchmarks))
    test = matrix.splits == "test"
    far = elsewhere(questions.rows(test))
    told = fitted.predict_proba(replace(far, benchmarks=matrix.benchmarks[test]))
    for number in range(3):
        right = matrix.labels[(matrix.splits == "train") & (topic == number)].mean(0)
        assert np.abs(told[topic[test] == number].mean(0) - right).max() < 0.1


@pytest.mark.parametrize("count", [60, 180])
def test_few_answers_are_not_taken_for_much(make_world, count):
    """Of few questions nobody knows much: forecasts are about as near to the truth as the models' rates, or nearer."""
    off, off_of_rates = [], []
    for seed in range(3):
        world = make_world(seed=seed)
        few = np.flatnonzero(world.matrix.splits == "train")[:: 900 // count]
        fitted = SpectralEmbedder().fit(world.matrix.rows(few), world.questions.rows(few))
        test = world.matrix.splits == "test"
        true = world.probabilities[test]
        off.append(np.square(fitted.predict_proba(world.questions.rows(test)) - true).mean())
        off_of_rates.append(np.square(world.matrix.labels[few].mean(0) - true).mean())
    assert np.mean(off) < {60: 1.0, 180: 0.6}[count] * np.mean(off_of_rates)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no accelerator that torch can use")
def test_a_fit_on_an_accelerator_forecasts_the_same(world, fitted, new):
    there = SpectralEmbedder(**SMALL).on("cuda").fit(world.matrix, world.questions)
    np.testing.assert_allclose(there.predict_proba(new), fitted.predict_proba(new), atol=0.005)


def test_a_model_that_was_asked_little_does_not_lead_by_what_is_not_known(make_matrix):
    """Six right answers of seven: its score is no surer of it than its probability is."""
    rng = np.random.default_rng(6)
    labels = (rng.random((50, 3)) < [0.6, 0.68, 1.0]).astype(np.float32)
    labels[7:, 2], labels[2, 2] = np.nan, 0
    kinds = np.arange(50) % 5
    matrix = replace(
        make_matrix(labels, splits=["train"] * 50),
        texts=np.array([f"Is element {number} of kind {kind}?" for number, kind in enumerate(kinds)], object),
    )
    vectors = (np.eye(8)[kinds] + 0.05 * rng.standard_normal((50, 8))).astype(np.float32)
    questions = Questions(matrix.texts, vectors, matrix.benchmarks)
    forecast = SpectralEmbedder().fit(matrix, questions).forecast(questions.by_text_alone())
    assert forecast.deviations[:, 2].mean() > 2 * forecast.deviations[:, 1].mean()
    assert forecast.routing_scores[:, 2].max() < forecast.probabilities[:, 2].max() + 0.01
