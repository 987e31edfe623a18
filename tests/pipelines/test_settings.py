"""Which registry is in force, and what an empty variable means."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.registry import RegistryError
from pipelines.errors import CommandError
from pipelines.settings import DEMO_REGISTRY, PROJECT, Settings, copy_registry, open_workspace, registry_in_force
from warehouse.imports.ingest import import_results

PAPER = PROJECT / "registry" / "paper"


def folder(home: Path, registry: Path | None = None) -> Path:
    return registry_in_force(Settings(home=home, registry=registry)).folder


def test_the_homes_own_registry_counts_from_the_moment_it_is_there(tmp_path: Path) -> None:
    running = Settings(home=tmp_path)  # as a UI that has been started before
    assert registry_in_force(running).folder == DEMO_REGISTRY
    copy_registry(DEMO_REGISTRY, tmp_path)
    assert registry_in_force(running).folder == tmp_path / "registry"
    assert (
        registry_in_force(running).models == registry_in_force(Settings(home=tmp_path, registry=DEMO_REGISTRY)).models
    )


def test_what_a_shipped_registry_was_copied_to_counts_in_its_place(tmp_path: Path) -> None:
    copy_registry(PAPER, tmp_path)
    assert folder(tmp_path, PAPER) == tmp_path / "registry"
    assert folder(tmp_path, DEMO_REGISTRY) == DEMO_REGISTRY
    assert folder(tmp_path) == tmp_path / "registry"


def test_a_registry_of_the_users_counts_more_than_the_homes(
    tmp_path: Path, write_registry: Callable[..., Path]
) -> None:
    copy_registry(DEMO_REGISTRY, tmp_path)
    mine = write_registry(tmp_path / "mine")
    assert folder(tmp_path, mine) == mine


def test_a_home_has_one_registry_of_its_own(tmp_path: Path) -> None:
    copy_registry(PAPER, tmp_path)
    copy_registry(PAPER, tmp_path)  # as a second command at the same time does
    with pytest.raises(CommandError, match=r"has a registry of its own already, .* no copy of registry/demo"):
        copy_registry(DEMO_REGISTRY, tmp_path)
    assert not list(tmp_path.glob(".registry-*"))


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"The registry folder .*/gone does not exist; set EMBEDLLM_REGISTRY to a"):
        folder(tmp_path, tmp_path / "gone")


def import_answers(home: Path, model: str) -> None:
    file = home.parent / "results.csv"
    rows = "".join(f"{number},{model},addition,1,What is {number} plus 2?\n" for number in range(4))
    file.write_text(f"prompt_id,model_name,category,label,prompt\n{rows}", encoding="utf-8")
    workspace = open_workspace(Settings(home=home))
    import_results(workspace.lake, str(file), benchmark_of=workspace.registry.benchmark_of)


def test_an_import_that_names_the_demos_models_does_not_bring_the_demo(tmp_path: Path) -> None:
    home = tmp_path / "home"
    import_answers(home, "zoo/arith-005")
    assert registry_in_force(Settings(home=home)).models == ()


def test_beside_answers_of_the_demos_models_the_demo_stays(
    tmp_path: Path, evaluate_zoo: Callable[[Path], None]
) -> None:
    home = tmp_path / "home"
    evaluate_zoo(home)
    import_answers(home, "org/other")
    assert len(registry_in_force(Settings(home=home)).models) == 112


@pytest.fixture
def evaluate_zoo() -> Callable[[Path], None]:
    import pyarrow as pa

    def evaluate(home: Path) -> None:
        """One model of the zoo has answered a question, in a home as they were before it had a registry of its own."""
        answers = pa.table({"task": ["zoo_roman"], "doc_id": [0], "correct": [True], "score": [1.0]})
        questions = pa.table({"task": ["zoo_roman"], "doc_id": [0], "text": ["XV?"], "category": ["roman"]})
        lake = open_workspace(Settings(home=home)).lake
        lake.write_evaluation("roman", "zoo/arith-005", answers, questions, {})

    return evaluate


def test_an_empty_variable_is_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "LAKE", "REGISTRY", "DEVICE", "ENCODER", "SEED", "EVALUATION_WORKERS"):
        monkeypatch.setenv(f"EMBEDLLM_{name}", "")
    settings = Settings()
    assert settings.home == tmp_path / "data"
    assert (settings.lake, settings.registry, settings.device) == (None, None, None)
    assert (settings.encoder, settings.seed) == ("static", 0)
