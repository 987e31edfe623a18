"""From answers to embeddings and routes, with an encoder that needs no weights."""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from shutil import rmtree
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from assets.embedding.embedder import CODE_VERSION, embedder
from assets.embedding.question_embeddings import question_embeddings
from assets.embedding.serving import NoEmbedder, load_serving, open_router, serving_version
from assets.evaluation.routing import routing
from assets.inputs.versions import serve, tell_held_back, versions
from assets.inputs.workspace import Workspace
from assets.matrix.correctness_matrix import build_correctness_matrix
from assets.matrix.reading import correctness
from embedder.matrix import CorrectnessMatrix
from embedder.spectral.spectral import SpectralEmbedder
from warehouse.database.read import query

Materialize = Callable[..., dict[str, Any]]
Versions = tuple[str, Callable[[str], str]]  # one, and what makes the next once a model more has answered


def test_before_the_first_there_is_none(workspace: Workspace) -> None:
    with pytest.raises(NoEmbedder, match="run `embedllm run`"):
        serving_version(workspace)


def test_same_data_same_version_fitted_once(answered: Workspace, materialize: Materialize) -> None:
    first = materialize(embedder)
    folder = answered.embedders / first["version"]
    written = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = materialize(embedder)
    assert (again["version"], again["data_version"]) == (first["version"], first["version"])
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == written
    assert first["dagster/row_count"] == 2
    rows = query(answered.database, "SELECT embedder, models, serving FROM embedders").to_pylist()
    assert rows == [{"embedder": first["version"], "models": 2, "serving": True}]


def test_other_answers_another_version_which_then_serves(
    answered: Workspace, answer: Callable[..., None], materialize: Materialize
) -> None:
    first = materialize(embedder)["version"]
    answer("sums", "ash", "1" * 30)
    second = materialize(embedder)["version"]
    assert second != first
    assert serving_version(answered) == second
    rows = query(answered.database, "SELECT embedder, models, serving FROM embedders ORDER BY serving").to_pylist()
    assert rows == [
        {"embedder": first, "models": 2, "serving": False},
        {"embedder": second, "models": 3, "serving": True},
    ]


def test_other_categories_another_version(
    answered: Workspace, answer: Callable[..., None], materialize: Materialize
) -> None:
    """The embedder learns what kind of question a text is."""
    first = materialize(embedder)["version"]
    answer("sums", "elm", "1" * 30, category="additions")
    assert materialize(embedder)["version"] != first


def test_near_are_those_whose_log_odds_differ_little(answered: Workspace, materialize: Materialize) -> None:
    """Distance is the root mean square difference of the log-odds over the training questions."""
    materialize(embedder)
    served = load_serving(answered)
    fitted = served.embedder
    assert isinstance(fitted, SpectralEmbedder)
    train = served.questions.rows(served.matrix.splits == "train")
    elm, oak = (fitted.coordinates(train).astype(float) @ fitted.model_embeddings.T).T
    rows = query(answered.database, "SELECT model, other, distance FROM model_similarity ORDER BY model").to_pylist()
    assert [(row["model"], row["other"]) for row in rows] == [("elm", "org/oak"), ("org/oak", "elm")]
    for row in rows:
        assert row["distance"] == pytest.approx(np.sqrt(((elm - oak) ** 2).mean()), rel=0.02)


def test_routes_are_of_the_serving_version(answered: Workspace, materialize: Materialize) -> None:
    version = materialize(embedder)["version"]
    materialize(routing)
    methods = "SELECT DISTINCT embedder, method FROM routing WHERE benchmark = 'all'"
    assert {"embedder": version, "method": "router"} in query(answered.database, methods).to_pylist()
    test_questions = query(answered.database, "SELECT count(*) AS n FROM questions WHERE split = 'test'").to_pylist()
    routed = query(answered.database, "SELECT count(*) AS n FROM routes WHERE method = 'router'").to_pylist()
    assert routed == test_questions


def test_a_new_question_can_be_routed(answered: Workspace, materialize: Materialize) -> None:
    materialize(embedder)
    (choices,) = open_router(answered).rank(["sums: what is number 99?"], top=5)
    assert {choice.model for choice in choices} == {"elm", "org/oak"}
    assert all(0 < choice.probability < 1 for choice in choices)


# --- versions


def rows_of(workspace: Workspace) -> list[dict[str, Any]]:
    return query(workspace.database, "FROM embedders ORDER BY created_at, serving").to_pylist()


def by_version(workspace: Workspace) -> dict[str, dict[str, Any]]:
    return {row["embedder"]: row for row in rows_of(workspace)}


def embeddings_of(workspace: Workspace, version: str) -> dict[str, np.ndarray]:
    rows = workspace.lake.read_table("model_embeddings", version)
    assert rows is not None
    return {row["model"]: np.array(row["embedding"]) for row in rows.to_pylist()}


@pytest.fixture
def one_more(
    fill: Callable[..., Workspace], guess: Callable[[], None], answer: Callable[..., None], materialize: Materialize
) -> tuple[str, str]:
    """Two versions: one, then one fitted with a model more, yew."""

    def answer_all() -> None:
        guess()
        materialize(question_embeddings, embedder)
        add_yew(answer)

    first, second = versions(fill("yew", answer_all, embedder).lake)["embedder"].to_pylist()
    return first, second


def add_yew(answer: Callable[..., None]) -> None:
    draw = np.random.default_rng(9)
    for benchmark, questions in (("sums", 120), ("trees", 150)):
        answer(benchmark, "yew", "".join("1" if number < 0.6 else "0" for number in draw.random(questions)))


def test_a_version_is_recorded_with_what_it_is_made_from_and_how_far_it_is_from_the_last(
    workspace: Workspace, one_more: tuple[str, str]
) -> None:
    first, second = (by_version(workspace)[version] for version in one_more)
    assert first["data_version"] != second["data_version"] == workspace.lake.state()
    assert (first["code_version"], second["code_version"]) == (CODE_VERSION, CODE_VERSION)
    assert second["models"] == first["models"] + 1
    assert (first["aligned_to"], first["drift_distance"], first["drift_predictions"]) == (None, None, None)
    assert second["aligned_to"] == first["embedder"]
    common = [embeddings_of(workspace, version) for version in one_more]
    dimensions = max(len(found["elm"]) for found in common)
    padded = [
        {name: np.r_[e[:-1], np.zeros(dimensions - len(e)), e[-1]] for name, e in found.items()} for found in common
    ]
    distances = [np.linalg.norm(padded[1][name] - padded[0][name]) for name in padded[0]]
    assert second["drift_distance"] == pytest.approx(np.mean(distances), rel=1e-4)
    assert 0 <= second["drift_predictions"] < 0.2


def test_one_model_more_leaves_the_others_where_they_were(workspace: Workspace, one_more: tuple[str, str]) -> None:
    pairs = itertools.combinations(embeddings_of(workspace, one_more[0]).values(), 2)
    spread = np.mean([np.linalg.norm(one - other) for one, other in pairs])
    assert by_version(workspace)[one_more[1]]["drift_distance"] < 0.25 * spread


def test_what_was_rolled_back_is_not_pushed_away_by_the_same_data(
    workspace: Workspace, one_more: tuple[str, str], materialize: Materialize
) -> None:
    first, second = one_more
    serve(workspace.lake, first)
    again = materialize(embedder)
    assert (again["version"], again["serving"], again["data_version"]) == (second, first, first)
    assert serving_version(workspace) == first
    assert [row["embedder"] for row in rows_of(workspace) if row["serving"]] == [first]


def test_after_a_rollback_other_data_make_a_version_that_serves_aligned_to_the_one_that_did(
    workspace: Workspace, one_more: tuple[str, str], answer: Callable[..., None], materialize: Materialize
) -> None:
    first, _ = one_more
    serve(workspace.lake, first)
    answer("sums", "fir", "01" * 60)
    third = materialize(embedder)["version"]
    assert serving_version(workspace) == third
    assert by_version(workspace)[third]["aligned_to"] == first


def test_data_that_are_as_they_once_were_bring_their_version_back(
    workspace: Workspace, one_more: tuple[str, str], materialize: Materialize
) -> None:
    """A model was added and removed again. It is not fitted anew."""
    first, second = one_more
    for benchmark in ("sums", "trees"):
        workspace.lake.supersede(benchmark, "yew", "it left")
    made_at = (workspace.embedders / first / "embedder.json").stat().st_mtime_ns
    assert materialize(embedder)["version"] == first
    assert serving_version(workspace) == first
    assert (workspace.embedders / first / "embedder.json").stat().st_mtime_ns == made_at
    assert versions(workspace.lake)["embedder"].to_pylist() == [second, first]


def test_experiments_go_on_after_a_rollback_to_fewer_models(
    workspace: Workspace, one_more: tuple[str, str], materialize: Materialize
) -> None:
    serve(workspace.lake, one_more[0])
    served = load_serving(workspace)
    assert served.matrix.models == served.embedder.models
    assert "yew" not in served.matrix.models
    materialize(routing)
    assert query(workspace.database, "SELECT DISTINCT embedder FROM routes").to_pylist() == [{"embedder": one_more[0]}]


def damage(workspace: Workspace, version: str) -> None:
    tensors = next((workspace.embedders / version).glob("*.safetensors"))
    tensors.write_bytes(tensors.read_bytes()[:1000])


def test_beside_a_damaged_version_the_new_one_has_axes_of_its_own(
    guessed: Workspace, answer: Callable[..., None], materialize: Materialize, caplog: pytest.LogCaptureFixture
) -> None:
    first = serving_version(guessed)
    damage(guessed, first)
    add_yew(answer)
    second = materialize(embedder)["version"]
    assert (serving_version(guessed), by_version(guessed)[second]["aligned_to"]) == (second, None)
    assert by_version(guessed)[second]["drift_distance"] is None
    (warning,) = [record.message for record in caplog.records if record.name == "assets.embedding.embedder"]
    assert warning.startswith(f"{second} has axes of its own, as the version before cannot be loaded: ")
    assert first in warning


def test_a_damaged_version_is_fitted_again_as_it_was(
    workspace: Workspace, one_more: tuple[str, str], materialize: Materialize, caplog: pytest.LogCaptureFixture
) -> None:
    """On the axes it had, so that nobody moves."""
    before, recorded = embeddings_of(workspace, one_more[1]), by_version(workspace)[one_more[1]]
    damage(workspace, one_more[1])
    materialize(embedder)
    assert "not a safetensors file" in caplog.text
    for name, embedding in embeddings_of(workspace, one_more[1]).items():
        np.testing.assert_array_equal(embedding, before[name])
    again = by_version(workspace)[one_more[1]]
    for column in ("aligned_to", "drift_distance", "drift_predictions", "val_log_loss", "serving"):
        assert again[column] == recorded[column]


def test_another_encoder_has_axes_of_its_own(guessed: Workspace, encoder: Any, materialize: Materialize) -> None:
    """Even where it gives the same vectors: a version is only of use with the encoder it names."""
    first, encoder.name = serving_version(guessed), "other@1"
    materialize(question_embeddings)
    second = materialize(embedder)["version"]
    assert serving_version(guessed) == second != first
    assert by_version(guessed)[second]["aligned_to"] is None


def test_without_common_models_a_version_has_axes_of_its_own(
    answered: Workspace, answer: Callable[..., None], materialize: Materialize
) -> None:
    materialize(embedder)
    for benchmark, model in answered.lake.pairs():
        answered.lake.supersede(benchmark, model, "it left")
    answer("sums", "ash", "01" * 15)
    answer("sums", "yew", "0" * 30)
    second = materialize(embedder)["version"]
    assert (serving_version(answered), by_version(answered)[second]["aligned_to"]) == (second, None)


def test_versions_of_before_all_this_was_recorded(
    guessed: Workspace, answer: Callable[..., None], materialize: Materialize
) -> None:
    """Homes of earlier releases."""
    first, new = serving_version(guessed), ["data_version", "code_version", "aligned_to", "drift_distance"]
    guessed.lake.write_table("embedders", versions(guessed.lake).drop_columns([*new, "drift_predictions"]))
    config = guessed.embedders / first / "embedder.json"
    described = json.loads(config.read_text())
    for name in (*new, "drift_predictions"):
        del described["info"][name]
    config.write_text(json.dumps(described))
    add_yew(answer)
    second = materialize(embedder)["version"]
    assert by_version(guessed)[second]["aligned_to"] == first
    assert by_version(guessed)[first]["data_version"] is None


# --- the gate


@pytest.fixture
def two_kinds(
    workspace: Workspace, fill: Callable[..., Workspace], answer: Callable[..., None], materialize: Materialize
) -> tuple[str, Callable[[str], str]]:
    """The version fitted on four models, each good at one benchmark, bad at the other; and what makes the next version,
    once one more such model has answered."""

    def answer_all(*models: str) -> None:
        for model in models:
            rng = np.random.default_rng(crc32(model.encode()))
            good = {"sums": 0.9, "trees": 0.2} if len(model) % 2 else {"sums": 0.2, "trees": 0.9}
            for benchmark, share in good.items():
                answer(benchmark, model, "".join("1" if number < share else "0" for number in rng.random(200)))

    def add(model: str) -> str:
        answer_all(model)
        return materialize(build_correctness_matrix(workspace.registry), question_embeddings, embedder)["version"]

    fill("two kinds", lambda: answer_all("ash", "rowan", "pine", "lime"), embedder)
    return serving_version(workspace), add


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on embedders are fitted on shuffled training labels."""

    def shuffled(workspace: Workspace) -> CorrectnessMatrix:
        matrix = correctness(workspace)
        labels, train = matrix.labels.copy(), np.flatnonzero(matrix.splits == "train")
        labels[train] = labels[np.random.default_rng(0).permutation(train)]
        return replace(matrix, labels=labels)

    return lambda: monkeypatch.setattr("assets.embedding.embedder.correctness", shuffled)


def test_one_more_model_serves(workspace: Workspace, two_kinds: Versions) -> None:
    _, add = two_kinds
    second = add("oak")
    assert serving_version(workspace) == second
    assert (by_version(workspace)[second]["verdict"], tell_held_back(workspace.lake)) == (None, None)


def test_a_spoilt_version_is_kept_and_the_one_before_goes_on_serving(
    workspace: Workspace,
    two_kinds: Versions,
    spoil: Callable[[], None],
    materialize: Materialize,
) -> None:
    first, add = two_kinds
    spoil()
    second = add("oak")
    assert (workspace.embedders / second / "embedder.json").exists()
    assert by_version(workspace)[second]["held_back"]
    assert (serving_version(workspace), load_serving(workspace).version) == (first, first)
    told = tell_held_back(workspace.lake)
    assert told
    assert told.startswith(
        f"{second} is kept, but {first} goes on serving. What is wrong with the new one: the log-loss on "
    )
    assert f"`embedllm embedders serve {second}`" in told
    again = materialize(embedder)
    assert (again["serving"], again["data_version"]) == (first, first)
    assert again["verdict"] == by_version(workspace)[second]["verdict"]


def test_a_spoilt_version_that_was_let_serve_goes_on_serving(
    workspace: Workspace,
    two_kinds: Versions,
    spoil: Callable[[], None],
    materialize: Materialize,
) -> None:
    _, add = two_kinds
    spoil()
    second = add("oak")
    serve(workspace.lake, second)
    assert materialize(embedder)["data_version"] == second
    assert tell_held_back(workspace.lake) is None


def test_a_good_version_serves_after_one_that_was_held_back(
    workspace: Workspace,
    two_kinds: Versions,
    spoil: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, add = two_kinds
    spoil()
    add("oak")
    monkeypatch.setattr("assets.embedding.embedder.correctness", correctness)
    third = add("elms")
    assert serving_version(workspace) == third
    assert by_version(workspace)[third]["aligned_to"] == first


def test_the_first_serves_whatever_is_wrong_with_it(
    answered: Workspace, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedder.gate.WORSE", -1.0)
    first = materialize(embedder)["version"]
    assert serving_version(answered) == first
    assert by_version(answered)[first]["verdict"].startswith("the log-loss on ")
    assert tell_held_back(answered.lake) is None


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "of another encoder"])
def test_nothing_is_held_back_in_favour_of_what_cannot_serve(
    workspace: Workspace,
    two_kinds: Versions,
    spoil: Callable[[], None],
    materialize: Materialize,
    encoder: Any,
    lost: bool,
) -> None:
    first, add = two_kinds
    spoil()
    if lost:
        second = add("oak")
        rmtree(workspace.embedders / first)
        materialize(embedder)
    else:
        encoder.name = "counting@2"
        second = add("oak")
    assert serving_version(workspace) == second
