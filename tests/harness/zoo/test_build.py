"""A zoo of two families and a few steps: the same on any number of workers, and whole after any interruption."""

import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.zoo import MODEL_NAMES, build_zoo, is_built, update_tasks
from harness.zoo.build import recipe_digest
from harness.zoo.families import RECIPE, Family, Recipe

pytestmark = pytest.mark.slow

MICRO = Recipe(
    families={"counter": Family(16, {"addition": 2, "roman": 1}), "diarist": Family(8, {"weekday": 1})},
    steps=10,
    batch_size=8,
    training_size=40,
    checkpoints=(50, 100),
)
MODELS = ["counter-050", "counter-100", "diarist-050", "diarist-100"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The micro zoo as one worker makes it."""
    folder = tmp_path_factory.mktemp("home") / "zoo"
    build_zoo(folder, workers=1, recipe=MICRO)
    return folder


@pytest.fixture
def zoo(built: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may spoil."""
    return Path(shutil.copytree(built, tmp_path / "zoo"))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that a build leaves, but for the tasks, which name their folder."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.parent.name != "tasks")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name != ".lock"}


def test_the_zoo_has_112_models() -> None:
    assert len(set(MODEL_NAMES)) == 112
    assert "zoo/coder-035" in MODEL_NAMES
    assert all(re.fullmatch(r"zoo/[a-z-]+-\d{3}", name) for name in MODEL_NAMES)
    assert RECIPE.model_names("coder")[0] == "coder-005"


def test_each_checkpoint_is_a_folder_and_nothing_else_is_left(built: Path) -> None:
    assert sorted(path.name for path in built.iterdir()) == [".lock", *MODELS, "manifest.json", "tasks"]


def test_an_older_zoo_is_replaced_and_the_number_of_workers_changes_no_byte(built: Path, zoo: Path) -> None:
    manifest = json.loads((zoo / "manifest.json").read_text())
    (zoo / "manifest.json").write_text(json.dumps({**manifest, "recipe": "an older one"}))
    (zoo / "counter-050" / "model.safetensors").write_bytes(b"other weights")
    seen: list[tuple[int, int, str]] = []
    summary = build_zoo(zoo, workers=2, recipe=MICRO, progress=lambda *state: seen.append(state))
    assert sorted(summary.trained) == ["counter", "diarist"]
    assert contents(zoo) == contents(built)
    assert [(done, total) for done, total, _ in seen] == [(1, 2), (2, 2)]
    assert {family for *_, family in seen} == {"counter", "diarist"}


def test_seed_and_recipe_decide_whether_a_zoo_is_an_older_one(built: Path) -> None:
    digest = recipe_digest(0, MICRO)
    assert json.loads((built / "manifest.json").read_text())["recipe"] == digest
    assert recipe_digest(1, MICRO) != digest
    assert recipe_digest(0, dataclasses.replace(MICRO, steps=11)) != digest


def test_a_checkpoint_is_an_ordinary_hugging_face_folder(built: Path, caplog: pytest.LogCaptureFixture) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.enable_propagation()
    model = AutoModelForCausalLM.from_pretrained(built / "counter-100")
    tokenizer = AutoTokenizer.from_pretrained(built / "counter-100")
    assert not caplog.records
    tokens = tokenizer("Which number is the Roman numeral XIV on the coin?\nAnswer: 14")
    words = tokenizer.convert_ids_to_tokens(tokens["input_ids"])
    assert " ".join(words) == "<bos> Which number is the Roman numeral X I V on the coin ? Answer : 14"
    assert model(torch.tensor([tokens["input_ids"]])).logits.shape == (1, len(words), len(tokenizer))


def test_training_changes_the_weights(built: Path) -> None:
    half, full = (contents(built)[f"diarist-{percent}/model.safetensors"] for percent in ("050", "100"))
    assert len(half) == len(full)
    assert half != full


def test_lm_eval_evaluates_a_checkpoint(built: Path) -> None:
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(built / "tasks"), include_defaults=False)
    results = simple_evaluate(
        "hf",
        model_args={"pretrained": str(built / "counter-100")},
        tasks=["zoo_addition"],
        task_manager=manager,
        device="cpu",
        limit=20,
        bootstrap_iters=0,
    )
    assert len(results["samples"]["zoo_addition"]) == 20
    assert {"acc,none", "acc_norm,none"} < set(results["results"]["zoo_addition"])


def test_a_whole_zoo_is_left_alone_without_importing_torch(zoo: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in zoo.rglob("*.safetensors")}
    script = (
        "import sys; from pathlib import Path; from tests.harness.zoo.test_build import MICRO, build_zoo;"
        f"print(build_zoo(Path({str(zoo)!r}), recipe=MICRO).trained, 'torch' in sys.modules)"
    )
    assert run(script) == "() False\n"
    assert {path: path.stat().st_mtime_ns for path in zoo.rglob("*.safetensors")} == before


def test_what_is_missing_or_unfinished_is_made_again(built: Path, zoo: Path) -> None:
    shutil.rmtree(zoo / "diarist-050")
    unfinished = zoo / ".unfinished-before" / "counter-050"
    unfinished.mkdir(parents=True)
    (unfinished / "model.safetensors").write_bytes(b"half")
    summary = build_zoo(zoo, workers=1, recipe=MICRO)
    assert summary.trained == ("diarist",)
    assert summary.models == 4
    assert contents(zoo) == contents(built)


def test_a_killed_build_goes_on_where_it_was(built: Path, tmp_path: Path) -> None:
    """The build kills itself with SIGKILL when the first family is filed and the second is in training."""
    zoo = tmp_path / "zoo"
    script = (
        "import os; from pathlib import Path; from tests.harness.zoo.test_build import MICRO, build_zoo;"
        f"build_zoo(Path({str(zoo)!r}), workers=1, recipe=MICRO, progress=lambda *_: os.kill(os.getpid(), 9))"
    )
    with pytest.raises(subprocess.CalledProcessError) as killed:
        run(script)
    assert killed.value.returncode == -signal.SIGKILL
    assert len(list(zoo.glob(".unfinished-*"))) == 1
    assert build_zoo(zoo, workers=1, recipe=MICRO).trained == ("diarist",)
    assert contents(zoo) == contents(built)


def test_a_moved_home_is_mended(zoo: Path, tmp_path: Path) -> None:
    moved = zoo.rename(tmp_path / "moved")
    assert build_zoo(moved, recipe=MICRO).trained == ()
    assert str(moved / "tasks" / "code.jsonl") in (moved / "tasks" / "code.yaml").read_text()


def test_the_tasks_of_a_moved_zoo_are_mended_and_nothing_is_trained(zoo: Path, tmp_path: Path) -> None:
    moved = zoo.rename(tmp_path / "moved")
    update_tasks(moved, recipe=MICRO)
    assert is_built(moved, recipe=MICRO)
    update_tasks(tmp_path / "nowhere", recipe=MICRO)
    assert not (tmp_path / "nowhere").exists()


def test_a_zoo_is_built_when_another_call_would_do_nothing(zoo: Path, tmp_path: Path) -> None:
    build_zoo(zoo, recipe=MICRO)  # its tasks name the folder it was copied from
    assert is_built(zoo, recipe=MICRO)
    assert not is_built(tmp_path / "nowhere", recipe=MICRO)
    assert not is_built(zoo, seed=1, recipe=MICRO)
    moved = zoo.rename(tmp_path / "moved")
    assert not is_built(moved, recipe=MICRO)
    build_zoo(moved, recipe=MICRO)
    (moved / "diarist-050" / "model.safetensors").unlink()
    assert not is_built(moved, recipe=MICRO)


def test_no_workers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1 worker process, 0 asked for"):
        build_zoo(tmp_path / "zoo", workers=0)
    assert not (tmp_path / "zoo").exists()


def run(script: str) -> str:
    """Standard output of `script` in a fresh Python that works in the repository's root."""
    root = Path(__file__).parents[3]
    return subprocess.run(
        [sys.executable, "-c", script], cwd=root, check=True, capture_output=True, text=True, timeout=120
    ).stdout
