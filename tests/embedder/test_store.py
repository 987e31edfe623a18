import json
from dataclasses import replace

import numpy as np
import pytest

from embedder.baselines.knn import KNN
from embedder.baselines.mf import MatrixFactorization
from embedder.baselines.rates import Majority, ModelBenchmarkMean, ModelMean
from embedder.spectral.spectral import SpectralEmbedder
from embedder.store import EmbedderInfo, StoreError, load_embedder, save_embedder

INFO = EmbedderInfo(
    embedder="mf-1",
    encoder="all-MiniLM-L6-v2@53aa51172d14",
    created_at="2026-01-02T03:04:05+00:00",
    seed=0,
    questions=480,
    val_accuracy=0.9,
    val_log_loss=None,
    seconds=1.5,
    data_version="0123456789abcdef",
    code_version="3",
    aligned_to="mf-0",
    drift_distance=0.01,
    drift_predictions=0.002,
)


@pytest.fixture
def saved(planted, tmp_path):
    matrix, questions = planted
    save_embedder(tmp_path / "mf-1", MatrixFactorization(dimensions=4).fit(matrix, questions), INFO)
    return tmp_path / "mf-1"


@pytest.mark.parametrize(
    "predictor",
    [
        SpectralEmbedder(landmarks=100, rank=5),
        MatrixFactorization(dimensions=4, alpha=0.1),
        KNN(k_unvalidated=7),
        ModelBenchmarkMean(),
        ModelMean(),
        Majority(),
    ],
    ids=lambda p: p.method,
)
def test_what_is_loaded_predicts_the_same(planted, tmp_path, predictor):
    matrix, questions = planted
    predictor.fit(matrix, questions)
    save_embedder(tmp_path, predictor, INFO)
    loaded, info = load_embedder(tmp_path)
    assert info == INFO
    assert type(loaded) is type(predictor)
    assert loaded.models == predictor.models
    np.testing.assert_array_equal(loaded.predict_proba(questions), predictor.predict_proba(questions))
    before, after = predictor.state()[0], loaded.state()[0]
    assert {name: array.shape for name, array in after.items()} == {name: a.shape for name, a in before.items()}


def test_same_embedder_same_bytes(planted, tmp_path):
    matrix, questions = planted
    for name in ("a", "b"):
        save_embedder(tmp_path / name, MatrixFactorization(dimensions=4).fit(matrix, questions, seed=2), INFO)
    contents = [{f.name: f.read_bytes() for f in (tmp_path / name).iterdir()} for name in ("a", "b")]
    assert contents[0] == contents[1]


def test_saving_again_replaces(saved, planted):
    matrix, questions = planted
    save_embedder(saved, ModelMean().fit(matrix, questions), replace(INFO, seed=9))
    loaded, info = load_embedder(saved)
    assert (loaded.method, info.seed) == ("model_mean", 9)
    assert len(list(saved.iterdir())) == 2


def test_a_save_that_dies_before_the_end_leaves_the_old_one(saved, planted, monkeypatch):
    """The new tensors are written, embedder.json is not: the old file is still there and still named."""
    matrix, questions = planted
    before, _ = load_embedder(saved)

    def die(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("embedder.store.json.dumps", die)
    with pytest.raises(KeyboardInterrupt):
        save_embedder(saved, ModelMean().fit(matrix, questions), INFO)
    after, _ = load_embedder(saved)
    np.testing.assert_array_equal(after.predict_proba(questions), before.predict_proba(questions))


def test_vectors_of_another_encoder_are_refused(saved):
    assert load_embedder(saved, encoder=INFO.encoder)
    with pytest.raises(StoreError, match=r"fitted on vectors of the encoder all-MiniLM-L6-v2@53aa51172d14, but x@1"):
        load_embedder(saved, encoder="x@1")


def test_nothing_there(tmp_path):
    with pytest.raises(StoreError, match=r"embedder\.json: no such file; there is no fitted embedder here"):
        load_embedder(tmp_path)


def test_tensors_gone(saved):
    next(saved.glob("*.safetensors")).unlink()
    with pytest.raises(StoreError, match=r"safetensors: no such file, though embedder\.json names it"):
        load_embedder(saved)


def edit(saved, change):
    config = json.loads((saved / "embedder.json").read_text())
    change(config)
    (saved / "embedder.json").write_text(json.dumps(config))


def test_another_format(saved):
    edit(saved, lambda config: config.update(format=99))
    with pytest.raises(StoreError, match="format 99, this version reads 2"):
        load_embedder(saved)


def test_unknown_method(saved):
    edit(saved, lambda config: config.update(method="oracle"))
    with pytest.raises(StoreError, match="unknown method 'oracle'; known are knn, majority, mf"):
        load_embedder(saved)


def test_a_tensor_of_another_shape(saved):
    edit(saved, lambda config: config["tensors"]["shapes"].update({"P.weight": [12, 5]}))
    with pytest.raises(StoreError, match=r"tensor 'P\.weight' should be \[12, 5\], found \[12, 4\]"):
        load_embedder(saved)


def test_another_number_of_models(saved):
    edit(saved, lambda config: config["learnt"]["models"].pop())
    with pytest.raises(StoreError, match="11 models are named, but the tensors describe 12"):
        load_embedder(saved)


def test_settings_that_do_not_fit_the_tensors(saved):
    edit(saved, lambda config: config["settings"].update(dimensions=5))
    with pytest.raises(StoreError, match="do not fit together"):
        load_embedder(saved)


def test_a_setting_of_another_version(saved):
    edit(saved, lambda config: config["settings"].update(odd=5))
    with pytest.raises(StoreError, match=r"do not fit together \(.*'odd'\); fit the embedder again"):
        load_embedder(saved)


def test_an_entry_missing(saved):
    edit(saved, lambda config: config.pop("settings"))
    with pytest.raises(StoreError, match="lacks 'settings'"):
        load_embedder(saved)


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_not_a_config(saved, content):
    (saved / "embedder.json").write_text(content)
    with pytest.raises(StoreError, match="fit the embedder again"):
        load_embedder(saved)


def test_a_config_of_bytes_that_are_no_text(saved):
    (saved / "embedder.json").write_bytes(bytes(range(128, 256)))
    with pytest.raises(StoreError, match="not JSON"):
        load_embedder(saved)


def test_versions_of_before_drift_was_recorded_load(saved):
    new = ["data_version", "code_version", "aligned_to", "drift_distance", "drift_predictions"]
    edit(saved, lambda config: [config["info"].pop(name) for name in new])
    _, info = load_embedder(saved)
    assert [getattr(info, name) for name in new] == [None] * 5


def test_tensors_cut_short(saved):
    file = next(saved.glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(StoreError, match="not a safetensors file"):
        load_embedder(saved)


def test_tensors_altered(saved):
    file = next(saved.glob("*.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(StoreError, match="SHA-256 is not the one"):
        load_embedder(saved)
