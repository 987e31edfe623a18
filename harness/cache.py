"""Answers of an evaluation in progress, kept so that a killed one goes on where it stopped.

lm-eval has a cache of its own (`use_cache`), but its key knows nothing of the model, and pickling every answer into
SQLite costs more than asking a small model. A file here belongs to one model, one version of its weights and one
benchmark. It holds one JSON line for each answer, and is removed once the answers are safely stored elsewhere.
"""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lm_eval.api.model import hash_args

from .usage import UNKNOWN, Usage, request_key

__all__ = ["AnswerFile"]

FLUSH_SECONDS = 1.0  # what a kill can cost


class AnswerFile:
    """Answers by request: those that the file held at first, and new ones, appended to it about once a second.

    A line is [key, answer]; [key, answer, true] where the prompt was too long for the model and was cut; or
    [key, answer, whether it was cut, usage] where it is known what the request took.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[str, Any] = {}
        self._cut: set[str] = set()
        self._found_usage: dict[str, Usage] = {}
        self._usage: dict[Any, Usage] = {}  # by request_key: a digest of each request would cost more than a tiny model
        self.tokens = 0
        """In and out, of the requests that were answered since the file was opened, as far as that is known."""
        for line in path.read_bytes().split(b"\n") if path.exists() else ():
            try:
                key, answer, *known = json.loads(line)
            except ValueError:  # an empty line, or one torn by a kill
                continue
            self._found[key] = tuple(answer) if isinstance(answer, list) else answer
            if known[:1] == [True]:
                self._cut.add(key)
            if len(known) > 1:
                self._found_usage[key] = tuple(known[1])
        self._unsaved: list[tuple[str, tuple[Any, ...], Any]] = []
        self._saved_at = time.monotonic()

    def find(self, attr: str, args: tuple[Any, ...]) -> Any | None:
        """Return the answer to lm-eval's request `attr`(*`args`), None if the file had none."""
        if not self._found:
            return None
        key = hash_args(attr, args)
        if key in self._found_usage:
            self._usage[request_key(args)] = self._found_usage[key]
        return self._found.get(key)

    def note_usage(self, args: tuple[Any, ...], usage: Usage) -> None:
        """Note what the request took. Call this before its answer is kept."""
        self._usage[request_key(args)] = usage
        self.tokens += (usage[0] or 0) + (usage[1] or 0)

    def usage_of(self, args: tuple[Any, ...]) -> Usage:
        """Return what the request took, now or when its answer was first given."""
        return self._usage.get(request_key(args), UNKNOWN)

    def note_cut(self, attr: str, args: tuple[Any, ...]) -> None:
        """Note that the prompt of the request was cut to fit the model's context."""
        self._cut.add(hash_args(attr, args))

    def is_cut(self, attr: str, args: tuple[Any, ...]) -> bool:
        """Whether the prompt of the request was cut, now or when its answer was first given."""
        return bool(self._cut) and hash_args(attr, args) in self._cut

    def add_partial(self, attr: str, req: Iterable[Any], res: Any) -> None:
        """Keep a new answer; it reaches the disk with the next block."""
        self._unsaved.append((attr, tuple(req), res))
        if time.monotonic() - self._saved_at > FLUSH_SECONDS:
            self.save()

    def save(self) -> None:
        if self._unsaved:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lines = [""]  # ends a line that a kill may have torn
            for attr, args, answer in self._unsaved:
                if len(args) > 1 and isinstance(args[1], dict) and args[1].get("do_sample"):
                    continue  # a sampled text must be drawn again: if it were kept, all repeats would be the same
                key, usage = hash_args(attr, args), self.usage_of(args)
                is_cut = key in self._cut
                known = [is_cut, usage] if usage != UNKNOWN else [True] if is_cut else []
                lines.append(json.dumps([key, answer, *known]))
            with self.path.open("ab") as file:
                file.write(("\n".join(lines) + "\n").encode())
            self._unsaved.clear()
        self._saved_at = time.monotonic()

    def discard(self) -> None:
        """Forget all answers, kept or not: they turned out to be none."""
        self._found.clear()
        self._unsaved.clear()
        self.path.unlink(missing_ok=True)
