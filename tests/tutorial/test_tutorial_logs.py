"""docs/tutorial_logs.md, its commands as they stand there, on a folder of made-up logs."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from .test_tutorial import run

TUTORIAL = (Path(__file__).parents[2] / "docs" / "tutorial_logs.md").read_text()
TIME = "2025-06-01T10-00-00.000000"
QUESTIONS = {
    "sums": [f"What is {a} + {b}?" for a in range(3, 13) for b in range(2, 10)],
    "capitals": [f"What is the capital of {name}{number}?" for name in ("Land", "Isle") for number in range(40)],
}
GOOD_AT = {"org/counter": "sums", "org/traveller": "capitals", "org/guesser": ""}

pytestmark = pytest.mark.slow


def write_logs(folder: Path) -> None:
    """Write logs of three models: each is right at its own task nine times of ten, elsewhere one time of five."""
    for model, own in GOOD_AT.items():
        place = folder / model.replace("/", "__")
        place.mkdir(parents=True)
        (place / f"results_{TIME}.json").write_text(json.dumps({"model_name": model, "configs": {}}))
        for task, texts in QUESTIONS.items():
            wrong = 10 if task == own else 5
            rows = [
                {
                    "doc_id": i, "doc": {"question": text}, "target": "…", "arguments": {"gen_args_0": {"arg_0": text}},
                    "resps": [["…"]], "filtered_resps": ["…"], "filter": "none", "metrics": ["exact_match"],
                    "exact_match": float((i % wrong != 0) if task == own else (i % wrong == 0)),
                }
                for i, text in enumerate(texts)
            ]  # fmt: skip
            lines = "".join(f"{json.dumps(row)}\n" for row in rows)
            (place / f"samples_{task}_{TIME}.jsonl").write_text(lines)


def test_from_a_folder_of_logs_to_a_router(embedllm_of: Any, tmp_path: Path) -> None:
    write_logs(tmp_path / "logs")
    embedllm = embedllm_of(tmp_path / "data", None)
    look, learn, ask, results, again, export = re.findall(r"```sh\n(.*?)```", TUTORIAL, re.DOTALL)
    assert "Would import" in run(look, embedllm)
    assert "480 answers of 3 models to 160 questions in 2 benchmarks" in " ".join(run(learn, embedllm).split())
    models = re.findall(r"org/\w+", run(ask, embedllm))
    assert (models[0], models[3]) == ("org/counter", "org/traveller")
    assert "org/guesser" in run(results, embedllm)
    assert "Nothing new in" in run(again, embedllm)
    assert "matrix has 4 files." in run(export, embedllm)
