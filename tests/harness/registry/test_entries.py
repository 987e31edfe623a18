"""The registry's format: what is read, and the sentence each kind of slip gets."""

import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.registry import (
    BenchmarkEntry,
    ModelEntry,
    Price,
    Registry,
    RegistryError,
    benchmark_name_fault,
    load_registry,
)

MODELS = """
    models:
      - name: org/model
        args: {pretrained: org/model, dtype: bfloat16}
"""
BENCHMARKS = """
    benchmarks:
      - name: arithmetic
        tasks: [asdiv, gsm8k]
        metric: acc
"""
HOME = Path("/home/of/embedllm")


def load(folder: Path, models: str = MODELS, benchmarks: str = BENCHMARKS) -> Registry:
    (folder / "models.yaml").write_text(textwrap.dedent(models).lstrip("\n"))
    (folder / "benchmarks.yaml").write_text(textwrap.dedent(benchmarks).lstrip("\n"))
    return load_registry(folder, HOME)


def refusal(folder: Path, models: str = MODELS, benchmarks: str = BENCHMARKS) -> str:
    """What the error says, without the folder's path."""
    with pytest.raises(RegistryError) as error:
        load(folder, models, benchmarks)
    return str(error.value).replace(f"{folder}/", "")


def model(fields: str) -> str:
    return f"models:\n  - {{{fields}}}\n"


def benchmark(fields: str) -> str:
    return f"benchmarks:\n  - {{{fields}}}\n"


# What is read


def test_defaults_fill_what_an_entry_leaves_out(tmp_path: Path) -> None:
    registry = load(tmp_path)
    assert registry.models == (
        ModelEntry(
            name="org/model",
            backend="hf",
            args={"pretrained": "org/model", "dtype": "bfloat16"},
            family=None,
            size_b=None,
            communities=(),
            price=None,
            trust_remote_code=False,
            apply_chat_template=False,
            batch_size="auto",
            budget=None,
            description="",
        ),
    )
    assert registry.benchmarks == (
        BenchmarkEntry(
            name="arithmetic",
            tasks=("asdiv", "gsm8k"),
            metric="acc",
            filter="none",
            num_fewshot=None,
            covers=(),
        ),
    )
    assert (registry.folder, registry.tasks_dir, registry.made_by) == (tmp_path, None, None)


def test_every_field_of_a_model_is_read(tmp_path: Path) -> None:
    registry = load(
        tmp_path,
        """
        made_by: zoo
        models:
          - name: gpt-oss
            backend: local-chat-completions
            args: {base_url: "http://localhost:8000/v1/chat", model: oss, num_concurrent: 8, eos: 0.5}
            family: gpt
            size_b: 21
            communities: [chat, bio/med, 7b]
            price: {input: 0.1, output: 2}
            trust_remote_code: true
            apply_chat_template: true
            batch_size: 16
            budget: 128
            description: A server.
        """,
    )
    entry = registry.model("gpt-oss")
    assert entry.args["num_concurrent"] == 8
    assert entry.args["eos"] == 0.5
    assert (entry.family, entry.size_b, entry.communities) == ("gpt", 21.0, ("chat", "bio/med", "7b"))
    assert entry.price == Price(input=0.1, output=2.0)
    assert (entry.trust_remote_code, entry.apply_chat_template, entry.batch_size) == (True, True, 16)
    assert entry.budget == 128
    assert registry.made_by == "zoo"


def test_home_is_put_in_its_place(tmp_path: Path) -> None:
    registry = load(
        tmp_path,
        model('name: a, args: {pretrained: "{home}/zoo/a"}'),
        'tasks_dir: "{home}/zoo/tasks"\nbenchmarks: []\n',
    )
    assert registry.model("a").args["pretrained"] == "/home/of/embedllm/zoo/a"
    assert registry.model("a").as_written.args["pretrained"] == "{home}/zoo/a"
    assert registry.tasks_dir == Path("/home/of/embedllm/zoo/tasks")


def test_a_home_relative_to_the_working_folder_becomes_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(tmp_path, model('name: a, args: {pretrained: "{home}/a"}'))
    monkeypatch.chdir(tmp_path)
    registry = load_registry(tmp_path, Path("data"))
    assert registry.model("a").args["pretrained"] == f"{tmp_path}/data/a"


def test_a_relative_tasks_dir_is_meant_from_the_registry(tmp_path: Path) -> None:
    assert load(tmp_path, MODELS, "tasks_dir: tasks\nbenchmarks: []\n").tasks_dir == tmp_path / "tasks"


def test_a_registry_may_be_without_models(tmp_path: Path) -> None:
    """Whoever only imports published results has none."""
    assert load(tmp_path, "models: []\n").models == ()


def test_entries_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(tmp_path).models[0].name = "other"  # pyright: ignore[reportAttributeAccessIssue]


# What is looked up


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    registry = load(tmp_path)
    with pytest.raises(RegistryError) as error:
        registry.model("org/modell")
    assert str(error.value) == f"No model 'org/modell' in {tmp_path}/models.yaml; perhaps 'org/model' is meant."


def test_an_unknown_name_is_answered_with_what_there_is(tmp_path: Path) -> None:
    registry = load(tmp_path)
    with pytest.raises(RegistryError) as error:
        registry.benchmark("mmlu")
    assert str(error.value) == f"No benchmark 'mmlu' in {tmp_path}/benchmarks.yaml; it has arithmetic."


COVERING = """
    benchmarks:
      - {name: mmlu, tasks: [mmlu], metric: acc, covers: ["mmlu_*"]}
      - {name: mmlu_pro, tasks: [mmlu_pro], metric: exact_match, covers: ["mmlu_pro_?*", "MMLU-Pro/*"]}
"""


@pytest.mark.parametrize(
    ("category", "expected"),
    [
        ("mmlu_anatomy", "mmlu"),
        ("MMLU-Pro/law", "mmlu_pro"),
        ("mmlu_pro_law", "mmlu"),  # both cover it: the first in the file
        ("mmlu_pro", "mmlu_pro"),  # a benchmark's own name wins over any pattern
        ("MMLU_anatomy", "MMLU_anatomy"),  # letter case counts
        ("piqa", "piqa"),  # nobody covers it: its own benchmark
    ],
)
def test_a_category_finds_its_benchmark(tmp_path: Path, category: str, expected: str) -> None:
    assert load(tmp_path, benchmarks=COVERING).benchmark_of(category) == expected


# What is refused: files


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError) as error:
        load_registry(tmp_path / "none", HOME)
    assert str(error.value) == (
        f"The registry folder {tmp_path}/none does not exist; "
        "set EMBEDLLM_REGISTRY to a folder with models.yaml and benchmarks.yaml."
    )


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    load(tmp_path)
    (tmp_path / "benchmarks.yaml").unlink()
    with pytest.raises(RegistryError) as error:
        load_registry(tmp_path, HOME)
    assert str(error.value) == (
        f"{tmp_path}/benchmarks.yaml is missing; "
        "a registry folder needs models.yaml and benchmarks.yaml (docs/registry.md)."
    )


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    load(tmp_path)
    (tmp_path / "models.yaml").write_bytes(b"models: \xff\n")
    with pytest.raises(RegistryError, match=r"models.yaml cannot be read \('utf-8' codec .*\); mend or replace"):
        load_registry(tmp_path, HOME)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "models.yaml is empty, but must be a mapping; begin it with 'models:'."),
        ("- a\n", "models.yaml is a list, but must be a mapping; begin it with 'models:'."),
        ("models:\n", "models.yaml: models is empty, but must be a list of entries."),
        ("models: {a: b}\n", "models.yaml: models is a mapping, but must be a list of entries."),
        ("model: []\n", "models.yaml: unknown field 'model'; perhaps 'models' is meant."),
        ("made_by: zoo\n", "models.yaml: lacks 'models'; add a list of entries."),
        ("made_by: me\nmodels: []\n", "models.yaml: made_by is 'me', but must be zoo, or left out."),
        (
            "models:\n  - name: a\n   args: {}\n",
            "models.yaml, line 3: did not find expected '-' indicator; mend the YAML there.",
        ),
        (
            "models:\n  - name: !function a\n",
            "models.yaml, line 2: could not determine a constructor for the tag '!function'; mend the YAML there.",
        ),
        (
            "models:\n  - name: a\n    family: b\n    family: c\n",
            "models.yaml, line 4: the key 'family' stands twice in one entry; keep one.",
        ),
        (
            "models:\n  - name: a\n    args: {pretrained: b, pretrained: c}\n",
            "models.yaml, line 3: the key 'pretrained' stands twice in one entry; keep one.",
        ),
        (
            "models: [{name: 2024-13-45}]\n",
            "models.yaml cannot be read (month must be in 1..12); mend or replace the file.",
        ),
    ],
)
def test_a_file_out_of_shape_is_refused(tmp_path: Path, content: str, expected: str) -> None:
    assert refusal(tmp_path, content) == expected


# What is refused: models

ARGS = "args: {pretrained: b}"
PLACE = "models.yaml, line 2, model 'a': "
SECRET = (
    "holds a secret; remove it and set the environment variable instead "
    "(HF_TOKEN for the hub, OPENAI_API_KEY for a server)."
)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (f"name: a, {ARGS}, familly: c", "unknown field 'familly'; perhaps 'family' is meant."),
        (
            f"name: a, {ARGS}, zzz: c",
            "unknown field 'zzz'; the fields are name, backend, args, family, size_b, communities, price, "
            "trust_remote_code, apply_chat_template, batch_size, budget, benchmarks, except, truncation, "
            "implausible_answers, resources, upstream, context_tokens, capabilities, description.",
        ),
        (
            f"name: a, budget: 7, {ARGS}",
            "budget is 7, but must be a whole number, 8 or more: from about how many answers to onboard it.",
        ),
        (
            f"name: a, backend: openai, {ARGS}",
            "backend is 'openai', but must be one of hf, vllm, local-completions, local-chat-completions.",
        ),
        (
            "name: a",
            "lacks 'args'; add a mapping of lm-eval model arguments, each text, a number or true/false.",
        ),
        (
            "name: a, args: {}",
            "args lack 'pretrained', which backend hf needs; add the model's hub name or its folder.",
        ),
        (
            "name: a, backend: vllm, args: {pretrained: ''}",
            "args lack 'pretrained', which backend vllm needs; add the model's hub name or its folder.",
        ),
        (
            "name: a, backend: local-completions, args: {model: b}",
            "args lack 'base_url', which backend local-completions needs; "
            "add the server's address, e.g. http://localhost:8000/v1/completions.",
        ),
        (
            "name: a, backend: local-completions, args: {base_url: 'http://b/v1/completions'}",
            "args lack 'model', which backend local-completions needs; add the name the server knows the model by.",
        ),
        (
            "name: a, backend: local-completions, args: {base_url: 'localhost:8000', model: b}",
            "args.base_url is 'localhost:8000', but must begin with http:// or https://.",
        ),
        (
            "name: a, backend: local-chat-completions, args: {base_url: 'http://b', model: c}",
            "backend local-chat-completions takes chat messages only; add 'apply_chat_template: true'.",
        ),
        (
            "name: a, args: {pretrained: b, trust_remote_code: true}",
            "args hold 'trust_remote_code'; write it next to args, as a field of the entry.",
        ),
        (
            "name: a, args: {pretrained: b, device: cuda}",
            "args hold 'device'; leave it out, the accelerator is found and used.",
        ),
        (
            "name: a, args: {pretrained: b, header: {c: d}}",
            "args.header is a mapping, but must be text, a number or true/false.",
        ),
        (
            "name: a, args: [pretrained, b]",
            "args is a list, but must be a mapping of lm-eval model arguments, each text, a number or true/false.",
        ),
        (
            f"name: a, {ARGS}, size_b: 7B",
            "size_b is '7B', but must be billions of parameters, a number above 0.",
        ),
        (f"name: a, {ARGS}, size_b: 0", "size_b is 0, but must be billions of parameters, a number above 0."),
        (
            f"name: a, {ARGS}, size_b: .inf",
            "size_b is inf, but must be billions of parameters, a number above 0.",
        ),
        (
            f"name: a, {ARGS}, communities: 7b",
            "communities is '7b', but must be a list of lower-case tags, e.g. [7b, coding].",
        ),
        (
            f"name: a, {ARGS}, communities: [7B]",
            "communities is '7B', but must be a list of lower-case tags, e.g. [7b, coding].",
        ),
        (f"name: a, {ARGS}, communities: [b, c, b]", "communities 'b' stands twice; keep one."),
        (
            f"name: a, {ARGS}, price: {{input: 1}}",
            "lacks 'price.output'; add US$ per million output tokens, 0 or more.",
        ),
        (
            f"name: a, {ARGS}, price: {{input: -1, output: 1}}",
            "price.input is -1, but must be US$ per million input tokens, 0 or more.",
        ),
        (
            f"name: a, {ARGS}, price: {{input: 1, output: 1, inptu: 2}}",
            "unknown field 'price.inptu'; perhaps 'input' is meant.",
        ),
        (
            f"name: a, {ARGS}, price: 1",
            "price is 1, but must be a mapping {input: ..., output: ...} in US$ per million tokens.",
        ),
        (
            f"name: a, {ARGS}, trust_remote_code: 'yes'",
            "trust_remote_code is 'yes', but must be true or false: "
            "whether Python code from the model's repository may run here.",
        ),
        (f"name: a, {ARGS}, batch_size: 0", "batch_size is 0, but must be a whole number above 0, or auto."),
        (
            f"name: a, {ARGS}, batch_size: big",
            "batch_size is 'big', but must be a whole number above 0, or auto.",
        ),
        ("name: a, args: {pretrained: b, api_key: c}", f"'api_key' {SECRET}"),
        ("name: a, args: {pretrained: b, token: true}", f"'token' {SECRET}"),
        ("name: a, args: {pretrained: b, auth_token: c}", f"'auth_token' {SECRET}"),
        (f"name: a, {ARGS}, api_key: c", f"'api_key' {SECRET}"),
        (
            "name: a, backend: local-completions, args: {model: b, base_url: 'http://me:pw@c/v1'}",
            f"'base_url' {SECRET}",
        ),
        (
            "name: a, backend: local-completions, args: {model: b, base_url: 'http://c/v1?api_key=d'}",
            f"'base_url' {SECRET}",
        ),
    ],
)
def test_a_model_out_of_shape_is_refused(tmp_path: Path, fields: str, expected: str) -> None:
    assert refusal(tmp_path, model(fields)) == PLACE + expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("benchmarks: [b], except: [b]", "has both 'benchmarks' and 'except'; keep one."),
        (
            "benchmarks: []",
            "benchmarks is an empty list, but must be a list of benchmarks, the only ones that it is asked.",
        ),
        ("except: b", "except is 'b', but must be a list of benchmarks that it is not asked."),
        ("except: [b, b]", "except 'b' stands twice; keep one."),
        ("truncation: cut", "truncation is 'cut', but must be count or refuse: whether prompts that are too long"),
        ("implausible_answers: yes", "implausible_answers is True, but must be refuse or accept: whether"),
    ],
)
def test_who_is_asked_what_is_said_in_one_way(tmp_path: Path, fields: str, expected: str) -> None:
    assert refusal(tmp_path, model(f"name: a, {ARGS}, {fields}")).startswith(PLACE + expected)


def test_benchmarks_that_an_entry_names_must_be_there(tmp_path: Path) -> None:
    said = refusal(tmp_path, model(f"name: a, {ARGS}, benchmarks: [nowhere]"))
    assert "model 'a': benchmarks names 'nowhere', which is not in benchmarks.yaml; it has" in said
    assert "except names 'nowhere'" in refusal(tmp_path, model(f"name: a, {ARGS}, except: [nowhere]"))


def test_a_model_is_asked_what_its_entry_names() -> None:
    benchmarks = tuple(BenchmarkEntry(name=name, tasks=(name,), metric="acc") for name in "xyz")
    registry = Registry(folder=Path(), models=(), benchmarks=benchmarks)

    def asked(**fields: Any) -> str:
        entry = ModelEntry(name="a", args={"pretrained": "b"}, **fields)
        return "".join(benchmark.name for benchmark in registry.benchmarks_of(entry))

    assert (asked(), asked(benchmarks=["z", "x"]), asked(**{"except": ["x"]})) == ("xyz", "xz", "yz")


def test_a_secret_is_never_repeated(tmp_path: Path) -> None:
    key = "hf_" + "x" * 34
    said = refusal(tmp_path, model(f"name: a, args: {{pretrained: b, revision: {key}}}"))
    assert said == f"{PLACE}'revision' {SECRET}"


@pytest.mark.parametrize("harmless", ["tokenizer", "add_bos_token", "max_gen_toks", "tokenized_requests"])
def test_arguments_that_only_sound_like_a_secret_are_read(tmp_path: Path, harmless: str) -> None:
    entry = load(tmp_path, model(f"name: a, args: {{pretrained: b, {harmless}: c}}")).model("a")
    assert entry.args[harmless] == "c"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "' a'",
            "name ' a' is empty, a dot or has a space at an end; write a name like Qwen/Qwen1.5-7B-Chat.",
        ),
        ("''", "name '' is empty, a dot or has a space at an end; write a name like Qwen/Qwen1.5-7B-Chat."),
        (
            "'..'",
            "name '..' is empty, a dot or has a space at an end; write a name like Qwen/Qwen1.5-7B-Chat.",
        ),
        (
            '"a\\tb"',
            "name 'a\\tb' holds a line break, a tab or another invisible character; leave it out.",
        ),
        ("a...b", "name 'a...b' holds '...', which Dagster reads as a range of partitions; leave it out."),
        (
            "x" * 300,
            f"name '{'x' * 40}'... is too long for a file name; shorten it to 240 bytes.",
        ),
        (
            "法" * 30,
            f"name '{'法' * 30}'... is too long for a file name; shorten it to 240 bytes, percent-encoded.",
        ),
        ("7", "name is 7, but must be the name users will see, e.g. Qwen/Qwen1.5-7B-Chat."),
    ],
)
def test_a_model_name_that_cannot_be_used_is_refused(tmp_path: Path, name: str, expected: str) -> None:
    said = refusal(tmp_path, model(f"name: {name}, {ARGS}"))
    assert said.split(": ", 1)[1] == expected


def test_an_entry_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, "models:\n  - org/model\n") == (
        "models.yaml, line 2: the entry is 'org/model', but must be a mapping of fields; begin it with 'name:'."
    )


@pytest.mark.parametrize("second", ["org/a", "ORG/A"])  # a Mac's file system takes the two for one
def test_a_name_given_twice_is_refused(tmp_path: Path, second: str) -> None:
    content = f"models:\n  - {{name: org/a, {ARGS}}}\n  - {{name: {second}, {ARGS}}}\n"
    assert refusal(tmp_path, content) == (
        f"models.yaml, line 3, model '{second}': the name is taken by the entry in line 2; rename one or remove it."
    )


# What is refused: benchmarks


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            "name: a, tasks: [], metric: acc",
            "tasks is an empty list, but must be a list of lm-eval task or group names, e.g. [mmlu].",
        ),
        ("name: a, metric: acc", "lacks 'tasks'; add a list of lm-eval task or group names, e.g. [mmlu]."),
        (
            "name: a, tasks: mmlu, metric: acc",
            "tasks is 'mmlu', but must be a list of lm-eval task or group names, e.g. [mmlu].",
        ),
        ("name: a, tasks: [b, b], metric: acc", "tasks 'b' stands twice; keep one."),
        (
            "name: a, tasks: [b]",
            "lacks 'metric'; add the lm-eval metric that grades an answer, e.g. acc or exact_match.",
        ),
        ("name: a, tasks: [b], metrics: acc", "unknown field 'metrics'; perhaps 'metric' is meant."),
        (
            "name: a, tasks: [b], metric: acc, num_fewshot: -1",
            "num_fewshot is -1, but must be a whole number, 0 or more, or left out for the task's own.",
        ),
        (
            "name: a, tasks: [b], metric: acc, num_fewshot: true",
            "num_fewshot is True, but must be a whole number, 0 or more, or left out for the task's own.",
        ),
        (
            "name: a, tasks: [b], metric: acc, covers: b_*",
            "covers is 'b_*', but must be a list of patterns of published categories, e.g. ['mmlu_*'].",
        ),
    ],
)
def test_a_benchmark_out_of_shape_is_refused(tmp_path: Path, fields: str, expected: str) -> None:
    said = refusal(tmp_path, benchmarks=benchmark(fields))
    assert said == f"benchmarks.yaml, line 2, benchmark 'a': {expected}"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b", "name 'a/b' is no benchmark name; use letters, digits, '_', '.' and '-' only."),
        ("all", "name 'all' stands for all benchmarks together in the result tables; choose another name."),
        ("..", "name '..' is no benchmark name; use letters, digits, '_', '.' and '-' only."),
    ],
)
def test_a_benchmark_name_that_cannot_be_used_is_refused(tmp_path: Path, name: str, expected: str) -> None:
    said = refusal(tmp_path, benchmarks=benchmark(f"name: '{name}', tasks: [b], metric: acc"))
    assert said == f"benchmarks.yaml, line 2, benchmark '{name}': {expected}"


@pytest.mark.parametrize(
    "name", ["mmlu_pro/computer science", "法律", "🤖", "🧑\u200d🔬", "❤\ufe0f\u200d🔥", "../../etc", "<script>", "All"]
)
def test_an_imported_benchmark_may_hold_any_printable_characters(name: str) -> None:
    assert benchmark_name_fault(name) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("all", "'all' stands for all benchmarks together in the result tables; choose another name"),
        ("law ", "'law ' is empty, a dot or has a space at an end; write a name like mmlu"),
        ("..", "'..' is empty, a dot or has a space at an end; write a name like mmlu"),
        ("a...b", "'a...b' holds '...', which Dagster reads as a range of partitions; leave it out"),
        ("a\u200db", "'a\\u200db' holds a line break, a tab or another invisible character; leave it out"),
        ("a\u200bb", "'a\\u200bb' holds a line break, a tab or another invisible character; leave it out"),
        ("x" * 241, f"'{'x' * 40}'... is too long for a file name; shorten it to 240 bytes"),
    ],
)
def test_what_no_benchmark_may_be_called(name: str, expected: str) -> None:
    assert benchmark_name_fault(name) == expected


def test_a_pattern_that_two_benchmarks_claim_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, benchmarks=COVERING.replace('"mmlu_pro_?*"', '"mmlu_*"')) == (
        "benchmarks.yaml, benchmark 'mmlu_pro': covers 'mmlu_*', which benchmark 'mmlu' covers already; "
        "remove it from one of the two."
    )


# Invariants


@given(category=st.text(), patterns=st.lists(st.text("ab_*", min_size=1), unique=True, max_size=4))
def test_every_category_has_exactly_one_benchmark(category: str, patterns: list[str]) -> None:
    benchmarks = tuple(
        BenchmarkEntry(name=f"b{i}", tasks=("t",), metric="acc", covers=(pattern,))
        for i, pattern in enumerate(patterns)
    )
    registry = Registry(folder=Path(), models=(), benchmarks=benchmarks)
    found = registry.benchmark_of(category)
    assert found in {category, *(entry.name for entry in benchmarks)}
    assert registry.benchmark_of(found) == found  # what has been mapped stays where it is


@given(fields=st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())))
def test_any_entry_is_read_or_refused_in_one_sentence(fields: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "models.yaml").write_text(yaml.safe_dump({"models": [fields]}))
        (folder / "benchmarks.yaml").write_text("benchmarks: []")
        with pytest.raises(RegistryError) as error:  # none of these has a usable args
            load_registry(folder, HOME)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


def test_reading_the_registry_imports_nothing_heavy() -> None:
    heavy = {
        "torch",
        "transformers",
        "lm_eval",
        "sentence_transformers",
        "sklearn",
        "datasets",
        "dagster",
        "pandas",
    }
    program = "import sys, harness.registry; print(' '.join({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "harness" in loaded.split()
    assert not heavy & set(loaded.split())
