"""A model whose answers are known beforehand, and tasks of the kinds that lm-eval has, all local and tiny.

The model likes each word of its vocabulary more than the one before, whatever it was asked: of two choices it
takes the later one in WORDS, and it writes the last one, 42, again and again.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

# fmt: off
WORDS = "What is the capital of France Italy Norway Peru ? Answer : Berlin Lima Oslo Paris Rome 7 42".split()  # noqa: SIM905
# fmt: on
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>"]


def _save_tokenizer(folder: Path, chat_template: str | None = None) -> int:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    named = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=128, **named)
    fast.chat_template = chat_template
    fast.save_pretrained(folder)
    return len(vocabulary)


def _save_model(folder: Path, *, seed: int | None = None, chat_template: str | None = None) -> None:
    """Without a seed the model of the docstring above; with one, random weights."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    size = _save_tokenizer(folder, chat_template)
    torch.manual_seed(seed or 0)
    config = GPT2Config(
        vocab_size=size,
        n_positions=128,
        n_embd=8,
        n_layer=1,
        n_head=2,
        bos_token_id=2,
        eos_token_id=1,
        pad_token_id=0,
    )
    model = GPT2LMHeadModel(config)
    if seed is None:
        with torch.no_grad():
            model.transformer.ln_f.weight.zero_()
            model.transformer.ln_f.bias.copy_(torch.eye(8)[0])  # the last hidden state, for every input
            model.transformer.wte.weight[:, 0] = torch.arange(size) / 2  # its product with this: a word's logit
    model.save_pretrained(folder)


@pytest.fixture(scope="session")
def save_model() -> Callable[..., None]:
    return _save_model


@pytest.fixture(scope="session")
def words() -> list[str]:
    return [*SPECIAL, *WORDS]


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    _save_model(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def datasets_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    import datasets

    datasets.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp("datasets")


CAPITALS = [
    {"land": "France", "choices": ["Paris", "Rome"], "label": 0},
    {"land": "Italy", "choices": ["Paris", "Rome"], "label": 1},
    {"land": "Norway", "choices": ["Oslo", "Lima"], "label": 0},
    {"land": "Peru", "choices": ["Oslo", "Lima"], "label": 1},
]
SUMS = [{"sum": "40 + 2", "answer": "#### 42"}, {"sum": "3 + 4", "answer": "#### 7"}]
CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_text": "What is the capital of {{land}}?\nAnswer:",
    "doc_to_choice": "choices",
    "doc_to_target": "label",
    "metric_list": [
        {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        {"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True},
    ],
    "metadata": {"version": 1.0},
}
SUM = {
    "output_type": "generate_until",
    "doc_to_text": "What is {{sum}}?\nAnswer:",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": ["?"], "max_gen_toks": 3, "do_sample": False},
    "metric_list": [
        {
            "metric": "exact_match",
            "aggregation": "mean",
            "higher_is_better": True,
            "regexes_to_ignore": ["(?s).*#### "],
        }
    ],
    "filter_list": [
        {
            "name": "strict",
            "filter": [{"function": "regex", "regex_pattern": "#### (\\d+)"}, {"function": "take_first"}],
        },
        {
            "name": "flexible",
            "filter": [{"function": "regex", "regex_pattern": "(\\d+)"}, {"function": "take_first"}],
        },
    ],
    "metadata": {"version": 3.0},
}


def _write_task(folder: Path, name: str, rows: list[dict[str, Any]], config: dict[str, Any]) -> None:
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = {"train": str(data), "test": str(data)}
    splits = {"training_split": "train", "test_split": "test"}
    where = {"task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": files}}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(where | splits | config))


@pytest.fixture(scope="session")
def write_task() -> Callable[..., None]:
    return _write_task


@pytest.fixture
def tasks_dir(tmp_path: Path) -> Path:
    """capitals; world = north + south; sums (two filters); finish (loglikelihood, as asdiv)."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    _write_task(folder, "capitals", CAPITALS, CHOICE)
    _write_task(folder, "north", CAPITALS[2:3], CHOICE)
    _write_task(folder, "south", CAPITALS[:2] + CAPITALS[3:], CHOICE)
    (folder / "world.yaml").write_text(yaml.safe_dump({"group": "world", "task": ["south", "north"]}))
    _write_task(folder, "sums", SUMS, SUM)
    finish = {
        "output_type": "loglikelihood",
        "doc_to_text": "What is {{sum}}?\nAnswer:",
        "doc_to_target": "{{answer.split(' ')[1]}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    _write_task(folder, "finish", SUMS, finish)
    return folder
