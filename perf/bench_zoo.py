"""Quality of the zoo: builds it, scores all 112 models on all ten benchmarks, prints two Markdown tables.

    python perf/bench_zoo.py [FOLDER]       (default: a temporary folder; an existing zoo is not built again)

Scores come straight from torch, by lm-eval's rule (the likeliest choice after the prompt); for two models they are
compared with lm-eval's own.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, logging

sys.path.insert(0, str(Path(__file__).parents[1]))  # before this folder, whose harness.py is not the package

from harness.zoo import FAMILIES, SKILLS, TASK_PREFIX, build_zoo
from harness.zoo.families import RECIPE
from harness.zoo.skills import LEVELS

COMPARED = ("coder-100", "linguist-035")

Scores = dict[str, torch.Tensor]  # skill -> one 0/1 a question


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--workers", type=int)
    options = parser.parse_args()
    logging.disable_progress_bar()
    torch.set_num_threads(1)  # more only spin on models this small
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        summary = build_zoo(folder, workers=options.workers, progress=lambda *state: print(*state, file=sys.stderr))
        print(f"{len(summary.trained)} families trained: {summary.seconds:.2f} s, CPU {summary.cpu_seconds:.0f} s\n")
        benchmarks = {skill: read_benchmark(folder / "tasks" / f"{skill}.jsonl") for skill in SKILLS}
        start = time.process_time()
        scores = {
            model: score(folder / model, benchmarks) for family in FAMILIES for model in RECIPE.model_names(family)
        }
        print(f"112 models scored: CPU {time.process_time() - start:.0f} s\n")
        print(final_table(scores), progress_table(scores), level_table(scores, benchmarks), sep="\n\n", end="\n\n")
        return compare_with_lm_eval(folder, scores)


def read_benchmark(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@torch.no_grad()
def score(folder: Path, benchmarks: dict[str, list[dict]]) -> Scores:
    """Which questions the model in `folder` answers right; every choice is one token."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    scores = {}
    for skill, rows in benchmarks.items():
        prompts = tokenizer([row["prompt"] for row in rows], padding=True, padding_side="right", return_tensors="pt")
        last = prompts["attention_mask"].sum(1) - 1
        logits = model(prompts["input_ids"], attention_mask=prompts["attention_mask"]).logits
        choices = torch.tensor([tokenizer.convert_tokens_to_ids(row["choices"]) for row in rows])
        picked = logits[torch.arange(len(rows)), last].gather(1, choices).argmax(1)
        scores[skill] = (picked == torch.tensor([row["label"] for row in rows])).float()
    return scores


def final_table(scores: dict[str, Scores]) -> str:
    """Family x skill, accuracy of the last checkpoint in percent; bold where the family was trained on the skill."""
    lines = [_row("family", SKILLS), _row("---", ["--:"] * len(SKILLS))]
    for family, recipe in FAMILIES.items():
        last = scores[RECIPE.model_names(family)[-1]]
        cells = [_percent(last[skill], bold=skill in recipe.diet) for skill in SKILLS]
        lines.append(_row(family, cells))
    return "\n".join(lines)


def progress_table(scores: dict[str, Scores]) -> str:
    """Family x checkpoint: mean accuracy over the skills that the family was trained on, in percent."""
    lines = [_row("family", [f"{p} %" for p in RECIPE.checkpoints]), _row("---", ["--:"] * len(RECIPE.checkpoints))]
    for family, recipe in FAMILIES.items():
        diet = [torch.cat([scores[model][skill] for skill in recipe.diet]) for model in RECIPE.model_names(family)]
        lines.append(_row(family, [_percent(right) for right in diet]))
    return "\n".join(lines)


def level_table(scores: dict[str, Scores], benchmarks: dict[str, list[dict]]) -> str:
    """Level x skill: accuracy of the best family's last checkpoint, in percent."""
    lines = [_row("level", SKILLS), _row("---", ["--:"] * len(SKILLS))]
    last = [scores[RECIPE.model_names(family)[-1]] for family in FAMILIES]
    best = {skill: max((s[skill] for s in last), key=lambda right: float(right.mean())) for skill in SKILLS}
    for level in LEVELS:
        of_level = {s: torch.tensor([row["level"] == level for row in rows]) for s, rows in benchmarks.items()}
        lines.append(_row(str(level), [_percent(best[skill][of_level[skill]]) for skill in SKILLS]))
    return "\n".join(lines)


def compare_with_lm_eval(folder: Path, scores: dict[str, Scores]) -> int:
    """0 when lm-eval finds the same accuracies for the models `COMPARED`, else 1."""
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder / "tasks"), include_defaults=False)
    differences = 0
    for name in COMPARED:
        # pyright does not see lm-eval's parameters through its decorators
        model = HFLM(pretrained=str(folder / name), dtype="float32", device="cpu", batch_size=64)  # pyright: ignore
        found = simple_evaluate(model, tasks=sorted(manager.all_subtasks), task_manager=manager, bootstrap_iters=0)  # pyright: ignore
        results = (found or {}).get("results", {})
        for skill in SKILLS:
            ours, theirs = float(scores[name][skill].mean()), results[TASK_PREFIX + skill]["acc,none"]
            differences += abs(ours - theirs) > 1e-6
            print(f"{name} {skill}: torch {ours:.4f}, lm-eval {theirs:.4f}")
    print(f"{differences} differences")
    return int(differences > 0)


def _percent(right: torch.Tensor, *, bold: bool = False) -> str:
    text = f"{100 * float(right.mean()):.0f}"
    return f"**{text}**" if bold else text


def _row(first: str, cells: Iterable[str]) -> str:
    return f"| {first} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
