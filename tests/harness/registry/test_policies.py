"""policies.yaml: what it says, and how a slip in it is reported."""

from pathlib import Path

import pytest

from harness.registry import ModelEntry, Policies, RegistryError, load_policies, load_registry

MODELS = """
models:
  - {name: org/a, args: {pretrained: a}}
  - name: org/b
    backend: local-chat-completions
    args: {base_url: "http://localhost:8000/v1/chat/completions", model: b}
    apply_chat_template: true
"""


def load(folder: Path, text: str | None, models: str = MODELS) -> Policies:
    (folder / "models.yaml").write_text(models)
    (folder / "benchmarks.yaml").write_text("benchmarks: []\n")
    if text is not None:
        (folder / "policies.yaml").write_text(text)
    return load_policies(load_registry(folder, folder), folder)


def test_without_a_file_there_are_two(tmp_path: Path) -> None:
    policies = load(tmp_path, None)
    assert (list(policies.by_name), policies.default) == (["best", "cheap"], "best")


def test_the_file_says_which_there_are_and_the_first_is_the_default(tmp_path: Path) -> None:
    text = "policies:\n  - {name: careful, default_model: org/a}\n  - {name: pin, choose: pinned, model: org/b}\n"
    policies = load(tmp_path, text)
    assert policies.default == "careful"
    assert policies.by_name["careful"].default_model == "org/a"
    assert load(tmp_path, f"default: pin\n{text}").default == "pin"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("policies: []", "has no policies; write one, or remove the file."),
        ("policies:\n  - {name: a, at_lest: 0.5}",
         "line 2, policy 'a': unknown field 'at_lest'; perhaps 'at_least' is meant."),
        ("policies:\n  - {name: a, at_least: 1.5}",
         "line 2, policy 'a': at_least is 1.5, but must be a number from 0 to 1: the probability that is enough, "
         "for cheapest."),
        ("policies:\n  - {name: a, model: org/a}",
         "line 2, policy 'a': has 'model', which means nothing unless it chooses pinned; add 'choose: pinned'."),
        ("policies:\n  - {name: a, choose: pinned}", "policy 'a': lacks 'model', which it needs to choose pinned."),
        ("policies:\n  - {name: a, choose: shadow}",
         "line 2, policy 'a': lacks 'default_model', which answers where it chooses shadow."),
        ("policies:\n  - {name: A/B}",
         "line 2, policy 'A/B': name 'A/B' is no policy name; use lower-case letters, digits, '_', '.' and '-' only."),
        ("policies:\n  - {name: a, without: [zzz]}",
         "policy 'a' names 'zzz', which is not in models.yaml; it has org/a, org/b."),
        ("default: b\npolicies:\n  - {name: a}", "No policy 'b' in {path}; it has a."),
        ("policies:\n  - {name: a", "; mend the YAML there."),
    ],
)  # fmt: skip
def test_a_slip_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RegistryError) as told:
        load(tmp_path, text)
    assert str(told.value).endswith(message.replace("{path}", str(tmp_path / "policies.yaml")))


def test_where_a_model_is_served(tmp_path: Path) -> None:
    load(tmp_path, None)
    local, chat = load_registry(tmp_path, tmp_path).models
    assert local.served_at is None
    assert chat.served_at is not None
    assert chat.served_at.model_dump() == {
        "base_url": "http://localhost:8000/v1",
        "model": "b",
        "api_key_env": "OPENAI_API_KEY",
        "endpoints": ("chat",),
    }


@pytest.mark.parametrize(
    ("upstream", "message"),
    [
        ("{base_url: 'https://ann:pw@x.org/v1', model: m}", "'base_url' holds a secret; remove it and"),
        ("{base_url: 'https://x.org/v1', model: m, api_key_env: sk-abcdefghijklmnop1234}",
         "upstream has an api_key_env that is no environment variable's name; write the name, not a key"),
        ("{base_url: 'x.org', model: m}", "upstream.base_url is 'x.org', but must be the server's address up to its"),
        ("{base_url: 'https://x.org/v1', model: m, key: k}", "unknown field 'upstream.key'"),
    ],
)  # fmt: skip
def test_an_upstream_out_of_shape_is_refused_and_no_secret_repeated(
    tmp_path: Path, upstream: str, message: str
) -> None:
    with pytest.raises(RegistryError) as told:
        load(tmp_path, None, f"models:\n  - {{name: a, args: {{pretrained: a}}, upstream: {upstream}}}\n")
    assert message in str(told.value)
    assert "abcdefghij" not in str(told.value)
    assert "pw" not in str(told.value)


def test_where_a_model_is_served_changes_no_answer() -> None:
    from harness.registry import CHANGES_NO_ANSWER

    assert set(ModelEntry.model_fields) >= CHANGES_NO_ANSWER
