"""What is spoilt is held back; what chance explains is not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedder.gate import Rival, Verdict, Version, judge, judge_version, load_training_texts, save_training_texts
from embedder.matrix import CorrectnessMatrix
from embedder.questions import Questions
from embedder.spectral.spectral import SpectralEmbedder

Data = tuple[CorrectnessMatrix, Questions]


def shuffled(matrix: CorrectnessMatrix) -> CorrectnessMatrix:
    """Every training question gets the answers to another."""
    labels, train = matrix.labels.copy(), np.flatnonzero(matrix.splits == "train")
    labels[train] = labels[np.random.default_rng(0).permutation(train)]
    return replace(matrix, labels=labels)


def fitted_on(data: Data, rows: np.ndarray | slice = slice(None), models: int = 12) -> SpectralEmbedder:
    matrix, questions = data
    return SpectralEmbedder().fit(matrix.of_models(matrix.models[:models]).rows(rows), questions.rows(rows))  # type: ignore[arg-type]


def judged(new: SpectralEmbedder, data: Data, before: Version | None = None) -> Verdict:
    matrix, questions = data
    matrix = matrix.of_models(new.models)
    alone = new.predict_proba(questions.rows(matrix.splits == "val").by_text_alone())
    return judge_version(new, matrix, questions, alone, before)


@pytest.fixture(scope="module")
def spoilt(planted: Data) -> SpectralEmbedder:
    return fitted_on((shuffled(planted[0]), planted[1]))


def test_one_more_model_passes(planted: Data) -> None:
    before = Version("before", fitted_on(planted, models=11), None)
    assert judged(fitted_on(planted), planted, before) == Verdict([], holds_back=False)


def test_shuffled_training_labels_are_held_back(planted: Data, spoilt: SpectralEmbedder) -> None:
    verdict = judged(spoilt, planted, Version("before", fitted_on(planted, models=8), None))
    assert verdict.holds_back
    assert verdict.faults[0].startswith("the log-loss on 480 validation answers is 0.")  # of the 8 models both know
    assert "that of before 0." in verdict.faults[0]


def test_the_first_is_not_held_back_whatever_is_wrong(planted: Data, spoilt: SpectralEmbedder) -> None:
    verdict = judged(spoilt, planted)
    assert "their rates by benchmark" in verdict.faults[0]
    assert not verdict.holds_back


def test_what_is_wrong_with_the_one_that_serves_as_well_holds_nothing_back(
    planted: Data, spoilt: SpectralEmbedder
) -> None:
    verdict = judged(spoilt, planted, Version("before", spoilt, None))
    assert verdict.faults
    assert not verdict.holds_back


def test_one_that_knows_none_of_the_models_holds_nothing_back(planted: Data, spoilt: SpectralEmbedder) -> None:
    good = fitted_on(planted)
    good.models = tuple(f"other {name}" for name in good.models)
    verdict = judged(spoilt, planted, Version("before", good, None))
    assert verdict.faults
    assert not verdict.holds_back


def test_a_benchmark_that_joins_does_not_hide_what_is_spoilt(planted: Data, spoilt: SpectralEmbedder) -> None:
    """The version before knows nothing of it."""
    rows = planted[0].benchmarks != "topic0"
    before = Version("before", fitted_on(planted, rows), None)
    assert (
        judged(spoilt, planted, before)
        .faults[0]
        .startswith(f"the log-loss on {12 * (rows & (planted[0].splits == 'val')).sum()} validation answers")
    )
    assert not judged(fitted_on(planted), planted, before).holds_back


def test_questions_that_the_one_before_was_trained_on_do_not_count(
    planted: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were moved to the val split since."""
    matrix, questions = planted
    new, old = (fitted_on((shuffled(matrix), questions)) for _ in range(2))
    val = matrix.splits == "val"
    by_heart = 0.98 * matrix.labels[val] + 0.01
    monkeypatch.setattr(old, "predict_proba", lambda _: by_heart)
    save_training_texts(tmp_path, matrix.texts[val])
    seen, unknown = (Version("before", old, texts) for texts in (load_training_texts(tmp_path), None))
    assert "that of before" in judged(new, planted, unknown).faults[0]
    assert "that of before" not in judged(new, planted, seen).faults[0]
    assert load_training_texts(tmp_path / "of before they were kept") is None


def test_nothing_to_judge_by(planted: Data) -> None:
    matrix, questions = planted
    rows = matrix.splits != "val"
    new = fitted_on(planted, rows)
    assert judged(new, (matrix.rows(rows), questions.rows(rows)), Version("before", new, None)) == Verdict([], False)


# --- by the figures alone


def drawn(probabilities: np.ndarray, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(1000 + seed).random(probabilities.shape) < probabilities).astype(float)


@given(questions=st.integers(0, 40), models=st.integers(1, 5), seed=st.integers(0, 99))
def test_equal_forecasts_are_never_worse(questions: int, models: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    same = rng.random((questions, models))
    labels = np.where(rng.random(same.shape) < 0.2, np.nan, drawn(same, seed))
    assert not any("the other" in fault for fault in judge(labels, same, [Rival("the other", same, same)]))


@given(seed=st.integers(0, 99))
def test_the_order_of_the_questions_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ours, theirs = rng.random((2, 30, 3))
    labels, order = drawn(theirs, seed), rng.permutation(30)
    assert judge(labels, ours, [Rival("the other", theirs, ours)]) == judge(
        labels[order], ours[order], [Rival("the other", theirs[order], ours[order])]
    )


@pytest.mark.parametrize(("questions", "faults"), [(6, 0), (7, 1)])
def test_six_questions_prove_nothing(questions: int, faults: int) -> None:
    labels = np.ones((questions, 50))
    assert len(judge(labels, labels - 0.01, [Rival("the other", labels - 0.01, labels - 0.5)])) == faults


def test_what_is_worse_by_next_to_nothing_is_not_worse() -> None:
    truth = np.random.default_rng(0).uniform(0.1, 0.9, (2000, 20))
    assert judge(drawn(truth), truth, [Rival("the other", truth, 0.98 * truth + 0.01)]) == []


@pytest.mark.parametrize(("sharper", "faults"), [(1.0, 0), (2.5, 1), (0.3, 1)])
def test_probabilities_that_mean_something_else(sharper: float, faults: int) -> None:
    log_odds = np.random.default_rng(0).normal(0, 1.5, (300, 10))
    told = 1 / (1 + np.exp(-sharper * log_odds))
    found = judge(drawn(1 / (1 + np.exp(-log_odds))), told, [])
    assert len(found) == faults
    assert all(sentence.startswith("the probabilities are off by ") for sentence in found)
