from dataclasses import replace
from zlib import crc32

import numpy as np
import pytest

from embedder.baselines.knn import KNN
from embedder.baselines.rates import ModelBenchmarkMean, ModelMean
from embedder.downstream.forecast import NO_TEST_ANSWERS
from embedder.downstream.robustness import MOST_QUESTIONS, ROBUSTNESS, measure_robustness
from embedder.downstream.text_forms import FORMS, NONSENSE
from embedder.matrix import CorrectnessMatrix
from embedder.questions import Questions

OPTIONS = "\nOptions:\nA. yes\nB. no"


def encode(texts):
    """Two numbers: birds are told from fish as long as the options are there; without them all are fish."""
    rows = [[1.0, 0.0] if "Bird" in text and "A. yes" in text else [0.0, 1.0] for text in texts]
    return np.array(rows, np.float32)


def make_birds_and_fish(*, options=OPTIONS, count=40, test_from=30):
    """The first model is right about birds, the second about fish, which is asked two in three birds."""
    texts = [f"{kind} {number}?{options}" for kind in ("Bird", "Fish") for number in range(count)]
    of_bird = np.array(["Bird" in text for text in texts])
    labels = np.stack([of_bird, ~of_bird], axis=1).astype(np.float32)
    number = np.tile(np.arange(count), 2)
    labels[(number % 3 == 2) & of_bird, 1] = np.nan
    names = np.where(of_bird, "birds", "fish").astype(object)
    matrix = CorrectnessMatrix(
        labels=labels,
        models=("ornithologist", "zangler"),
        question_ids=np.array([f"q{row:03d}" for row in range(len(texts))], object),
        benchmarks=names,
        categories=names,
        splits=np.where(number >= test_from, "test", "train").astype(object),
        texts=np.array(texts, object),
    )
    return matrix, Questions(matrix.texts, encode(texts), matrix.benchmarks)


def fit(matrix, questions):
    return KNN(k_unvalidated=10).fit(matrix, questions)


@pytest.fixture(scope="module")
def measured():
    matrix, questions = make_birds_and_fish()
    baselines = [ModelBenchmarkMean(), ModelMean()]
    table = measure_robustness(matrix, questions, fit(matrix, questions), baselines, encode, "v1", seed=3)
    assert table.schema == ROBUSTNESS
    return {(row["form"], row["method"]): row for row in table.to_pylist()}


def test_a_row_a_form_and_method(measured):
    methods = ("embedder", "model_benchmark_mean", "model_mean")
    assert list(measured) == [(form, method) for form in (*FORMS, *NONSENSE) for method in methods]
    assert {row["embedder"] for row in measured.values()} == {"v1"}


def test_a_question_that_is_not_recognised_goes_to_the_wrong_model(measured):
    """Of 20 test questions, ten are of birds; three of these can only go to the model that is right."""
    asked, bare = measured["as_asked", "embedder"], measured["no_options", "embedder"]
    assert (asked["n"], asked["routing_accuracy"], asked["routing_loss"]) == (20, 1, 0)
    assert bare["n"] == 20
    assert bare["routing_accuracy"] == pytest.approx(13 / 20)
    assert bare["asked_routing_accuracy"] == 1
    assert bare["routing_loss"] == pytest.approx(7 / 20)
    assert 0 < bare["routing_loss_low"] < 7 / 20 < bare["routing_loss_high"] < 1
    assert bare["overconfidence"] == pytest.approx(bare["routing_forecast"] - 13 / 20)
    assert bare["log_loss"] == pytest.approx(bare["asked_log_loss"] + bare["log_loss_rise"])
    assert bare["log_loss_rise_low"] > 1
    assert (asked["accuracy"], asked["ece"]) == (1, 0)
    assert bare["accuracy"] == pytest.approx(20 / 37)  # of the fish; none of the 17 of birds


def test_a_form_that_is_recognised_loses_nothing(measured):
    one_line, asked = measured["one_line", "embedder"], measured["as_asked", "embedder"]
    for name in ("routing_accuracy", "routing_forecast", "log_loss", "accuracy"):
        assert one_line[name] == asked[name]
    assert (one_line["log_loss_rise"], one_line["log_loss_rise_low"], one_line["log_loss_rise_high"]) == (0, 0, 0)


def test_methods_that_do_not_read_the_text_never_change(measured):
    for method in ("model_benchmark_mean", "model_mean"):
        for name in ("routing_accuracy", "log_loss", "mean_forecast", "routing_rate"):
            assert len({measured[form, method][name] for form in FORMS}) == 1
    assert measured["typed", "model_benchmark_mean"]["routing_accuracy"] == 1


def test_nonsense_has_forecasts_and_rates_only(measured):
    for kind in NONSENSE:
        row = measured[kind, "model_mean"]
        assert row["mean_forecast"] == pytest.approx(row["mean_rate"], abs=1e-6)
        assert row["routing_forecast"] == pytest.approx(row["routing_rate"], abs=1e-6)
        assert (row["changed"], row["routing_accuracy"], row["log_loss_rise"]) == (None, None, None)
        assert measured[kind, "embedder"]["routing_forecast"] == 1  # all nonsense is fish
        # Of no benchmark: the models' rates.
        assert measured[kind, "model_benchmark_mean"]["mean_forecast"] == pytest.approx(row["mean_rate"], abs=1e-6)


def test_only_what_changes_is_measured_and_only_that_is_encoded():
    """Half of the test questions have options to take away."""
    matrix, questions = make_birds_and_fish()
    texts = np.where(matrix.benchmarks == "fish", [text.partition("\n")[0] for text in matrix.texts], matrix.texts)
    questions = Questions(texts.astype(object), questions.vectors, questions.benchmarks)
    matrix = replace(matrix, texts=questions.texts)
    seen = []
    rows = measure_robustness(
        matrix,
        questions,
        fit(matrix, questions),
        [],
        lambda texts: seen.append(list(texts)) or encode(texts),
        "v1",
    ).to_pylist()
    bare = next(row for row in rows if row["form"] == "no_options")
    assert (bare["changed"], bare["n"]) == (0.5, 10)
    assert bare["routing_accuracy"] == pytest.approx(3 / 10)
    assert ["Bird" in text for text in seen[0]] == [True] * 10
    assert seen[0] == [f"Bird {number}?" for number in range(30, 40)]


def test_a_form_that_changes_nothing_has_the_reason():
    matrix, questions = make_birds_and_fish(options="")
    rows = measure_robustness(matrix, questions, fit(matrix, questions), [ModelMean()], encode, "v1").to_pylist()
    unchanged = [row for row in rows if row["form"] in ("no_options", "roman_labels", "no_cues", "one_line")]
    assert len(unchanged) == 8
    for row in unchanged:
        assert (row["changed"], row["n"], row["log_loss"]) == (0, 0, None)
        assert row["reason"] == "no test question has what this form changes"


def test_examples_are_training_questions_of_the_same_benchmark():
    matrix, questions = make_birds_and_fish()
    seen = []
    measure_robustness(
        matrix, questions, fit(matrix, questions), [], lambda texts: seen.extend(texts) or encode(texts), "v1"
    )
    prompts = [text for text in seen if text.count("\n\n") == 3]
    assert len(prompts) == 20
    for prompt in prompts:
        *examples, asked = prompt.split("\n\n")
        assert len(set(examples)) == 3
        assert {example[:4] for example in examples} == {asked[:4]}
        assert all(int(example.split()[1].rstrip("?")) < 30 for example in examples)


def test_many_questions_are_thinned_by_benchmark():
    matrix, questions = make_birds_and_fish(count=500, test_from=100)
    fewer = (matrix.splits == "train") | (matrix.benchmarks == "birds") | (np.arange(1000) % 3 == 0)
    matrix, questions = matrix.rows(fewer), questions.rows(fewer)
    seen = []

    def remember(texts):
        seen.append(list(texts))
        return encode(texts)

    arguments = (matrix, questions, fit(matrix, questions), [], remember, "v1")
    row = measure_robustness(*arguments).to_pylist()[0]
    assert row["n"] == MOST_QUESTIONS
    birds = sum("bird" in text.lower() for text in seen[0])
    assert birds == pytest.approx(300, abs=2)  # of 400 and 133
    first = list(seen)
    seen.clear()
    measure_robustness(*arguments)
    assert seen == first


def test_of_another_split_and_without_answers():
    matrix, questions = make_birds_and_fish()
    splits = np.where(matrix.splits == "test", "val", matrix.splits)
    matrix = replace(matrix, splits=splits)
    arguments = (matrix, questions, fit(matrix, questions), [ModelMean()], encode, "v1")
    assert measure_robustness(*arguments, split="val").to_pylist()[0]["n"] == 20
    (row,) = measure_robustness(*arguments).to_pylist()
    assert {name: value for name, value in row.items() if value is not None} == {
        "embedder": "v1",
        "form": "as_asked",
        "method": "embedder",
        "n": 0,
        "reason": NO_TEST_ANSWERS,
    }


def test_a_single_question_has_no_interval():
    matrix, questions = make_birds_and_fish(count=3, test_from=2)
    one = (matrix.splits == "train") | (matrix.benchmarks == "fish")
    matrix, questions = matrix.rows(one), questions.rows(one)
    rows = measure_robustness(matrix, questions, fit(matrix, questions), [], encode, "v1").to_pylist()
    bare = next(row for row in rows if row["form"] == "no_options")
    assert (bare["n"], bare["ci_low"], bare["routing_loss_low"], bare["log_loss_rise_high"]) == (1, None, None, None)
    assert bare["log_loss_rise"] == 0


def test_same_seed_same_table_and_progress_ends_at_its_total():
    matrix, questions = make_birds_and_fish()
    told = []

    def scatter(texts):
        return np.array([[crc32(text.encode()) % 7, 1] for text in texts], np.float32)

    tables = [
        measure_robustness(
            matrix,
            questions,
            fit(matrix, questions),
            [ModelMean()],
            scatter,
            "v1",
            seed=seed,
            progress=lambda done, total, label: told.append((done, total)),
        )
        for seed in (1, 1, 2)
    ]
    assert tables[0] == tables[1] != tables[2]
    assert told[:15] == [(done, 15) for done in range(1, 16)]
