"""`embedllm models add` and `remove`, as a user types them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from assets.inputs.workspace import Workspace
from pipelines.errors import CommandError
from pipelines.settings import PROJECT, SHIPPED

ADD = ("models", "add", "org/new", "--arg", "pretrained=org/new")


def written(embedllm: Any) -> list[dict[str, object]]:
    return yaml.safe_load((embedllm.registry / "models.yaml").read_text())["models"]


def added(embedllm: Any, *options: str) -> dict[str, object]:
    done = embedllm.here(*ADD, *options)
    assert done.exit_code == 0, done.output
    return written(embedllm)[-1]


def refusal(embedllm: Any, *arguments: str) -> str:
    before = written(embedllm)
    done = embedllm.here(*arguments)
    assert done.exit_code != 0
    assert written(embedllm) == before
    return " ".join(done.stderr.split())


def test_a_model_is_added_and_listed_and_removed(embedllm: Any) -> None:
    file = embedllm.registry / "models.yaml"
    before = file.read_bytes()
    done = embedllm.here(*ADD)
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"Added org/new to {file}.\nNext: ")
    assert "`embedllm run`, to evaluate it; while " in done.output
    assert "org/new" in embedllm.here("models", "list").output
    done = embedllm.here("models", "remove", "org/new")
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"Removed org/new from {file}; its answers stay in the lake.")
    assert "org/new" not in embedllm.here("models", "list").output
    assert file.read_bytes() == before


def test_a_benchmark_that_there_is_not_is_named(embedllm: Any) -> None:
    for option, field in (("--except", "except"), ("--benchmark", "benchmarks")):
        said = refusal(embedllm, *ADD, option, "frut")
        assert (
            f"model 'org/new': {field} names 'frut', which is not in benchmarks.yaml; perhaps 'fruit' is meant" in said
        )


def test_what_is_not_said_is_not_written(embedllm: Any) -> None:
    assert added(embedllm) == {"name": "org/new", "args": {"pretrained": "org/new"}}


def test_every_option_is_a_field(embedllm: Any) -> None:
    options = (
        "--backend vllm --arg tensor_parallel_size=2 --arg gpu_memory_utilization=0.9 --arg enforce_eager=true "
        "--arg revision=0123456 --tag coding --tag 7b --family llama-2 --size-b 6.7 --price-input 0.1 "
        "--price-output 2 --budget 128 --benchmark fruit --benchmark sums --truncation refuse "
        "--implausible-answers accept --chat-template --trust-remote-code --batch-size 8 --description ours"
    )
    assert added(embedllm, *options.split()) == {
        "name": "org/new",
        "backend": "vllm",
        "args": {
            "pretrained": "org/new",
            "tensor_parallel_size": 2,
            "gpu_memory_utilization": 0.9,
            "enforce_eager": True,
            "revision": "0123456",
        },
        "family": "llama-2",
        "size_b": 6.7,
        "communities": ["coding", "7b"],
        "price": {"input": 0.1, "output": 2.0},
        "trust_remote_code": True,
        "apply_chat_template": True,
        "batch_size": 8,
        "budget": 128,
        "benchmarks": ["fruit", "sums"],
        "truncation": "refuse",
        "implausible_answers": "accept",
        "description": "ours",
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("8", 8),
        ("-1", -1),
        ("0", 0),
        ("007", "007"),
        ("0.5", 0.5),
        ("1e-3", 0.001),
        ("1.", 1.0),
        ("True", True),
        ("false", False),
        ("yes", "yes"),
        ("bfloat16", "bfloat16"),
        ("'8'", "8"),
        ('"true"', "true"),
        ("a=b", "a=b"),
        ("", ""),
        ("[a, b]", "[a, b]"),
        ("2024-01-01", "2024-01-01"),
    ],
)
def test_values_are_numbers_where_they_look_like_numbers(embedllm: Any, value: str, expected: object) -> None:
    args = added(embedllm, "--arg", f"x={value}")["args"]
    assert args == {"pretrained": "org/new", "x": expected}
    assert isinstance(args, dict)
    assert type(args["x"]) is type(expected)


def test_a_folder_is_found_from_everywhere(embedllm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("model", "other"):
        (tmp_path / name).mkdir()
    (embedllm.home / "models" / "a").mkdir(parents=True)
    pretrained = {
        "in-home": f"{embedllm.home}/models/a",
        "near-home": "home/models/a",
        "relative": "model",
        "dotted": "./other",
        "written": "{home}/models/a",
        "hub": "org/model",
    }
    for name, folder in pretrained.items():
        done = embedllm.here("models", "add", name, "--arg", f"pretrained={folder}")
        assert done.exit_code == 0, done.output
    assert {str(entry["name"]): entry["args"] for entry in written(embedllm)[-6:]} == {
        "in-home": {"pretrained": "{home}/models/a"},
        "near-home": {"pretrained": "{home}/models/a"},
        "relative": {"pretrained": f"{tmp_path}/model"},
        "dotted": {"pretrained": f"{tmp_path}/other"},
        "written": {"pretrained": "{home}/models/a"},
        "hub": {"pretrained": "org/model"},
    }


@pytest.mark.parametrize("value", ["./gone", "../gone", "/gone", "~/gone", "{home}/gone"])
@pytest.mark.parametrize("arg", ["pretrained", "tokenizer"])
def test_a_folder_that_does_not_exist_is_refused(
    embedllm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arg: str, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    said = refusal(embedllm, "models", "add", "new", "--arg", f"{arg}={value}")
    assert said.startswith(f"embedllm: --arg {arg}={value}: there is no /")
    assert "gone; correct the path, or give a name of the hub" in said


def test_a_budget_says_what_will_be_done(embedllm: Any) -> None:
    done = embedllm.here(*ADD, "--budget", "64")
    assert "`embedllm run`, to onboard it from about 64 answers; " in done.output


@pytest.mark.parametrize(
    ("arguments", "culprits"),
    [
        (("models", "add", "new"), ("'new'", "'pretrained'")),
        (("models", "add", "Tiny/A", "--arg", "pretrained=x"), ("models.yaml", "'tiny/a'")),
        ((*ADD, "--arg", "dtype"), ("--arg 'dtype'", "KEY=VALUE")),
        ((*ADD, "--arg", "x=1", "--arg", "x=2"), ("--arg x",)),
        ((*ADD, "--budget", "7"), ("'org/new'", "budget is 7")),
        ((*ADD, "--budget", "0"), ("'org/new'", "budget is 0")),
        ((*ADD, "--size-b", "0"), ("'org/new'", "size_b is 0")),
        ((*ADD, "--price-input", "1"), ("'org/new'", "'price.output'")),
        (("models", "remove", "tiny/e"), ("'tiny/e'", "models.yaml", "perhaps 'tiny/")),
        ((*ADD, "--backend", "openai"), ("'openai'",)),
    ],
)
def test_slips_are_answered_with_a_sentence(
    embedllm: Any, arguments: tuple[str, ...], culprits: tuple[str, ...]
) -> None:
    said = refusal(embedllm, *arguments)
    for culprit in culprits:
        assert culprit in said


@pytest.fixture
def shipped(embedllm: Any) -> Iterator[Callable[[str | None], Any]]:
    """The command under a registry that comes with embedllm, which is as it was after the test."""
    before = {file: file.read_bytes() for folder in SHIPPED for file in folder.iterdir()}
    yield lambda name: replace(embedllm, registry=name and PROJECT / "registry" / name)
    assert {file: file.read_bytes() for folder in SHIPPED for file in folder.iterdir()} == before


@pytest.mark.parametrize("name", [None, "demo", "paper"])
def test_a_registry_that_comes_with_embedllm_is_copied_before_it_is_changed(
    shipped: Callable[[str | None], Any], name: str | None
) -> None:
    embedllm, source = shipped(name), name or "demo"
    own = embedllm.home / "registry"
    done = embedllm.here(*ADD)
    assert done.exit_code == 0, done.output
    assert done.output.startswith(
        f"Copied registry/{source} to {own}: from now on that is the registry of this home, yours to change.\n"
        f"Added org/new to {own / 'models.yaml'}.\n"
    )
    assert "org/new" in shipped(None).here("models", "list").output
    done = embedllm.here("models", "remove", "org/new")
    assert done.output.startswith(f"Removed org/new from {own / 'models.yaml'}; its answers stay in the lake.")
    for file in ("models.yaml", "benchmarks.yaml"):
        assert (own / file).read_bytes() == (PROJECT / "registry" / source / file).read_bytes()


def test_a_home_is_not_given_a_second_registry(shipped: Callable[[str | None], Any]) -> None:
    assert shipped("paper").here(*ADD).exit_code == 0
    for refused in (shipped("demo").here(*ADD), shipped(None).here("demo")):
        assert refused.exit_code == 1
        assert "has a registry of its own already" in refused.stderr


def test_the_demo_works_on_the_homes_copy_of_its_registry(
    shipped: Callable[[str | None], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    embedllm = shipped(None)

    def stop(_: Any, workspace: Workspace, *__: Any, **___: Any) -> None:
        raise CommandError(f"working with {workspace.registry.folder}")

    monkeypatch.setattr("pipelines.chain.run_chain", stop)
    for name, copied in ((None, True), (None, False), ("demo", False)):  # the second time it is there
        done = shipped(name).here("demo")
        assert ("Copied registry/demo to" in done.stdout) == copied
        assert done.stderr.endswith(f"working with {embedllm.home / 'registry'}\n")


def test_the_demo_does_not_take_the_place_of_a_registry_that_was_set(embedllm: Any) -> None:
    done = embedllm.here("demo")
    assert done.exit_code == 1
    said = f"EMBEDLLM_REGISTRY is set to {embedllm.registry}, and the demo has a registry of its own: unset it for"
    assert said in " ".join(done.stderr.split())
    assert not (embedllm.home / "registry").exists()


def test_a_home_of_imported_results_has_no_registry_to_add_to(embedllm: Any, tmp_path: Path) -> None:
    results = tmp_path / "results.csv"
    rows = [f"{prompt},q{prompt} ?,{model},{prompt % 2},x" for prompt in range(4) for model in "ab"]
    results.write_text("prompt_id,prompt,model_name,label,category\n" + "\n".join(rows) + "\n")
    embedllm = replace(embedllm, registry=None)
    done = embedllm.here("import", str(results))
    assert done.exit_code == 0, done.output
    listed = embedllm.here("models", "list")
    assert (listed.exit_code, "FROM models" in listed.output) == (0, True)
    for arguments in (ADD, ("models", "remove", "zoo/arith-005")):
        done = embedllm.here(*arguments)
        assert done.exit_code == 1
        assert "holds imported results and no registry is in force; set EMBEDLLM_REGISTRY" in done.stderr
