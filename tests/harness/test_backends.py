"""Models in folders that cannot answer, though they load: each is refused with what is wrong and what to do."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.errors import ModelIncomplete, NotNumbers, PromptTooLong, TaskFaulty
from harness.evaluate import LoadedModel, TaskIndex, evaluate
from harness.registry import BenchmarkEntry, ModelEntry

CAPITALS = BenchmarkEntry(name="capitals", tasks=("capitals",), metric="acc")
SUMS = BenchmarkEntry(name="sums", tasks=("sums",), metric="exact_match", filter="flexible")


@pytest.fixture
def folder(model_dir: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to be spoilt."""
    return shutil.copytree(model_dir, tmp_path / "model")


@pytest.fixture
def ask(folder: Path, tasks_dir: Path, tmp_path: Path) -> Callable[..., Any]:
    def ask(benchmark: BenchmarkEntry = CAPITALS, fields: dict[str, Any] | None = None, **args: Any) -> Any:
        entry = ModelEntry(name="tiny", args={"pretrained": str(folder), **args}, **(fields or {}))
        return evaluate(LoadedModel(entry, device="cpu", cache_dir=tmp_path / "cache"), benchmark, TaskIndex(tasks_dir))

    return ask


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def test_tensors_that_are_missing_are_not_made_up(ask: Callable[..., Any], folder: Path) -> None:
    def drop(weights: dict[str, torch.Tensor]) -> None:
        del weights["transformer.h.0.attn.c_attn.weight"]

    change_weights(folder, drop)

    with pytest.raises(ModelIncomplete, match=r"lacks 1 tensors of the model \(transformer.h.0.attn.c_attn.weight\)"):
        ask()


@pytest.mark.parametrize("value", [math.nan, 3e38])
@pytest.mark.parametrize("benchmark", [CAPITALS, SUMS])
def test_weights_that_are_no_numbers_or_overflow(
    ask: Callable[..., Any], folder: Path, benchmark: BenchmarkEntry, value: float
) -> None:
    def spoil(weights: dict[str, torch.Tensor]) -> None:
        weights["transformer.ln_f.bias"] = torch.full((8,), value)
        weights["transformer.wte.weight"][:] = torch.tensor([value, -value] * 4)

    change_weights(folder, spoil)

    with pytest.raises(NotNumbers, match=rf"on benchmark '{benchmark.name}'.*load the model in another dtype"):
        ask(benchmark)


@pytest.mark.parametrize("benchmark", [CAPITALS, SUMS])
def test_a_folder_without_a_tokenizer(ask: Callable[..., Any], folder: Path, benchmark: BenchmarkEntry) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()

    with pytest.raises(ModelIncomplete, match=r"tokenizer.*; put the model's own tokenizer files into its folder"):
        ask(benchmark)


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_of_git_lfs_is_no_file(ask: Callable[..., Any], folder: Path, file: str) -> None:
    (folder / file).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 1\n")

    with pytest.raises(
        ModelIncomplete, match=rf"{folder}/{file} is a pointer of git-lfs .*run `git lfs pull` in {folder}"
    ):
        ask()


def test_weights_that_are_empty_or_torn(ask: Callable[..., Any], folder: Path) -> None:
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelIncomplete, match=r"a file of its weights is damaged or incomplete.*download"):
        ask()
    weights.write_bytes(b"")
    with pytest.raises(ModelIncomplete, match=f"{weights} is empty; download or export the model again"):
        ask()


@pytest.mark.parametrize("benchmark", [CAPITALS, SUMS])
def test_a_tokenizer_of_another_model(ask: Callable[..., Any], folder: Path, benchmark: BenchmarkEntry) -> None:
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"vocab_size": 23', '"vocab_size": 15'))
    change_weights(
        folder,
        lambda weights: weights.update({"transformer.wte.weight": weights["transformer.wte.weight"][:15].clone()}),
    )

    with pytest.raises(ModelIncomplete, match=r"has a token number 1[5-9].* embeddings for 15 tokens only"):
        ask(benchmark)


def test_long_prompts_are_counted_or_refused(ask: Callable[..., Any]) -> None:
    assert ask().metadata["truncated"] == "0"
    assert ask(max_length=10).metadata["truncated"] == "0"  # <bos>, eight words and ?, and a choice: 11 tokens, 10 read
    cut = ask(max_length=9)
    assert (cut.answers.num_rows, cut.metadata["truncated"]) == (4, "4")

    with pytest.raises(PromptTooLong, match=r"a prompt has 11 tokens and the model takes 10 .*`truncation: refuse`"):
        ask(max_length=9, fields={"truncation": "refuse"})


def test_long_prompts_of_free_text_are_counted_or_refused(ask: Callable[..., Any]) -> None:
    assert ask(SUMS).metadata["truncated"] == "0"
    assert ask(SUMS, max_length=8).metadata["truncated"] == "2"  # five tokens are left for the prompt

    with pytest.raises(PromptTooLong, match=r"and the model takes 5 \('What is .*`truncation: refuse`"):
        ask(SUMS, max_length=8, fields={"truncation": "refuse"})
    with pytest.raises(PromptTooLong, match="3 tokens are to be generated, and prompt and answer together may have 3"):
        ask(SUMS, max_length=3)


def test_truncated_prompts_are_counted_by_an_evaluation_that_goes_on(
    folder: Path, tasks_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.cache.FLUSH_SECONDS", -1.0)
    entry = ModelEntry(name="tiny", args={"pretrained": str(folder), "max_length": 9}, batch_size=1)
    tasks = TaskIndex(tasks_dir)
    evaluate(LoadedModel(entry, device="cpu", cache_dir=tmp_path / "cache"), CAPITALS, tasks)  # and not forgotten
    again = LoadedModel(entry, device="cpu", cache_dir=tmp_path / "cache")
    again.lm.model.register_forward_pre_hook(lambda *_: pytest.fail("it was asked"))  # type: ignore[attr-defined]

    assert evaluate(again, CAPITALS, tasks).metadata["truncated"] == "4"


def test_a_choice_without_tokens(ask: Callable[..., Any], write_task: Callable[..., None], tasks_dir: Path) -> None:
    from tests.harness.conftest import CHOICE

    rows = [{"land": "France", "choices": ["Paris", " "], "label": 0}] * 2
    write_task(tasks_dir, "blank", rows, CHOICE)

    with pytest.raises(TaskFaulty, match=r"has no tokens of its own after the prompt .*give every choice a text"):
        ask(BenchmarkEntry(name="blank", tasks=("blank",), metric="acc"))


def test_a_choice_longer_than_the_context(
    ask: Callable[..., Any], write_task: Callable[..., None], tasks_dir: Path
) -> None:
    from tests.harness.conftest import CHOICE

    write_task(tasks_dir, "long", [{"land": "France", "choices": ["Paris", "Rome " * 9], "label": 0}], CHOICE)

    with pytest.raises(PromptTooLong, match="a choice has 9 tokens and the model takes 9 in all"):
        ask(BenchmarkEntry(name="long", tasks=("long",), metric="acc"), max_length=8)
