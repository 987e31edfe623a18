from dataclasses import replace

import numpy as np
import pytest
import torch

from embedder.lexical import LEXICAL_FEATURES
from embedder.questions import Questions
from embedder.spectral.question_map import CategoryModel, Comparison, QuestionMap

COMPARISON = Comparison(landmarks=60, lexical_weight=3.0, category_weight=3.0, width=2.0)


def topical(n: int = 300, *, seed: int = 0) -> tuple[Questions, np.ndarray]:
    """Questions on three topics, told by their vectors (n, 8) but not by their texts; and the topics (n,)."""
    rng = np.random.default_rng(seed)
    topic = rng.integers(0, 3, n)
    vectors = (np.eye(8)[topic] + 0.2 * rng.standard_normal((n, 8))).astype(np.float32)
    return Questions(np.array([f"question {i}" for i in range(n)], object), vectors), topic


def fit(questions: Questions, categories: np.ndarray, **changes: float) -> tuple[QuestionMap, torch.Tensor]:
    question_map, compared = QuestionMap.fit(questions, categories, replace(COMPARISON, **changes))
    return question_map, compared.features


def mean_squared_distance(x: torch.Tensor) -> float:
    return torch.cdist(x, x).square().mean().item()


def test_embedding_and_form_count_by_mean_squared_distances_of_1_and_the_lexical_weight():
    questions, topic = topical()
    inputs = fit(questions, topic)[0].scales(questions)
    assert mean_squared_distance(inputs[:, :8]) == pytest.approx(1, rel=1e-3)
    assert mean_squared_distance(inputs[:, 8:]) == pytest.approx(3, rel=1e-3)


def test_the_length_of_vectors_is_of_no_account():
    """Another encoder's may be ten times as long."""
    questions, topic = topical()
    longer = replace(questions, vectors=10 * questions.vectors)
    found, longer_found = fit(questions, topic)[0].scales(questions), fit(longer, topic)[0].scales(longer)
    torch.testing.assert_close(found, longer_found, atol=1e-4, rtol=0)


def test_one_odd_text_is_not_far_from_all_others():
    questions, topic = topical()
    scales = fit(questions, topic)[0].scales
    odd = Questions(np.array(["A) " + "$\\frac{x}{y}$ == 1\n" * 10_000], object), questions.vectors[:1])
    off = (scales(odd) - scales(questions.rows(np.array([0])))).square().sum()
    assert off < 100 * mean_squared_distance(scales(questions))


@pytest.mark.parametrize("part", ["texts", "vectors"])
def test_where_training_questions_do_not_differ_new_ones_do_not_either(part):
    """Of one form, or encoded alike: nothing was learnt about such differences."""
    questions, topic = topical()
    if part == "texts":
        alike = replace(
            questions, texts=np.array([f"question {'bcdfg'[i % 5]}{'bcdfg'[i // 60]}" for i in range(300)], object)
        )
        new = Questions(np.array(["Which 12 of\n\n these?"], object), questions.vectors[:1])
        of_part = slice(8, None)
    else:
        alike = replace(questions, vectors=np.ones_like(questions.vectors))
        new = questions.rows(np.array([0]))
        of_part = slice(8)
    question_map, mapped = fit(alike, topic)
    inputs = question_map.scales(new)
    assert torch.isfinite(mapped).all()
    assert torch.isfinite(inputs).all()
    assert (inputs[:, of_part] == 0).all()


def test_a_property_of_form_that_no_training_question_has_does_not_count():
    """Texts here differ in length, none has a formula. A new one that is a formula is no further off for it."""
    questions, topic = topical()
    texts = np.array(["word " * (1 + i % 7) + "bcdfg"[i % 5] + str(i) for i in range(300)], object)
    question_map, _ = fit(replace(questions, texts=texts), topic)
    formula = Questions(np.array(["$x$"], object), questions.vectors[:1])
    column = 8 + LEXICAL_FEATURES.index("dollars")
    assert question_map.scales(formula)[0, column] == 0


def test_the_category_is_recognised_in_new_questions():
    question_map, _ = fit(*topical())
    new, topic = topical(seed=1)
    probabilities = question_map.compare(new, None, 0).categories
    torch.testing.assert_close(probabilities.sum(1), torch.ones(300))
    assert (probabilities > 0).all()
    assert (probabilities.argmax(1).numpy() == topic).mean() > 0.95


def test_categories_that_questions_do_not_tell_are_left_open():
    """Given at random, two to one: the probabilities stay near their frequency."""
    questions, _ = topical()
    drawn = (np.random.default_rng(2).random(300) < 1 / 3).astype(int)
    probabilities = fit(questions, drawn)[0].compare(topical(seed=1)[0], None, 0).categories
    assert abs(probabilities[:, 1].mean() - drawn.mean()) < 0.1
    assert probabilities[:, 1].std() < 0.15


def test_a_training_questions_category_is_predicted_without_it():
    """Were it known, chance would look like knowledge: here categories are drawn at random."""
    x = torch.from_numpy(topical()[0].vectors)
    drawn = torch.from_numpy(np.random.default_rng(3).integers(0, 2, 300))
    squared = torch.cdist(x, x).square()
    _, probabilities, skill = CategoryModel.fit(squared, squared, 2.0, drawn)
    assert skill < 0.02
    assert 0.35 < (probabilities.argmax(1) == drawn).float().mean() < 0.65


@pytest.fixture(scope="module")
def without_categories() -> torch.Tensor:
    """(1500, 1500) kernel of questions whose category does not count."""
    questions, topic = topical(1500)
    mapped = fit(questions, topic, landmarks=1500, category_weight=0.0)[1]
    return mapped @ mapped.T


@pytest.mark.parametrize("rare", [0.5, 0.1, 0.01])
def test_categories_drawn_at_random_do_no_harm(without_categories, rare):
    """Their predicted probabilities hardly differ between questions; so they hardly count, and nothing breaks."""
    questions, _ = topical(1500)
    drawn = (np.random.default_rng(6).random(1500) < rare).astype(int)
    _, mapped = fit(questions, drawn, landmarks=1500)
    assert (mapped @ mapped.T - without_categories).abs().max() < 0.05


def test_vectors_that_all_point_nearly_the_same_way():
    """Some encoders' do. Distances then are small against the vectors' length, but tell as much."""
    questions, topic = topical(1000)
    narrow = replace(questions, vectors=1 + 0.02 * questions.vectors)
    plain, squeezed = (fit(q, topic, landmarks=1000)[1] for q in (questions, narrow))
    assert (plain @ plain.T - squeezed @ squeezed.T).abs().max() < 0.1


def test_one_category():
    questions, _ = topical(50)
    question_map, mapped = fit(questions, np.zeros(50, int))
    assert torch.isfinite(mapped).all()
    torch.testing.assert_close(question_map.compare(questions, None, 0).categories, torch.ones(50, 1))


def test_features_of_the_training_questions():
    questions, topic = topical()
    question_map, mapped = fit(questions, topic)
    assert mapped.shape == (300, len(question_map.features.variances))
    torch.testing.assert_close(mapped.mean(0), torch.zeros(mapped.shape[1]), atol=1e-4, rtol=0)
    variances = question_map.features.variances
    rounding = 1e-3 * variances[0].item()
    torch.testing.assert_close(mapped.T @ mapped, torch.diag(variances), atol=rounding, rtol=0)


def test_a_question_by_itself_is_mapped_as_among_others():
    questions, topic = topical()
    question_map, _ = fit(questions, topic)
    together = question_map.compare(questions, None, 0)
    alone = question_map.compare(questions.rows(np.array([7])), None, 0)
    for part in ("kernel", "features", "nearness", "categories", "support"):
        torch.testing.assert_close(getattr(alone, part), getattr(together, part)[7:8], atol=1e-5, rtol=0)


def test_a_known_category_is_believed_as_far_as_it_is_trusted():
    questions, topic = topical()
    question_map, _ = fit(questions, topic)
    possible = torch.tensor([[False, True, False], [True, True, True]])
    two = questions.rows(np.flatnonzero(topic == 0)[:2])
    guessed = question_map.compare(two, possible, 0.0).guessed
    half = question_map.compare(two, possible, 0.5).guessed
    whole = question_map.compare(two, possible, 1.0).guessed
    assert guessed[0].argmax() == 0
    torch.testing.assert_close(whole, torch.stack([torch.tensor([0.0, 1.0, 0.0]), guessed[1]]))
    torch.testing.assert_close(half, (guessed + whole) / 2)


def test_nothing_is_known_of_the_category_of_a_text_from_elsewhere():
    questions, topic = topical()
    question_map, _ = fit(questions, topic)
    elsewhere = replace(questions, vectors=questions.vectors + 50).rows(np.array([0]))
    compared = question_map.compare(elsewhere, None, 0)
    frequency = torch.from_numpy(np.bincount(topic) / 300).float()[None]
    torch.testing.assert_close(compared.categories, frequency)
    assert compared.support.item() < 1e-6


def landmarks_of(question_map: QuestionMap, questions: Questions) -> np.ndarray:
    """Which of `questions`, all of other vectors, the landmarks are."""
    scales = question_map.scales
    vectors = question_map.landmarks[:, :8] / scales.vector_scale + scales.vector_mean
    return torch.cdist(vectors, torch.from_numpy(questions.vectors)).argmin(1).numpy()


def test_landmarks_do_not_depend_on_the_order_of_questions():
    questions, topic = topical()
    order = np.random.default_rng(4).permutation(300)
    first, again = fit(questions, topic)[0], fit(questions.rows(order), topic[order])[0]
    assert landmarks_of(first, questions).tolist() == landmarks_of(again, questions).tolist()
    assert len(set(landmarks_of(first, questions))) == 60


def test_a_new_question_displaces_at_most_one_landmark():
    questions, topic = topical()
    before = fit(questions.rows(np.arange(299)), topic[:299])[0]
    after = fit(questions, topic)[0]
    kept = set(landmarks_of(before, questions)) & set(landmarks_of(after, questions))
    assert len(kept) >= 59


def test_a_text_that_comes_twice_is_one_landmark():
    questions, topic = topical(20)
    twice = np.repeat(np.arange(20), 2)
    question_map, mapped = fit(questions.rows(twice), topic[twice])
    assert question_map.landmarks.shape[0] == 20
    torch.testing.assert_close(mapped[::2], mapped[1::2])


def test_half_a_character_in_a_text():
    """A lone surrogate, as a cut JSON string brings it."""
    questions, topic = topical(20)
    texts = questions.texts.copy()
    texts[0] = "half of \ud83d"
    assert fit(replace(questions, texts=texts), topic)[0].landmarks.shape[0] == 20


def test_questions_that_read_alike_but_are_of_another_category_come_apart():
    """The more, the more the category weighs. Vectors tell the category by a small difference only."""
    rng = np.random.default_rng(5)
    category = rng.integers(0, 2, 400)
    vectors = rng.standard_normal((400, 4)).astype(np.float32)
    vectors[:, 0] = (category - 0.5) * 0.8
    questions = Questions(np.array(["q " + "bcdfghjklm"[i % 10] * 3 + str(i) for i in range(400)], object), vectors)

    def apart(weight: float) -> float:
        """Mean kernel of pairs of one category, less that of pairs of two."""
        _, mapped = fit(questions, category, landmarks=400, category_weight=weight)
        kernel = mapped @ mapped.T
        same = torch.from_numpy(category[:, None] == category)
        return (kernel[same].mean() - kernel[~same].mean()).item()

    assert apart(0.0) < apart(3.0) < apart(12.0)
