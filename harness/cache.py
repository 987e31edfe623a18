"""Answers of an evaluation in progress, kept so that a killed one goes on where it stopped.

lm-eval has a cache of its own (`use_cache`), but its key knows nothing of the model, and it pickles every
answer into SQLite through a second thread, which for a small model costs more than the model. Here the file
belongs to one model, one version of its weights and one benchmark; it holds a JSON line an answer and is
removed once the answers are durably stored elsewhere.
"""

import json
import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM, hash_args

__all__ = ["AnswerFile", "ResumingLM"]

FLUSH_SECONDS = 1.0  # what a kill can cost

logger = logging.getLogger(__name__)


class AnswerFile:
    """Answers by request: those the file held at first, and new ones, appended to it about once a second."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[str, Any] = dict(_read(path))
        self._unsaved: list[tuple[str, tuple[Any, ...], Any]] = []
        self._saved_at = time.monotonic()

    def find(self, attr: str, args: tuple[Any, ...]) -> Any | None:
        """The answer to the request `attr`(*`args`) of lm-eval's, None if the file had none."""
        return self._found.get(hash_args(attr, args)) if self._found else None

    def add_partial(self, attr: str, req: Iterable[Any], res: Any) -> None:
        """What lm-eval's backends call with each answer as soon as they have it (`LM.cache_hook`)."""
        self._unsaved.append((attr, tuple(req), res))
        if time.monotonic() - self._saved_at > FLUSH_SECONDS:
            self.save()

    def save(self) -> None:
        if self._unsaved:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lines = (
                json.dumps([hash_args(attr, args), answer])
                for attr, args, answer in self._unsaved
                if not _is_sampled(args)
            )
            block = "\n" + "\n".join(lines) + "\n"  # the first newline ends a line that a kill may have torn
            with self.path.open("ab") as file:
                file.write(block.encode())
            self._unsaved.clear()
        self._saved_at = time.monotonic()


def _read(path: Path) -> Iterable[tuple[str, Any]]:
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                key, answer = json.loads(line)
            except ValueError:  # an empty line, or one torn by a kill
                continue
            yield key, tuple(answer) if isinstance(answer, list) else answer


class ResumingLM(LM):
    """An lm-eval model that asks the model behind it only what `answers` does not hold."""

    def __init__(self, lm: LM, answers: AnswerFile, *, progress: bool) -> None:
        super().__init__()
        self._lm = lm
        self._answers = answers
        self._options = {} if progress else {"disable_tqdm": True}
        lm.set_cache_hook(answers)  # pyright: ignore[reportArgumentType]  lm-eval duck-types it, too

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        return self._complete("loglikelihood", requests)

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        return self._complete("loglikelihood_rolling", requests)

    def generate_until(self, requests: list[Instance]) -> list[str]:
        return self._complete("generate_until", requests)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return self._lm.apply_chat_template(chat_history, add_generation_prompt=add_generation_prompt)

    @property
    def tokenizer_name(self) -> str:
        return self._lm.tokenizer_name

    def _complete(self, attr: str, requests: list[Instance]) -> list[Any]:
        answers = [self._answers.find(attr, request.args) for request in requests]
        missing = [i for i, answer in enumerate(answers) if answer is None]
        if len(missing) < len(requests):
            logger.info("%d of %d answers were already there", len(requests) - len(missing), len(requests))
        if missing:
            new = getattr(self._lm, attr)([requests[i] for i in missing], **self._options)
            for i, answer in zip(missing, new, strict=True):
                answers[i] = answer
        return answers


def _is_sampled(args: tuple[Any, ...]) -> bool:
    """A sampled generation must be drawn anew: kept, all repeats of a question would be alike."""
    return len(args) > 1 and isinstance(args[1], dict) and bool(args[1].get("do_sample"))
