from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit

from embedder.matrix import CorrectnessMatrix
from embedder.questions import Questions
from embedder.spectral.evidence import Answers, Evidence, Gaussian, fit_posterior
from embedder.spectral.fold_in import ModelPool
from embedder.spectral.spectral import SpectralEmbedder

POOL = 40  # models of a world that are in the pool; the others are new


def design_and_labels(n: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.standard_normal((n, 3)), np.ones(n)]), rng.integers(0, 2, n).astype(float)


def prior(seed: int = 0, scale: float = 1.0) -> Gaussian:
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((4, 4))
    return Gaussian(rng.standard_normal(4), scale * (root @ root.T + 0.1 * np.eye(4)))


def loss(theta: np.ndarray, design: np.ndarray, labels: np.ndarray, given_: Gaussian) -> float:
    """The negative log fit_posterior, as the definition has it."""
    probability = expit(design @ theta)
    likelihood = np.where(labels == 1, probability, 1 - probability)
    off = theta - given_.mean
    return float(-np.log(likelihood).sum() + 0.5 * off @ np.linalg.inv(given_.covariance) @ off)


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_the_posterior_is_the_optimum_from_wherever_one_starts(scale):
    design, labels = design_and_labels(30)
    given_ = prior(scale=scale)
    found = fit_posterior(design, labels, given_)
    for seed in range(5):
        start = np.random.default_rng(seed).normal(0, 3, 4)
        other = minimize(loss, start, (design, labels, given_), method="BFGS", options={"gtol": 1e-6})
        np.testing.assert_allclose(found.mean, other.x, atol=1e-3)


def test_the_posteriors_covariance_is_the_inverse_curvature_there():
    design, labels = design_and_labels(30)
    found = fit_posterior(design, labels, prior())
    step, curvature = 1e-3, np.empty((4, 4))
    for i, a in enumerate(step * np.eye(4)):
        for j, b in enumerate(step * np.eye(4)):
            around = [loss(found.mean + x, design, labels, prior()) for x in (a + b, a - b, b - a, -a - b)]
            curvature[i, j] = (around[0] - around[1] - around[2] + around[3]) / (4 * step**2)
    np.testing.assert_allclose(found.covariance, np.linalg.inv(curvature), rtol=1e-3, atol=1e-4)


def test_without_answers_the_posterior_is_the_prior():
    found = fit_posterior(np.empty((0, 4)), np.empty(0), prior())
    np.testing.assert_array_equal(found.mean, prior().mean)
    np.testing.assert_allclose(found.covariance, prior().covariance)


@settings(max_examples=50, deadline=None)
@given(
    n=st.integers(0, 60),
    seed=st.integers(0, 1000),
    stretch=st.floats(-3, 3),
    width=st.floats(-4, 6),
    shift=st.floats(-100, 100),
)
def test_newtons_method_ends_at_the_optimum_whatever_it_is_given(n, seed, stretch, width, shift):
    """Badly scaled questions, priors from certainty to ignorance and far off, answers that separate perfectly."""
    design, labels = design_and_labels(n, seed=seed)
    design = design * 10**stretch
    given_ = Gaussian(prior(seed).mean + shift, prior(seed).covariance * 10**width)
    found = fit_posterior(design, labels, given_)
    gradient = design.T @ (expit(design @ found.mean) - labels)
    gradient += np.linalg.solve(given_.covariance, found.mean - given_.mean)
    assert gradient @ found.covariance @ gradient < 1e-4 * (1 + n)  # far less than a deviation away


@settings(max_examples=30, deadline=None)
@given(n=st.integers(0, 30), more=st.integers(1, 30), seed=st.integers(0, 100))
def test_each_answer_adds_its_information(n, more, seed):
    """A quarter each, where the probability is a half."""
    design = np.ones((n + more, 1))
    balanced = np.full(n + more, 0.5)
    alone = Gaussian(np.zeros(1), np.eye(1) * (1 + seed))
    before, after = (fit_posterior(design[:k], balanced[:k], alone).covariance for k in (n, n + more))
    assert after[0, 0] == pytest.approx(1 / (1 / (1 + seed) + 0.25 * (n + more)))
    assert after[0, 0] < before[0, 0]


def test_a_prior_from_models():
    """Variances are the models'; correlations are drawn to 0; of fewer than three models little is known."""
    coefficients = np.array([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]])
    found = Gaussian.of(coefficients)
    np.testing.assert_allclose(found.mean, [1, 2])
    np.testing.assert_allclose(np.diag(found.covariance), [1, 4])
    correlation = found.covariance[0, 1] / 2
    assert 0 < correlation < 0.9
    np.testing.assert_array_equal(Gaussian.of(coefficients[:2]).covariance, np.eye(2))


@pytest.mark.parametrize("coefficients", [np.zeros((5, 2)), np.tile([[1.0, 2.0, 3.0]], (4, 1))])
def test_a_prior_from_models_that_do_not_differ(coefficients):
    np.linalg.cholesky(Gaussian.of(coefficients).covariance)  # positive definite


def test_a_prior_of_one_coefficient():
    """Of models of which nothing but their level is known."""
    assert Gaussian.of(np.array([[0.0], [1.0], [2.0]])).covariance.shape == (1, 1)


@dataclass(frozen=True)
class Case:
    """A pool of 40 models, and 20 that are new to it."""

    pool: ModelPool
    matrix: CorrectnessMatrix  # of the pool's models
    questions: Questions
    new: np.ndarray  # (Q, 20) all the answers the new models would give
    probabilities: np.ndarray  # (Q, 20) that they answer right
    train: np.ndarray  # rows of the train questions
    everybody: CorrectnessMatrix

    def asked(self, model: int, rows: np.ndarray) -> np.ndarray:
        """(Q,) that new model's answers to some of the questions."""
        answers = np.full(len(self.new), np.nan)
        answers[rows] = self.new[rows, model]
        return answers

    def some(self, count: int, *, seed: int = 0) -> np.ndarray:
        """That many rows of train questions, drawn at random."""
        return np.random.default_rng(seed).choice(self.train, count, replace=False)


def small() -> SpectralEmbedder:
    return SpectralEmbedder(landmarks=300)


@pytest.fixture(scope="module")
def make_case(make_world):
    def make(seed: int) -> Case:
        world = make_world(models=POOL + 20, seed=seed)
        matrix = replace(world.matrix, labels=world.matrix.labels[:, :POOL], models=world.matrix.models[:POOL])
        pool = ModelPool.of(small().fit(matrix, world.questions), matrix, world.questions)
        train = np.flatnonzero(matrix.splits == "train")
        new = world.matrix.labels[:, POOL:]
        return Case(pool, matrix, world.questions, new, world.probabilities[:, POOL:], train, world.matrix)

    return make


@pytest.fixture(scope="module")
def cases(make_case):
    return [make_case(seed) for seed in range(4)]


@pytest.fixture(scope="module")
def case(cases):
    return cases[0]


def test_without_answers_it_is_the_pools_average_model(case):
    nothing = case.pool.fold_in(np.full(1200, np.nan))
    average = case.pool.predictor.model_embeddings.mean(0)
    np.testing.assert_allclose(nothing.embedding, average, atol=0.1)
    mean_rate = case.matrix.labels.mean()
    for found in nothing.accuracies():
        assert found.low < mean_rate < found.high
        assert found.high - found.low > 0.3  # of an unknown model


def test_what_is_known_grows_with_the_answers(case):
    rows = case.some(256)
    determinants, widths = [], []
    for count in (0, 16, 64, 256):
        folded = case.pool.fold_in(case.asked(0, rows[:count]))
        determinants.append([np.linalg.slogdet(part.covariance)[1] for part in (folded.text, folded.responses)])
        widths.append(np.mean([found.high - found.low for found in folded.accuracies()]))
    assert (np.diff(determinants, axis=0) < 0).all()
    assert (np.diff(widths) < 0).all()


def test_the_more_answers_the_better_the_forecast(case):
    """Root mean square over the new models and test questions of probabilities less the true ones."""
    test = np.setdiff1d(np.arange(1200), case.train)
    unseen, true = case.questions.rows(test), case.probabilities[test]
    errors = []
    for count in (0, 16, 128, 900):
        folded = [case.pool.fold_in(case.asked(model, case.some(count))) for model in range(20)]
        found = np.hstack([model.forecast(unseen).probabilities for model in folded])
        errors.append(float(np.sqrt(np.square(found - true).mean())))
    assert errors[0] > errors[1] > errors[2] > errors[3]


def test_given_all_answers_it_forecasts_as_if_it_had_been_there_from_the_start(case):
    test = np.setdiff1d(np.arange(1200), case.train)
    unseen, true = case.questions.rows(test), case.probabilities[test]
    jointly = small().fit(case.everybody, case.questions).predict_proba(unseen)[:, POOL:]
    folded = [case.pool.fold_in(case.asked(model, case.train)).forecast(unseen) for model in range(20)]
    later = np.hstack([forecast.probabilities for forecast in folded])
    assert np.sqrt(np.square(later - jointly).mean()) < 0.05
    assert np.sqrt(np.square(later - true).mean()) < 1.1 * np.sqrt(np.square(jointly - true).mean())


def test_a_twin_of_a_known_model_lands_beside_it(case):
    """Its nearest model is that one, and it is far nearer than models are to each other."""
    embeddings = case.pool.predictor.model_embeddings
    pairs = np.linalg.norm(embeddings[:, None] - embeddings[None], axis=2)
    found = []
    for model, name in enumerate(case.matrix.models):
        answers = np.full(1200, np.nan)
        answers[case.train] = case.matrix.labels[case.train, model]
        folded = case.pool.fold_in(answers)
        nearest, distance = folded.nearest(1)[0]
        found.append((nearest == name, distance))
        assert distance == pytest.approx(np.linalg.norm(embeddings - folded.embedding, axis=1).min(), rel=1e-4)
    assert np.mean([same for same, _ in found]) >= 0.9
    assert np.mean([distance for _, distance in found]) < 0.3 * np.median(pairs[pairs > 0])


def test_the_nearest_come_first(case):
    nearest = case.pool.fold_in(case.asked(0, case.some(64))).nearest(100)
    assert sorted(name for name, _ in nearest) == sorted(case.matrix.models)
    assert [distance for _, distance in nearest] == sorted(distance for _, distance in nearest)
    assert len(case.pool.fold_in(case.asked(0, case.some(64))).nearest()) == 5


def test_nothing_else_moves(case):
    before = case.pool.predictor.model_embeddings.tobytes(), case.pool.predictor.predict_proba(case.questions).tobytes()
    answers = case.asked(0, case.some(64))
    given_ = answers.tobytes()
    folded = case.pool.fold_in(answers)
    folded.accuracies(), folded.forecast(case.questions), folded.nearest()
    after = case.pool.predictor.model_embeddings.tobytes(), case.pool.predictor.predict_proba(case.questions).tobytes()
    assert after == before
    assert answers.tobytes() == given_


def test_same_answers_same_embedding(case):
    answers = case.asked(0, case.some(64))
    assert case.pool.fold_in(answers).embedding.tobytes() == case.pool.fold_in(answers).embedding.tobytes()


def test_the_embedding_is_in_the_pools_space(case):
    folded = case.pool.fold_in(case.asked(0, case.some(64)))
    assert folded.embedding.shape == case.pool.predictor.model_embeddings.shape[1:]
    assert folded.embedding.dtype == np.float32
    log_odds = case.pool.predictor.coordinates(case.questions) @ folded.embedding
    moderated = expit(log_odds * case.pool.predictor.moderation(case.questions))
    np.testing.assert_allclose(folded.forecast(case.questions).probabilities[:, 0], moderated, atol=1e-5)


def test_a_forecast_is_of_one_model_with_an_interval(case):
    forecast = case.pool.fold_in(case.asked(0, case.some(64))).forecast(case.questions.rows(np.arange(7)))
    assert forecast.probabilities.shape == forecast.routing_scores.shape == (7, 1)
    low, high = forecast.interval()
    assert ((low < forecast.probabilities) & (forecast.probabilities < high)).all()


@pytest.mark.parametrize("count", [0, 16, 200])
def test_intervals_of_forecasts_have_the_true_probability_about_as_often_as_they_say(cases, count):
    shares = []
    for case in cases:
        test = np.setdiff1d(np.arange(1200), case.train)
        for model in range(20):
            low, high = (
                case.pool.fold_in(case.asked(model, case.some(count))).forecast(case.questions.rows(test)).interval()
            )
            true = case.probabilities[test, model : model + 1]
            shares.append(((low <= true) & (true <= high)).mean())
    assert 0.85 <= np.mean(shares) <= 0.996


def coverage(cases: list[Case], count: int) -> float:
    """How often, over 20 new models of each case and 4 benchmarks, the interval has the model's true accuracy."""
    hits = []
    for case in cases:
        for model in range(20):
            for found in case.pool.fold_in(case.asked(model, case.some(count, seed=model))).accuracies():
                true = case.new[case.matrix.benchmarks == found.benchmark, model].mean()
                hits.append(found.low <= true <= found.high)
    return float(np.mean(hits))


@pytest.mark.parametrize("count", [0, 16, 64, 200, 900])
def test_intervals_have_the_true_accuracy_about_as_often_as_they_say(cases, count):
    """95% of 320, give or take what models of one pool have in common: within 85 to 99%."""
    assert 0.85 <= coverage(cases, count) <= 0.99


@pytest.mark.parametrize("count", [0, 64, 900])
def test_intervals_have_the_true_overall_accuracy_about_as_often_as_they_say(cases, count):
    """95% of 80."""
    hits = []
    for case in cases:
        for model in range(20):
            found = case.pool.fold_in(case.asked(model, case.some(count, seed=model))).overall_accuracy()
            hits.append(found.low <= case.new[:, model].mean() <= found.high)
    assert 0.85 <= np.mean(hits) <= 1


def test_the_overall_accuracy_is_that_of_all_benchmarks_questions_and_surer(case):
    folded = case.pool.fold_in(case.asked(0, case.some(64)))
    found, benchmarks = folded.overall_accuracy(), folded.accuracies()
    assert (found.benchmark, found.n) == ("all", 1200)
    assert found.accuracy == pytest.approx(sum(row.n * row.accuracy for row in benchmarks) / 1200)
    assert found.high - found.low < min(row.high - row.low for row in benchmarks)


def test_what_the_pool_answered_to_test_questions_takes_no_part_in_the_embedding(case):
    test = case.matrix.splits == "test"
    design = np.where(test[:, None], 7.0, case.pool.responses.design)
    other = replace(case.pool, responses=replace(case.pool.responses, design=design))
    answers = case.asked(0, case.some(64))
    assert other.fold_in(answers).embedding.tobytes() == case.pool.fold_in(answers).embedding.tobytes()


def test_turning_the_embedders_axes_changes_nothing_but_the_embedding(case):
    """As an embedder is that was aligned to an earlier one."""
    arrays, rest = case.pool.predictor.state()
    size = arrays["coordinates"].shape[1]
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((size, size)))[0].astype(np.float32)
    theta, bias = arrays["embeddings"][:, :-1], arrays["embeddings"][:, -1:]
    turned = {
        "coordinates": arrays["coordinates"] @ rotation,
        "embeddings": np.concatenate([theta @ rotation, bias], axis=1),
    }
    embedder = SpectralEmbedder.restored(case.pool.predictor.settings(), {**arrays, **turned}, rest)
    pool = ModelPool.of(embedder, case.matrix, case.questions)
    answers = case.asked(0, case.some(64))
    before, after = case.pool.fold_in(answers), pool.fold_in(answers)
    for one, other in zip(before.accuracies(), after.accuracies(), strict=True):
        assert other.accuracy == pytest.approx(one.accuracy, abs=1e-4)
        assert other.high == pytest.approx(one.high, abs=3e-4)
    np.testing.assert_allclose(
        after.forecast(case.questions).probabilities, before.forecast(case.questions).probabilities, atol=1e-2
    )
    assert [name for name, _ in after.nearest(3)] == [name for name, _ in before.nearest(3)]


def test_accuracies_come_nearer_with_the_answers(case):
    true = np.array([case.new[case.matrix.benchmarks == b].mean(0) for b in case.pool.benchmarks])  # (4, 20)

    def error(count: int) -> float:
        """Mean absolute error over the new models and benchmarks."""
        folded = [case.pool.fold_in(case.asked(model, case.some(count))) for model in range(20)]
        found = np.array([[row.accuracy for row in model.accuracies()] for model in folded]).T
        return float(np.abs(found - true).mean())

    assert error(0) > error(16) > error(128) > error(900)
    # Better than to give the share of right answers for every benchmark.
    plain = np.abs(case.new[case.some(128)].mean(0) - true).mean()
    assert error(128) < 0.9 * plain


def test_accuracies_of_a_model_that_was_asked_everything_are_known(case):
    found = case.pool.fold_in(case.asked(0, np.arange(1200))).accuracies()
    assert [(row.benchmark, row.n) for row in found] == [
        (name, int((case.matrix.benchmarks == name).sum())) for name in ("b0", "b1", "b2", "b3")
    ]
    for row in found:
        assert row.low == row.accuracy == row.high
        assert row.accuracy == pytest.approx(case.new[case.matrix.benchmarks == row.benchmark, 0].mean())


@settings(max_examples=20, deadline=None)
@given(count=st.integers(0, 60), share=st.sampled_from([0.0, 0.5, 1.0]), seed=st.integers(0, 100))
def test_accuracies_and_their_intervals_are_shares(case, count, share, seed):
    """Also of a model that is always wrong, or always right."""
    rng = np.random.default_rng(seed)
    answers = np.full(1200, np.nan)
    answers[rng.choice(1200, count, replace=False)] = rng.random(count) < share
    for found in case.pool.fold_in(answers).accuracies():
        assert 0 <= found.low <= found.accuracy <= found.high <= 1


def test_informative_questions_tell_more_than_random_ones(case):
    """The determinant of the coefficients' covariance, and the intervals of accuracies, are less on average."""
    candidates = np.isin(np.arange(1200), case.train)
    chosen, random = [], []
    for model in range(10):
        rows = case.pool.most_informative(np.full(1200, np.nan), candidates, 32)
        for found, asked in ((chosen, rows), *((random, case.some(32, seed=seed)) for seed in range(5))):
            folded = case.pool.fold_in(case.asked(model, asked))
            width = np.mean([row.high - row.low for row in folded.accuracies()])
            found.append((np.linalg.slogdet(folded.responses.covariance)[1], width))
    assert (np.mean(chosen, axis=0) < np.mean(random, axis=0)).all()


def test_informative_questions_do_not_crowd_in_one_benchmark(case):
    rows = case.pool.most_informative(np.full(1200, np.nan), np.ones(1200, bool), 32)
    assert len(set(case.matrix.benchmarks[rows])) >= 3


@settings(max_examples=20, deadline=None)
@given(asked=st.integers(0, 40), open_=st.integers(0, 40), n=st.integers(0, 50), seed=st.integers(0, 100))
def test_never_asks_again_nor_what_is_no_candidate(case, asked, open_, n, seed):
    rng = np.random.default_rng(seed)
    answers = case.asked(0, rng.choice(1200, asked, replace=False))
    candidates = np.zeros(1200, bool)
    candidates[rng.choice(1200, open_, replace=False)] = True
    rows = case.pool.most_informative(answers, candidates, n)
    left = candidates & np.isnan(answers)
    assert len(set(rows.tolist())) == len(rows) == min(n, left.sum())
    assert left[rows].all()


def test_asking_in_batches_takes_earlier_answers_into_account(case):
    candidates = np.ones(1200, bool)
    first = case.pool.most_informative(np.full(1200, np.nan), candidates, 8)
    right, wrong = np.full(1200, np.nan), np.full(1200, np.nan)
    right[first], wrong[first] = 1, 0
    next_ = [case.pool.most_informative(answers, candidates, 8).tolist() for answers in (right, wrong)]
    assert next_[0] != next_[1]
    assert not set(next_[0]) & set(first.tolist())


def test_answers_to_other_questions_are_refused(case):
    with pytest.raises(ValueError, match=r"answers are \(5,\), but the pool has 1200 questions"):
        case.pool.fold_in(np.ones(5))


def test_a_matrix_of_other_models_is_refused(case):
    reversed_ = replace(case.matrix, models=case.matrix.models[::-1])
    with pytest.raises(ValueError, match="the models the embedder was fitted on, in their order"):
        ModelPool.of(case.pool.predictor, reversed_, case.questions)


@pytest.mark.parametrize("models", [1, 2, 3])
def test_a_pool_of_few_models(case, models):
    few = replace(case.matrix, labels=case.matrix.labels[:, :models], models=case.matrix.models[:models])
    pool = ModelPool.of(small().fit(few, case.questions), few, case.questions)
    folded = pool.fold_in(case.asked(0, case.some(128)))
    for found in folded.accuracies():
        assert 0 <= found.low <= found.accuracy <= found.high <= 1
    assert len(folded.nearest()) == models


def test_a_pool_with_missing_cells_and_a_model_without_answers(case):
    """Missing cells of others hardly matter; the silent model is nobody's neighbour."""
    labels = np.where(np.random.default_rng(0).random(case.matrix.labels.shape) < 0.3, np.nan, case.matrix.labels)
    labels[:, 5] = np.nan
    sparse = replace(case.matrix, labels=labels.astype(np.float32))
    pool = ModelPool.of(small().fit(sparse, case.questions), sparse, case.questions)
    folded, full = (p.fold_in(case.asked(0, case.some(128))) for p in (pool, case.pool))
    assert len(folded.nearest(100)) == POOL - 1
    assert "m05" not in dict(folded.nearest(100))
    for found, expected in zip(folded.accuracies(), full.accuracies(), strict=True):
        assert abs(found.accuracy - expected.accuracy) < 0.08


def test_answers_the_embedder_was_not_fitted_on_count_too(case):
    """The pool may know more questions than the embedder's train split."""
    of_test = case.matrix.of_split("test")
    pool = ModelPool.of(case.pool.predictor, of_test, case.questions.rows(case.matrix.splits == "test"))
    assert [row.n for row in pool.fold_in(np.full(300, np.nan)).accuracies()] == [
        int((of_test.benchmarks == name).sum()) for name in ("b0", "b1", "b2", "b3")
    ]


def test_less_is_known_of_a_benchmark_that_no_model_of_the_pool_answered(case):
    """Only the questions' texts tell of it."""
    silent = case.matrix.benchmarks == "b2"
    without = replace(case.matrix, labels=np.where(silent[:, None], np.float32(np.nan), case.matrix.labels))
    pool = ModelPool.of(small().fit(without, case.questions), without, case.questions)
    rows = case.train[~silent[case.train]][::5]
    for model in range(20):
        widths = {
            found.benchmark: found.high - found.low for found in pool.fold_in(case.asked(model, rows)).accuracies()
        }
        assert max(widths, key=widths.__getitem__) == "b2"


def test_constant_answers(case):
    """A pool of models that all know everything expects the same of a new one, and learns otherwise."""
    constant = replace(case.matrix, labels=np.ones_like(case.matrix.labels))
    pool = ModelPool.of(small().fit(constant, case.questions), constant, case.questions)
    for found in pool.fold_in(np.full(1200, np.nan)).accuracies():
        assert found.accuracy > 0.95
    answers = np.full(1200, np.nan)
    answers[case.train] = 0.0
    for found in pool.fold_in(answers).accuracies():
        assert found.accuracy < 0.3


def from_answers_alone(pool: ModelPool, answers: np.ndarray) -> np.ndarray:
    """The embedding, were nothing known of the pool's answers."""
    return pool.text.given(answers).mean


def test_what_is_only_the_priors_guess_moves_nothing(case):
    """The pool expects a new model to know everything, and its answers tell nothing of whether it does."""
    size = case.pool.responses.design.shape[1]
    guess = Gaussian(np.append(np.zeros(size - 1), 5.0), 1e-8 * np.eye(size))
    pool = replace(case.pool, responses=Evidence(case.pool.responses.design, guess))
    answers = case.asked(0, case.some(64))
    np.testing.assert_allclose(pool.fold_in(answers).embedding, from_answers_alone(case.pool, answers), atol=1e-4)
    # Where the answers do tell, it is different.
    assert np.abs(case.pool.fold_in(answers).embedding - from_answers_alone(case.pool, answers)).max() > 0.01


def test_a_model_asked_everything_is_known_by_its_answers_alone(case):
    answers = case.asked(0, case.train)
    np.testing.assert_allclose(case.pool.fold_in(answers).embedding, from_answers_alone(case.pool, answers), atol=1e-4)


def odd_model(case: Case) -> np.ndarray:
    """(Q,) right where the first text coordinate is positive: a taste that no model of the pool comes near to."""
    return (case.pool.text.design[:, 0] > 0).astype(float)


def test_many_answers_outvote_what_was_expected(case):
    """Two answers of three to the train questions leave half as many expectations."""
    asked, test = case.some(600), np.setdiff1d(np.arange(1200), case.train)
    answers = np.full(1200, np.nan)
    answers[asked] = odd_model(case)[asked]
    folded = case.pool.fold_in(answers).forecast(case.questions.rows(test)).probabilities[:, 0]
    alone = expit(case.pool.text.design[test] @ from_answers_alone(case.pool, answers))
    right = odd_model(case)[test] == 1
    assert ((folded > 0.5) == right).mean() > ((alone > 0.5) == right).mean() - 0.02
    assert ((folded > 0.5) == right).mean() > 0.9


def test_every_answer_counts(case):
    """The same questions, one answer after the other turned from wrong to right: the bias grows with each."""
    rows = case.some(12)
    answers = case.asked(0, rows)
    answers[rows] = 0.0
    biases = []
    for row in rows:
        answers[row] = 1.0
        biases.append(case.pool.fold_in(answers).embedding[-1])
    assert (np.diff(biases) > 0).all()


def together(case: Case, asked: list[np.ndarray]) -> Answers:
    """Of as many new models as there are arrays of rows, shuffled."""
    models = np.concatenate([np.full(len(rows), model) for model, rows in enumerate(asked)])
    questions = np.concatenate(asked)
    order = np.random.default_rng(0).permutation(len(models))
    models, questions = models[order], questions[order]
    return Answers(len(asked), models, questions, case.new[questions, models])


def test_many_at_once_are_folded_in_as_each_alone(case):
    asked = [case.some(count, seed=count) for count in (0, 1, 5, 16, 16, 17, 300, 900, 64)]
    many = case.pool.fold_in_many(together(case, asked))
    for model, rows in enumerate(asked):
        one = case.pool.fold_in(case.asked(model, rows))
        np.testing.assert_allclose(many.embeddings[model], one.embedding, atol=1e-6)
        np.testing.assert_allclose(many.embedding_variance[model], one.embedding_variance, atol=1e-6)
        np.testing.assert_allclose(many.responses[model], one.responses.mean, atol=1e-6)


@pytest.mark.parametrize("size", [1, 3])
def test_how_many_are_fitted_together_changes_nothing(case, size, monkeypatch):
    answers = together(case, [case.some(count) for count in (16, 64, 3, 0, 128)])
    before = case.pool.fold_in_many(answers)
    monkeypatch.setattr("embedder.spectral.fold_in._BATCH_MODELS", size)
    after = case.pool.fold_in_many(answers)
    np.testing.assert_allclose(after.embeddings, before.embeddings, atol=1e-6)
    np.testing.assert_allclose(after.embedding_variance, before.embedding_variance, atol=1e-6)


@pytest.mark.parametrize("count", [0, 3])
def test_many_models_without_any_answer(case, count):
    nothing = np.empty(0, np.int64)
    many = case.pool.fold_in_many(Answers(count, nothing, nothing, np.empty(0)))
    average = np.tile(case.pool.fold_in(np.full(1200, np.nan)).embedding, (count, 1))
    np.testing.assert_allclose(many.embeddings, average, atol=1e-6)


@pytest.mark.parametrize(
    ("models", "questions", "labels", "said"),
    [
        ([0, 1], [5, 5], [1.0], "2 numbers of models, 2 of questions, 1 labels"),
        ([0, 2], [5, 5], [1.0, 0.0], "models are numbered from 0 to 1, found 2"),
        ([0, -1], [5, 5], [1.0, 0.0], "models are numbered from 0 to 1, found -1"),
        ([0, 1], [5, 5], [1.0, np.nan], "a label must be 1 for right or 0 for wrong"),
        ([1, 0, 1], [7, 7, 7], [1.0, 0.0, 0.0], "model 1 answered question 7 twice"),
    ],
)
def test_answers_that_do_not_fit_together_are_refused(models, questions, labels, said):
    with pytest.raises(ValueError, match=said):
        Answers(2, np.array(models), np.array(questions), np.array(labels))


@pytest.mark.parametrize("question", [-1, 1200])
def test_answers_to_questions_the_pool_does_not_have_are_refused(case, question):
    with pytest.raises(ValueError, match=f"numbered from 0 to 1199, but there is an answer to {question}"):
        case.pool.fold_in_many(Answers(1, np.array([0]), np.array([question]), np.array([1])))
