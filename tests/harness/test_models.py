from pathlib import Path
from typing import Any

import pytest

from harness import models
from harness.models import LoadedModel
from harness.registry import ModelEntry


def loaded(folder: Path, cache: Path, **fields: Any) -> LoadedModel:
    return LoadedModel(
        ModelEntry(name="tiny", args={"pretrained": str(folder)}, **fields), device="cpu", cache_dir=cache
    )


def test_weights_are_not_loaded_until_they_are_needed(tmp_path: Path) -> None:
    with loaded(tmp_path / "missing", tmp_path) as model:
        assert model.name == "tiny"


def test_the_gpu_that_answers_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.get_device_name", {"cuda:1": "NVIDIA H100"}.__getitem__)
    here = ModelEntry(name="here", args={"pretrained": "m"})
    server = ModelEntry(name="served", backend="local-completions", args={"model": "m", "base_url": "http://server"})

    def gpu(entry: ModelEntry, device: str) -> str | None:
        return LoadedModel(entry, device=device, cache_dir=tmp_path).gpu

    assert gpu(here, "cuda:1") == "NVIDIA H100"
    assert gpu(here, "mps") == "mps"
    assert gpu(here, "cpu") is None
    assert gpu(server, "cuda:1") is None


def test_batch_of_a_cpu_keeps_the_logits_within_bounds(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocabulary, tokens = 23, 128
    assert loaded(model_dir, tmp_path).lm.batch_size == 64  # type: ignore[attr-defined]
    monkeypatch.setattr(models, "CPU_LOGITS", 5 * vocabulary * tokens)
    assert loaded(model_dir, tmp_path).lm.batch_size == 5  # type: ignore[attr-defined]
    assert loaded(model_dir, tmp_path, batch_size=7).lm.batch_size == 7  # type: ignore[attr-defined]


def test_text_is_encoded_as_lm_eval_encodes_it(model_dir: Path, tmp_path: Path) -> None:
    from lm_eval.models.huggingface import HFLM

    theirs: Any = HFLM(pretrained=str(model_dir), device="cpu")
    ours: Any = loaded(model_dir, tmp_path).lm
    for text in ("What is Rome", "<bos> Rome", "", "unheard of", "What is Rome"):
        assert ours.tok_encode(text) == theirs.tok_encode(text)
    assert ours.tok_encode("Rome", add_special_tokens=False) == theirs.tok_encode("Rome", add_special_tokens=False)
    assert ours.tok_encode("What is Rome", left_truncate_len=1) == theirs.tok_encode("Rome", add_special_tokens=False)


def test_models_of_different_tokenizers_do_not_share_what_is_encoded(
    model_dir: Path, tmp_path: Path, save_model: Any
) -> None:
    save_model(tmp_path / "other")
    path = tmp_path / "other" / "tokenizer.json"
    path.write_text(path.read_text().replace('"Rome"', '"Roma"'))
    one: Any = loaded(model_dir, tmp_path).lm
    other: Any = loaded(tmp_path / "other", tmp_path).lm

    assert one.tok_encode("Rome") == [2, 20]
    assert other.tok_encode("Rome") == [2, 3]  # unknown
    assert one.tok_encode("Rome") == [2, 20]
