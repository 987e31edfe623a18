"""Ask a model the questions of a benchmark, through lm-eval, and return the graded answers."""

import hashlib
import json
import random
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import lm_eval
import numpy as np
import pyarrow as pa
import torch
import transformers
from lm_eval.api.task import Task
from lm_eval.evaluator import evaluate as lm_eval_evaluate

from .backends import CHAT
from .cache import AnswerFile
from .checks import MOST_UNANSWERED, check_share_unanswered, equal_scores_problem
from .digests import digest_of
from .errors import (
    EvaluationFailed,
    ImplausibleAnswers,
    NoLogProbabilities,
    NotApplicable,
    NotNumbers,
    Stage,
    explained,
)
from .fingerprints import fingerprint_of
from .grading import assess, grade
from .identity import input_versions, weights_of
from .models import LoadedModel
from .registry import BenchmarkEntry, ModelEntry
from .tasks import TaskIndex

__all__ = ["Evaluation", "LoadedModel", "TaskIndex", "evaluate", "fingerprint"]

SCORED = ("multiple_choice", "loglikelihood", "loglikelihood_rolling")  # kinds of task that need log probabilities


@dataclass(frozen=True)
class Evaluation:
    """What one model answered to one benchmark.

    answers: one row for each question that was answered; the columns of grading.ANSWERS of which anything is known.
    questions: one row for each question of the benchmark, asked or not (schema tasks.QUESTIONS).
    metadata: what determined the answers, how far they can be trusted (grading.Quality), when and where they were
        given, and how fast; strings only.
    """

    answers: pa.Table
    questions: pa.Table
    metadata: dict[str, str]


def evaluate(
    model: LoadedModel,
    benchmark: BenchmarkEntry,
    tasks: TaskIndex,
    *,
    subset: Mapping[str, Sequence[int]] | None = None,
    keep_answers: bool = True,
) -> Evaluation:
    """Grade `model` on `benchmark`; with `subset` ({task: doc_ids}), on these questions only.

    `keep_answers`: return what the model said or chose as well. It changes no grade and no fingerprint. An evaluation
    that was killed goes on from the answers it had; call `model.forget(benchmark.name)` once the result is stored.
    Names and data are checked before weights are loaded. Raises HarnessError (see harness.errors), and ValueError for a
    subset of questions that do not exist.
    """
    started = datetime.now(UTC)
    with explained(Stage.DATA, model=model.name, benchmark=benchmark.name):
        loaded = tasks.load(benchmark)
        questions = tasks.questions(benchmark)
        _check_applicable(model.entry, loaded)
    asked = loaded if subset is None else {name: loaded[name] for name in _tasks_of(subset, questions)}
    accept_ties = model.entry.implausible_answers == "accept"
    with explained(Stage.ANSWERS, model=model.name, benchmark=benchmark.name):
        samples, answers_file, seconds = _ask(model, benchmark, asked, subset)
        usage_of = answers_file.usage_of
        answers = grade(
            samples, asked, benchmark, accept_ties=accept_ties, keep_answers=keep_answers, usage_of=usage_of
        )
        # What a chat server makes of a prompt that is too long cannot be seen from here.
        is_cut = None if model.entry.backend == CHAT else answers_file.is_cut
        quality = assess(samples, asked, benchmark, is_cut, accept_ties=accept_ties)
        if subset is None:
            if not accept_ties and quality.equal_scores and quality.equal_scores > MOST_UNANSWERED:
                answers_file.discard()
                where = f"{quality.equal_scores:.0%} of {quality.asked} questions"
                raise ImplausibleAnswers(equal_scores_problem(where))
            check_share_unanswered(quality.unanswered, quality.asked)
            if not answers.num_rows:
                raise EvaluationFailed(
                    f"none of {quality.asked} answers has a score; see what '{benchmark.metric}' needs"
                )
        metadata = _metadata(model, benchmark, tasks) | quality.as_metadata()
        metadata |= _performance(model, seconds, answers_file.tokens)
    times = {"started": started, "finished": datetime.now(UTC)}
    metadata |= {name: time.isoformat(timespec="seconds") for name, time in times.items()}
    return Evaluation(answers, questions, metadata)


def _check_applicable(entry: ModelEntry, tasks: Mapping[str, Task]) -> None:
    """Raise NotApplicable where no model of this backend can be asked such a task."""
    for name, task in tasks.items():
        if entry.backend == CHAT and task.OUTPUT_TYPE in SCORED:
            raise NotApplicable(
                f"a chat server gives no log probabilities, which task '{name}' ({task.OUTPUT_TYPE}) is graded by"
            )
        if getattr(task, "MULTIMODAL", False):
            raise NotApplicable(f"task '{name}' shows images or sounds, which backend {entry.backend} cannot be sent")


def fingerprint(model: LoadedModel | ModelEntry, benchmark: BenchmarkEntry, tasks: TaskIndex, seed: int = 0) -> str:
    """Return a hex digest of all that determines the answers; neither weights nor questions need be in memory.

    It covers the weights (hub commit or content of the folder), the arguments, the task definitions with the code and
    local files that they use, metric, filter, few-shot count, seed and lm-eval's version; not the batch size, nor where
    files lie.
    """
    entry = model.entry if isinstance(model, LoadedModel) else model
    seed = model.seed if isinstance(model, LoadedModel) else seed
    with explained(Stage.MODEL, model=entry.name, benchmark=benchmark.name):
        return fingerprint_of(entry, benchmark, tasks.configs(benchmark), seed, lm_eval.__version__)


def _ask(
    model: LoadedModel, benchmark: BenchmarkEntry, asked: dict[str, Task], subset: Mapping[str, Sequence[int]] | None
) -> tuple[Mapping[str, Sequence[Mapping[str, Any]]], AnswerFile, float]:
    """Return lm-eval's samples by task, the file that holds the answers, and the seconds that asking took."""
    lm, answers = model.asking(benchmark.name, whole=subset is None)
    # lm-eval's own seeds (0, 1234, 1234, 1234), shifted
    random.seed(model.seed)
    np.random.seed(1234 + model.seed)
    torch.manual_seed(1234 + model.seed)
    for task in asked.values():
        task.set_fewshot_seed(1234 + model.seed)
    started = time.monotonic()  # the weights are loaded
    try:
        # `simple_evaluate` is this call after what is done above and in TaskIndex.load, and before a description of the
        # machine (compilers, pip's packages, git) that takes a second: as much as all benchmarks of a zoo model.
        results = lm_eval_evaluate(
            lm,
            {"tasks": asked},
            samples=None if subset is None else {name: sorted(set(subset[name])) for name in asked},
            bootstrap_iters=0,
            apply_chat_template=model.entry.apply_chat_template,
            fewshot_as_multiturn=model.entry.apply_chat_template,
        )
    except (ImplausibleAnswers, NoLogProbabilities, NotNumbers):
        answers.discard()  # those before were no better
        raise
    except BaseException:
        answers.save()
        raise
    return results["samples"], answers, time.monotonic() - started  # pyright: ignore


def _tasks_of(subset: Mapping[str, Sequence[int]], questions: pa.Table) -> list[str]:
    """Return the tasks of which `subset` has questions, in the benchmark's order, or raise ValueError."""
    names = questions.column("task").to_pylist()
    for name, doc_ids in subset.items():
        n = names.count(name)
        if wrong := [i for i in doc_ids if not 0 <= i < n]:
            raise ValueError(f"the subset asks for question {wrong[0]} of task '{name}', which has {n}")
    return [name for name in dict.fromkeys(names) if subset.get(name)]


def _performance(model: LoadedModel, seconds: float, tokens: int) -> dict[str, str]:
    """Return where and how fast the questions were answered; what is not known is left out.

    The answers that a killed evaluation had left count neither in `tokens` nor in `seconds`.
    """
    known = {"node": socket.gethostname(), "seconds": repr(round(seconds, 4))}
    known |= {"gpu": model.gpu} if model.gpu else {}
    return known | ({"tokens_per_second": repr(round(tokens / seconds, 1))} if tokens else {})


def _metadata(model: LoadedModel, benchmark: BenchmarkEntry, tasks: TaskIndex) -> dict[str, str]:
    entry = model.entry
    loaded = tasks.load(benchmark)
    # A server's chat template cannot be seen from here.
    template = model.lm.chat_template(True) if entry.apply_chat_template else ""
    return {
        "fingerprint": fingerprint(model, benchmark, tasks),
        "model": entry.name,
        "benchmark": benchmark.name,
        "backend": entry.backend,
        "model_args": json.dumps(entry.args, sort_keys=True),
        "weights": weights_of(entry),
        "inputs": json.dumps(input_versions(entry), sort_keys=True),
        "tasks": digest_of(tasks.configs(benchmark)),
        "harness_version": f"lm_eval {lm_eval.__version__}",
        "task_versions": json.dumps({name: str(task.VERSION) for name, task in loaded.items()}),
        "metric": benchmark.metric,
        "filter": benchmark.filter,
        "num_fewshot": ",".join(sorted({str(task.get_config("num_fewshot")) for task in loaded.values()})),
        "seed": str(model.seed),
        "chat_template_hash": hashlib.sha256(template.encode()).hexdigest() if template else "",
        "device": model.device,
        "batch_size": str(getattr(model.lm, "batch_size", entry.batch_size)),
        "versions": json.dumps({"torch": torch.__version__, "transformers": transformers.__version__}),
    }
