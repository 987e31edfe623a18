"""Small real things: tiny random GPT-2s, and three benchmarks of 40 questions."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

MODELS = ("tiny/a", "tiny/b", "tiny/c", "tiny/d")
BENCHMARKS = ("fruit", "sums", "towns")
QUESTIONS = 40

_FRUIT = ("apple", "banana", "cherry", "damson", "elder", "fig", "grape", "hazel")
_COLOURS = ("red", "yellow", "green", "blue", "black", "white")
_TOWNS = ("Paris", "Rome", "Oslo", "Lima", "Berlin", "Bern", "Cairo", "Delhi")
_GRAMMAR = ("What", "Which", "is", "the", "plus", "colour", "of", "a", "number", "lies", "north", "?", "Answer", ":")
_WORDS = (*_GRAMMAR, *_FRUIT, *_COLOURS, *_TOWNS, *(str(number) for number in range(60)))


def write_registry_of(
    folder: Path, micro: Path, models: Sequence[str], benchmarks: Sequence[str], **changes: Any
) -> None:
    """A registry of some models and benchmarks in the folder `micro`; `changes` are made to every benchmark's entry."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = [
        {"name": name, "args": {"pretrained": str(micro / "models" / Path(name).name)}, "family": name[-1]}
        for name in models
    ]
    asked = [{"name": name, "tasks": [f"micro_{name}"], "metric": "acc", **changes} for name in benchmarks]
    (folder / "models.yaml").write_text(yaml.safe_dump({"models": entries}))
    (folder / "benchmarks.yaml").write_text(yaml.safe_dump({"tasks_dir": str(micro / "tasks"), "benchmarks": asked}))


def _question(benchmark: str, number: int) -> dict[str, Any]:
    if benchmark == "sums":
        left, right = number % 8 + 1, number // 8 + 2
        prompt, right_one, others = f"What is {left} plus {right} ?", left + right, range(20, 60)
    elif benchmark == "fruit":
        prompt = f"Which colour is the {_FRUIT[number % 8]} of number {number} ?"
        right_one, others = _COLOURS[number % 6], _COLOURS
    else:
        prompt = f"Which lies north of {_TOWNS[number % 8]} a number {number} ?"
        right_one, others = _TOWNS[(number + 3) % 8], _TOWNS
    wrong = [str(other) for other in others if other != right_one]
    choices = [wrong[(number + step) % len(wrong)] for step in range(3)]
    choices.insert(number % 4, str(right_one))
    return {"prompt": f"{prompt}\nAnswer :", "choices": choices, "label": number % 4}


def save_micro_task(folder: Path, name: str) -> None:
    """A task of 40 questions, its data next to it."""
    rows = [_question(name, number) for number in range(QUESTIONS)]
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "task": f"micro_{name}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "prompt",
        "doc_to_choice": "choices",
        "doc_to_target": "label",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(task))


def save_micro_model(folder: Path, seed: int) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<pad>", "<eos>", "<unk>", *_WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=64, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    fast.save_pretrained(folder)
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(vocabulary),
        n_positions=64,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=1,
        eos_token_id=1,
        pad_token_id=0,
        initializer_range=0.5,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
