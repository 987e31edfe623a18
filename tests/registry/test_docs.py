"""The examples in docs/registry.md load as they stand there."""

import re
from pathlib import Path

import pytest

from harness.registry import BenchmarkEntry, ModelEntry, Registry, load_registry

DOCUMENT = (Path(__file__).parents[2] / "docs" / "registry.md").read_text()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("registry")
    for example in re.findall(r"```yaml\n# (\w+\.yaml)\n(.*?)```", DOCUMENT, re.DOTALL):
        (folder / example[0]).write_text(example[1])
    return load_registry(folder, Path("/home/of/embedllm"))


def test_each_way_to_reach_a_model_has_an_example(registry: Registry) -> None:
    assert {model.backend for model in registry.models} == {
        "hf",
        "vllm",
        "local-completions",
        "local-chat-completions",
    }
    assert registry.model("ours/finetuned").args["pretrained"] == "/home/of/embedllm/models/finetuned"
    assert registry.model("ours/quantised").args["gguf_file"] == "SmolLM2-135M.Q8_0.gguf"
    assert registry.model("ours/served").price is not None
    assert registry.model("someone/new-architecture").trust_remote_code


def test_the_benchmark_examples_say_what_they_are_said_to(registry: Registry) -> None:
    assert registry.benchmark("mmlu").num_fewshot == 5
    assert registry.benchmark("gsm8k").filter == "flexible-extract"
    assert registry.benchmark("common-sense").tasks == ("piqa", "social_iqa")
    assert registry.benchmark_of("mmlu_anatomy") == "mmlu"


@pytest.mark.parametrize(("heading", "entry"), [("Models", ModelEntry), ("Benchmarks", BenchmarkEntry)])
def test_the_tables_name_every_field(heading: str, entry: type[ModelEntry] | type[BenchmarkEntry]) -> None:
    section = DOCUMENT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)`", section, re.MULTILINE) == [
        info.alias or name for name, info in entry.model_fields.items()
    ]
