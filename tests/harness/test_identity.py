import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import RevisionNotFoundError

from harness import identity
from harness.errors import ModelNotFound
from harness.identity import check_hub, determining_args, pinned_args, weights_of
from harness.registry import ModelEntry, model_entry

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def entry(**args: Any) -> ModelEntry:
    return ModelEntry(name="m", args=args)


def test_folder_is_known_by_what_is_in_it(model_dir: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model_dir, tmp_path / "copy")
    (copy / "README.md").write_text("notes do not change the weights")
    same = weights_of(entry(pretrained=str(copy)))
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"layer_norm_epsilon": 0.1}))

    assert same == weights_of(entry(pretrained=str(model_dir)))
    assert weights_of(entry(pretrained=str(copy))) != same


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's local cache holding org/model's branch main, and no connection."""
    repository = tmp_path / "models--org--model"
    (repository / "snapshots" / COMMIT).mkdir(parents=True)
    (repository / "snapshots" / COMMIT / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    identity._resolved.cache_clear()
    return tmp_path


def test_hub_model_is_known_by_its_commit_and_loaded_by_it(hub_cache: Path) -> None:
    model = entry(pretrained="org/model", dtype="float16")

    assert weights_of(model) == f"hub org/model@{COMMIT}"
    assert pinned_args(model) == {"pretrained": "org/model", "dtype": "float16", "revision": COMMIT}
    assert determining_args(model)["args"] == {"pretrained": f"hub org/model@{COMMIT}", "dtype": "float16"}


def test_revision_is_left_alone_where_it_would_be_another_repositorys_too(hub_cache: Path) -> None:
    args = {"pretrained": "org/model", "tokenizer": "org/tokenizer", "revision": "main"}

    assert pinned_args(entry(**args)) == args


def test_revision_the_hub_does_not_have_is_refused_even_with_a_copy_at_hand(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise RevisionNotFoundError("404: no such revision", response=_response())

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", gone)
    with pytest.raises(ModelNotFound, match="404: no such revision"):
        weights_of(entry(pretrained="org/model"))


def _response() -> Any:
    from unittest.mock import Mock

    return Mock(headers={}, status_code=404)


@pytest.mark.parametrize("path", ["/no/such/folder", "./here", "~/models/x", "a/b/c"])
def test_path_of_nothing_is_not_taken_for_a_hub_name(path: str) -> None:
    with pytest.raises(ModelNotFound, match=r"names the folder .*, which does not exist"):
        weights_of(entry(pretrained=path))


def test_server_is_known_by_address_and_model_name() -> None:
    args = {"base_url": "http://host:8000/v1/completions", "model": "org/model"}
    server = ModelEntry(name="m", backend="local-completions", args=args)

    assert weights_of(server) == "server http://host:8000/v1/completions#org/model"
    assert pinned_args(server) == args


def test_other_arguments_are_another_model(save_model: Callable[..., None], tmp_path: Path) -> None:
    save_model(tmp_path / "m")
    plain = entry(pretrained=str(tmp_path / "m"))
    half = entry(pretrained=str(tmp_path / "m"), dtype="bfloat16")

    assert weights_of(plain) == weights_of(half)
    assert determining_args(plain) != determining_args(half)


def test_a_file_in_the_home_is_the_same_argument_once_the_home_has_moved() -> None:
    args = {"base_url": "http://localhost:8000/v1/completions", "model": "m", "chat_template": "{home}/chat.jinja"}
    raw = {"name": "m", "backend": "local-completions", "args": args}
    here, there = model_entry(raw, Path("/here")), model_entry(raw, Path("/there"))
    assert here.args["chat_template"] == "/here/chat.jinja"
    assert determining_args(here) == determining_args(there)


def test_a_hub_out_of_reach_is_said_once_for_all_models(hub_cache: Path, model_dir: Path) -> None:
    absent = [ModelEntry(name=name, args={"pretrained": name}) for name in ("org/a", "org/b")]

    with pytest.raises(ModelNotFound, match=r"'org/a': this and 1 other models .* hub, which cannot be reached"):
        check_hub(absent)
    for within_reach in (entry(pretrained="org/model"), entry(pretrained=str(model_dir))):
        check_hub([*absent, within_reach])  # something can be evaluated: the others fail one by one
    check_hub([])
