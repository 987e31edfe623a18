import numpy as np
import torch

from embedder.baselines.mf import FactorModel, MatrixFactorization


def test_the_matrix_product_is_the_papers_formula():
    """Each pair by itself: two logits = Linear(P[m] * q), s = sigmoid(logit_1 - logit_0)."""
    torch.manual_seed(0)
    model = FactorModel(features=5, models=3, dimensions=4)
    x = torch.randn(6, 5)
    fast = torch.sigmoid(model(x))
    for question in range(6):
        for m in range(3):
            logits = model.classifier(model.P.weight[m] * model.question(x[question]))
            expected = logits.softmax(0)[1]
            torch.testing.assert_close(fast[question, m], expected)


def test_has_the_papers_parameters():
    shapes = {name: tuple(p.shape) for name, p in FactorModel(768, 112, 232).named_parameters()}
    assert shapes == {
        "P.weight": (112, 232),
        "question.weight": (232, 768),
        "question.bias": (232,),
        "classifier.weight": (2, 232),
        "classifier.bias": (2,),
    }


def test_no_noise_in_use(planted):
    matrix, questions = planted
    fitted = MatrixFactorization(dimensions=4, alpha=1.0).fit(matrix, questions)
    np.testing.assert_array_equal(fitted.predict_proba(questions), fitted.predict_proba(questions))


def test_model_embeddings_are_nan_for_a_model_without_answers(make_matrix, make_questions):
    matrix = make_matrix([[1, None], [0, None]], splits=["train", "train"])
    fitted = MatrixFactorization(dimensions=4).fit(matrix, make_questions(np.eye(2)))
    embeddings = fitted.model_embeddings
    assert embeddings.shape == (2, 4)
    assert np.isfinite(embeddings[0]).all()
    assert np.isnan(embeddings[1]).all()


def test_models_alike_have_embeddings_alike(planted):
    """A copy of a model is its nearest neighbour by cosine."""
    matrix, questions = planted
    labels = np.hstack([matrix.labels, matrix.labels[:, :1]])
    twin = type(matrix)(
        labels,
        (*matrix.models, "zz"),
        matrix.question_ids,
        matrix.benchmarks,
        matrix.categories,
        matrix.splits,
        matrix.texts,
    )
    embeddings = MatrixFactorization(dimensions=16).fit(twin, questions).model_embeddings
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    assert (unit[:-1] @ unit[-1]).argmax() == 0


def test_distance_between_embeddings_means_disagreement(planted):
    matrix, questions = planted
    embeddings = MatrixFactorization().fit(matrix, questions).model_embeddings
    one, other = np.triu_indices(len(matrix.models), 1)
    distance = np.linalg.norm(embeddings[one] - embeddings[other], axis=1)
    disagreement = (matrix.labels[:, one] != matrix.labels[:, other]).mean(axis=0)
    assert np.corrcoef(distance, disagreement)[0, 1] > 0.8


def test_leaves_the_callers_random_numbers_alone(planted):
    matrix, questions = planted
    torch.manual_seed(11)
    expected = torch.rand(1)
    torch.manual_seed(11)
    MatrixFactorization(dimensions=4).fit(matrix, questions, seed=3)
    assert torch.rand(1) == expected


def test_another_seed_is_another_start(planted):
    matrix, questions = planted
    first, second = (MatrixFactorization(dimensions=4).fit(matrix, questions, seed=s) for s in (0, 1))
    assert not np.array_equal(first.model_embeddings, second.model_embeddings)
