"""models.yaml grows and shrinks by one entry, and what people wrote stays."""

import multiprocessing
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from harness.registry import RegistryError, load_registry
from harness.registry.registering import add_model, remove_model

HOME = Path("/home/of/embedllm")
ENTRY = {"name": "org/new", "args": {"pretrained": "org/new", "dtype": "float32"}}
DEMO = Path(__file__).parents[3] / "registry" / "demo" / "models.yaml"


def registry(folder: Path, models: str) -> Path:
    (folder / "models.yaml").write_bytes(models.encode())
    (folder / "benchmarks.yaml").write_text("benchmarks: []\n")
    return folder


def after_adding(folder: Path, models: str, entry: dict[str, Any] = ENTRY) -> str:
    add_model(registry(folder, models), HOME, entry)
    return (folder / "models.yaml").read_bytes().decode()


def after_removing(folder: Path, models: str, name: str) -> str:
    remove_model(registry(folder, models), HOME, name)
    return (folder / "models.yaml").read_bytes().decode()


# What is written


def test_an_entry_is_appended_as_a_reader_would_write_it(tmp_path: Path) -> None:
    entry = {
        "name": "org/new",
        "backend": "local-completions",
        "args": {"base_url": "http://localhost/v1", "model": "new", "num_concurrent": 8},
        "communities": ["7b", "coding"],
        "price": {"input": 0.5, "output": 2.0},
        "budget": 128,
        "description": "Größer: neu",
    }
    before = "# Ours.\nmodels:\n  - {name: a, args: {pretrained: a}}  # the first\n"
    assert after_adding(tmp_path, before, entry) == before + (
        "  - name: org/new\n"
        "    backend: local-completions\n"
        "    args: {base_url: 'http://localhost/v1', model: new, num_concurrent: 8}\n"
        "    communities: [7b, coding]\n"
        "    price: {input: 0.5, output: 2.0}\n"
        "    budget: 128\n"
        "    description: 'Größer: neu'\n"
    )


def test_the_entry_comes_back_with_the_home_in_its_place(tmp_path: Path) -> None:
    added = add_model(
        registry(tmp_path, "models: []\n"), HOME, {"name": "a", "args": {"pretrained": "{home}/models/a"}}
    )
    assert added.args == {"pretrained": "/home/of/embedllm/models/a"}
    assert "pretrained: '{home}/models/a'" in (tmp_path / "models.yaml").read_text()
    assert load_registry(tmp_path, HOME).models == (added,)


def test_a_model_that_is_not_the_zoos_joins_the_zoo(tmp_path: Path) -> None:
    before = DEMO.read_text()
    after = after_adding(tmp_path, before)
    assert after == before + "  - name: org/new\n    args: {pretrained: org/new, dtype: float32}\n"
    assert load_registry(tmp_path, HOME).made_by == "zoo"


LAYOUTS = {
    "dashes at the margin": (
        "models:\n- name: a\n  args: {pretrained: a}\n",
        "models:\n- name: a\n  args: {pretrained: a}\n- name: X\n  args: {}\n",
    ),
    "no line end": (
        "models:\n  - {name: a, args: {pretrained: a}}",
        "models:\n  - {name: a, args: {pretrained: a}}\n  - name: X\n    args: {}",
    ),
    "an entry over two lines": (
        "models:\n  - {name: a,\n     args: {pretrained: a}}\n",
        "models:\n  - {name: a,\n     args: {pretrained: a}}\n  - name: X\n    args: {}\n",
    ),
    "line ends of Windows": (
        "models:\r\n  - {name: a, args: {pretrained: a}}\r\n",
        "models:\r\n  - {name: a, args: {pretrained: a}}\r\n  - name: X\r\n    args: {}\r\n",
    ),
    "comments and a key behind the list": (
        "models:\n  - {name: a, args: {pretrained: a}}\n    # a's\n  # - {name: b}\n\n# the zoo\nmade_by: zoo\n",
        "models:\n  - {name: a, args: {pretrained: a}}\n    # a's\n  - name: X\n    args: {}\n  # - {name: b}\n\n"
        "# the zoo\nmade_by: zoo\n",
    ),
    "a text in a block": (
        "models:\n  - name: a\n    args: {pretrained: a}\n    description: |\n      Two\n      lines.\nmade_by: zoo\n",
        "models:\n  - name: a\n    args: {pretrained: a}\n    description: |\n      Two\n      lines.\n"
        "  - name: X\n    args: {}\nmade_by: zoo\n",
    ),
    "an empty list": ("models: []\n", "models:\n  - name: X\n    args: {}\n"),
    "brackets in a line": (
        "models: [{name: a, args: {pretrained: a}}]\n",
        "models: [{name: a, args: {pretrained: a}}, {name: X, args: {}}]\n",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_usual_layouts_are_kept_and_removing_is_the_way_back(tmp_path: Path, layout: str) -> None:
    before, expected = LAYOUTS[layout]
    after = after_adding(tmp_path, before)
    short = after.replace("org/new", "X", 1).replace("{pretrained: org/new, dtype: float32}", "{}")
    assert short == expected
    remove_model(tmp_path, HOME, "org/new")
    assert (tmp_path / "models.yaml").read_bytes().decode() == before


@pytest.mark.parametrize(
    "before",
    [
        "# Ours\nmodels: [] # none yet\nmade_by: zoo\n",
        "models: []\n...\n",
        "models: [\n]\n",
        "models: [\n  {name: 'a', args: {pretrained: a}} # a\n]\n",
        '{\r\n "models": [\r\n  {"name": "a", "args": {"pretrained": "a"}}\r\n ]\r\n}',
        "models: !!seq [{name: a, args: &x {pretrained: a}}]\n",
    ],
)
def test_unusual_layouts_keep_comments_quotes_and_values(tmp_path: Path, before: str) -> None:
    folder = registry(tmp_path, before)
    others = load_registry(folder, HOME).models
    added = add_model(folder, HOME, ENTRY)
    assert load_registry(folder, HOME).models == (*others, added)
    remove_model(folder, HOME, "org/new")
    assert load_registry(folder, HOME).models == others
    after = (folder / "models.yaml").read_text()
    for part in ("# Ours", "# none yet", "# a", "'a'", '"a"', "made_by: zoo"):
        assert (part in before) == (part in after)


@pytest.mark.parametrize(
    "before",
    [
        "models: [\n  {name: a, args: {pretrained: a}}, # a\n]\n",
        "models:\n  - name: a\n    args: {pretrained: a}\n    description: |\n      No line end",
        "? models\n: - {name: a, args: {pretrained: a}}\n",
        'models:\n- name: a\n  args: {pretrained: a}\n  description: "p\n- q"\n',
    ],
)
def test_what_would_lose_a_comment_or_change_another_entry_is_refused(tmp_path: Path, before: str) -> None:
    with pytest.raises(RegistryError, match="without touching other entries; edit the file by hand"):
        after_adding(tmp_path, before)
    assert (tmp_path / "models.yaml").read_text() == before


def test_each_line_keeps_its_own_end(tmp_path: Path) -> None:
    before = b"models:\r\n- name: a\n  args: {pretrained: a}\n"
    (registry(tmp_path, "models: []\n") / "models.yaml").write_bytes(before)
    add_model(tmp_path, HOME, ENTRY)
    assert (tmp_path / "models.yaml").read_bytes().startswith(before)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "models:\n  # A's.\n  - name: a\n    args:  # of a\n      pretrained: a\n\n"
            "  # B's.\n  - {name: b, args: {pretrained: b}}\n",
            "models:\n  # A's.\n\n  # B's.\n  - {name: b, args: {pretrained: b}}\n",
        ),
        (
            "models:\n  -\n    # inside\n    name: a\n    args: {pretrained: a}\n  - {name: b, args: {pretrained: b}}",
            "models:\n  - {name: b, args: {pretrained: b}}",
        ),
        (
            "models:\n  - {name: b, args: {pretrained: b}}\n  - {name: a, args: {pretrained: a}}",
            "models:\n  - {name: b, args: {pretrained: b}}",
        ),
        ("# Ours\nmodels:  # none\n- {name: a, args: {pretrained: a}}\n", "# Ours\nmodels: [] # none\n"),
        (
            "models:\n  - {name: a, args: {pretrained: a}}\n\n# the zoo\nmade_by: zoo\n",
            "models: []\n\n# the zoo\nmade_by: zoo\n",
        ),
        (
            "models: [{name: a, args: {pretrained: a}}, {name: b, args: {pretrained: b}}]\n",
            "models: [{name: b, args: {pretrained: b}}]\n",
        ),
    ],
)
def test_what_is_removed_is_the_entry_and_its_own_comments(tmp_path: Path, before: str, after: str) -> None:
    assert after_removing(tmp_path, before, "a") == after


# What holds for every file

ENTRY_LAYOUTS = (
    "- {{name: {0}, args: {{pretrained: {0}}}}}",
    "- {{name: {0}, family: f,\n   args: {{pretrained: {0}}}}}  # two lines",
    "- name: {0}\n  args:\n    pretrained: {0}",
    "-\n  # above {0}\n  args: {{pretrained: {0}}}\n  name: {0}",
    "- name: {0}\n  args: {{pretrained: {0}}}\n  description: |\n    of {0}\n\n    - twice",
    "- name: {0}\n  args: {{pretrained: {0}}}\n  # behind {0}",
    '- name: {0}\n  args: {{pretrained: "{{home}}/{0}"}}\n  communities:\n  - x\n  - y',
)
BETWEEN = ("", "\n", "# - {{name: off}}\n", "\n# heading: of what follows\n")


@st.composite
def files(draw: st.DrawFn) -> str:
    """A models.yaml of up to five entries, each laid out in its own way."""
    indent = " " * draw(st.integers(0, 4))
    text = draw(st.sampled_from(["", "# Models\n\n", "---\n", "made_by: zoo\n"]))
    count = draw(st.integers(0, 5))
    text += "models:  # all\n" if count else "models: []\n"
    for number in range(count):
        entry = draw(st.sampled_from(ENTRY_LAYOUTS)).format(f"m{number}")
        text += "".join(f"{indent}{line}\n" if line else "\n" for line in entry.split("\n"))
        text += draw(st.sampled_from(BETWEEN))
    if "made_by" not in text:
        text += draw(st.sampled_from(["", "made_by: zoo\n", "# the end\n"]))
    if "description" not in text and draw(st.booleans()):  # a text in a block would be another without its line end
        text = text.removesuffix("\n")
    return text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))


CHARACTERS = st.characters(
    codec="utf-8", exclude_characters="\x85\u2028\u2029"
)  # line breaks that YAML makes plain ones
WORDS = st.text(CHARACTERS, min_size=1, max_size=30).map(str.strip).filter(bool)


@st.composite
def entries(draw: st.DrawFn) -> dict[str, Any]:
    """Entries with every kind of text in them."""
    args = {
        "pretrained": draw(WORDS),
        "x": draw(st.one_of(WORDS, st.integers(), st.booleans(), st.floats(-9, 9).map(lambda x: round(x, 6)))),
    }
    entry: dict[str, Any] = {"name": "new", "args": args}
    if draw(st.booleans()):
        entry["description"] = draw(st.text(CHARACTERS, max_size=80))
    if draw(st.booleans()):
        entry["communities"] = draw(st.lists(st.sampled_from(["7b", "coding", "no", "1e5"]), unique=True))
    return entry


@given(files(), entries())
@example("models: []", {"name": "new", "args": {"pretrained": "y", "x": " \n\n a: - # {\n"}})
def test_adding_keeps_all_others_and_removing_is_the_way_back(before: str, entry: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = registry(Path(name), before)
        others = load_registry(folder, HOME).models
        try:
            added = add_model(folder, HOME, entry)
        except RegistryError as error:
            assert str(error).startswith("model 'new': ")  # noqa: PT017  (of the entry, not of the layout)
            return
        after = (folder / "models.yaml").read_bytes()
        assert load_registry(folder, HOME).models == (*others, added)
        assert added.args["x"] == entry["args"]["x"] or "{home}" in str(entry["args"]["x"])
        assert set(before.splitlines()) - {"models: []", "---"} <= set(after.decode().splitlines())
        remove_model(folder, HOME, "new")
        after = (folder / "models.yaml").read_bytes().decode()
        assert after == before if others else set(before.split()) <= {*after.split(), "---"}


@given(files(), st.data())
def test_removing_keeps_all_others(before: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = registry(Path(name), before)
        models = load_registry(folder, HOME).models
        if not models:
            return
        gone = data.draw(st.sampled_from(models))
        remove_model(folder, HOME, gone.name)
        assert load_registry(folder, HOME).models == tuple(model for model in models if model != gone)
        after = (folder / "models.yaml").read_bytes().decode()
        assert before.count("off") == after.count("off")
        assert before.count("heading") == after.count("heading")


# What is refused


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (
            {**ENTRY, "name": "A"},
            "{file}: the name 'a' is taken; choose another, or ",
        ),
        ({"name": "new", "args": {}}, "model 'new': args lack 'pretrained', which backend hf needs; "),
        ({"name": "new", "args": {"pretrained": "x", "api_key": "y"}}, "model 'new': 'api_key' holds a secret; "),
        ({"args": {"pretrained": "x"}}, "model: lacks 'name'; "),
    ],
)
def test_an_unusable_entry_changes_nothing(tmp_path: Path, entry: dict[str, Any], expected: str) -> None:
    before = "# Ours\nmodels:\n  - {name: a, args: {pretrained: a}}\n"
    with pytest.raises(RegistryError) as error:
        after_adding(tmp_path, before, entry)
    assert str(error.value).startswith(expected.replace("{file}", str(tmp_path / "models.yaml")))
    assert (tmp_path / "models.yaml").read_text() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["benchmarks.yaml", "models.yaml"]


def test_an_unknown_model_is_not_removed(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"No model 'b' in .*; it has a"):
        after_removing(tmp_path, "models:\n  - {name: a, args: {pretrained: a}}\n", "b")


def test_an_entry_that_others_lean_on_is_not_removed(tmp_path: Path) -> None:
    before = "models:\n  - {name: a, args: &shared {pretrained: a}}\n  - {name: b, args: *shared}\n"
    with pytest.raises(RegistryError, match="edit the file by hand"):
        after_removing(tmp_path, before, "a")
    assert after_removing(tmp_path, before, "b") == before.splitlines(keepends=True)[0] + before.splitlines(True)[1]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"registry folder .*/none does not exist"):
        add_model(tmp_path / "none", HOME, ENTRY)


@pytest.mark.parametrize("what", ["models.yaml", "."])
def test_a_registry_that_may_not_be_written_says_to_copy_it(what: str) -> None:
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        folder = registry(Path(name), "models: []\n")
        folder.chmod(0o755)
        (folder / what).chmod(0o555)
        os.seteuid(user or 65534)  # the superuser may write everywhere
        try:
            with pytest.raises(RegistryError, match=r"may not be written .*; copy the folder .*EMBEDLLM_REGISTRY"):
                add_model(folder, HOME, ENTRY)
        finally:
            os.seteuid(user)
            (folder / what).chmod(0o755)
        assert (folder / "models.yaml").read_text() == "models: []\n"


def test_a_read_only_disk_says_to_copy_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(RegistryError, match=r"may not be written \(Read-only file system\); copy the folder"):
        after_adding(tmp_path, "models: []\n")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["benchmarks.yaml", "models.yaml"]


# What else may be at work


def test_links_stay_links_and_permissions_stay(tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    folder = registry(tmp_path / "registry", "models: []\n")
    (folder / "models.yaml").rename(tmp_path / "shared.yaml")
    (tmp_path / "shared.yaml").chmod(0o640)
    (folder / "models.yaml").symlink_to(tmp_path / "shared.yaml")
    add_model(folder, HOME, ENTRY)
    assert (folder / "models.yaml").is_symlink()
    assert "org/new" in (tmp_path / "shared.yaml").read_text()
    assert (tmp_path / "shared.yaml").stat().st_mode & 0o777 == 0o640


def _add(folder: Path, number: int) -> None:
    for step in range(5):
        add_model(folder, HOME, {"name": f"m{number}-{step}", "args": {"pretrained": "x"}})


def test_two_at_once_lose_nothing(tmp_path: Path) -> None:
    folder = registry(tmp_path, "models: []\n")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add, args=(folder, number)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    names = {model.name for model in load_registry(folder, HOME).models}
    assert names == {f"m{number}-{step}" for number in range(3) for step in range(5)}
    assert yaml.safe_load((folder / "models.yaml").read_text())["models"][0]["args"] == {"pretrained": "x"}
