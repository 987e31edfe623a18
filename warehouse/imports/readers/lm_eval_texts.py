"""What lm-eval's samples say in text: the question, where its task is not known, and the answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Chosen", "Request", "logged_text", "requests_of", "said_of", "target_of"]

_LENGTH = 1000  # characters of an answer that are kept
_LONG = 40  # characters from which on a field of a document is taken for a part of the question, not for a word in it
_SHORTEST = 3
_OPTIONS = ("choices", "options", "endings", "answer_choices")
_ASKING = frozenset({"question", "query", "problem", "prompt", "input", "instruction", "goal", "premise"})
"""Fields that are parts of the question, however short."""

_TURN = re.compile(
    r"[<\[](?:\|start_header_id\|>\w+<\|end_header_id\|>|\|im_start\|>\w+|start_of_turn>\w+|\|[^|<>\s]{1,40}\|>"
    r"|｜[^｜<>]{1,40}｜>|end_of_turn>|/?INST\]|/?s>)\s*"
)
"""Where chat templates begin or end a turn."""


class Request(NamedTuple):
    """What a model was asked once: its context, and what is to follow, if that was what it scored."""

    context: str
    continuation: str | None


class Chosen(NamedTuple):
    """The options of a question with what they scored."""

    options: tuple[str, ...]
    scores: tuple[float, ...]

    def best(self, metric: str) -> str:
        """Return the option that `metric` graded."""
        lengths = [1] * len(self.options)
        if metric in ("acc_norm", "acc_bytes"):
            lengths = [
                len(option if metric == "acc_norm" else option.encode(errors="replace")) for option in self.options
            ]
        scores = [
            score / length if length else float("-inf") for score, length in zip(self.scores, lengths, strict=True)
        ]
        return self.options[scores.index(max(scores))]


def requests_of(arguments: object) -> list[Request]:
    """Return what a sample's `arguments` say, in any of the layouts that lm-eval has had:
    [context, continuation] (2023), [[context, continuation or settings], …], {gen_args_0: {arg_0, arg_1}, …}."""
    if isinstance(arguments, dict):
        asked = [[one.get("arg_0"), one.get("arg_1")] for one in arguments.values() if isinstance(one, dict)]
    elif isinstance(arguments, list) and arguments and isinstance(arguments[0], str):
        asked = [arguments]
    else:
        asked = [one for one in arguments if isinstance(one, list)] if isinstance(arguments, list) else []
    found = []
    for request in asked:
        context, then = request[0] if request else "", request[1] if len(request) > 1 else None
        found.append(Request(_context(context), then if isinstance(then, str) else None))
    return found


def _context(logged: Any) -> str:
    """Return a prompt. Of chat messages, which are logged as [their JSON], it is the user's last turn: those before
    are examples, and what the system says is the same for all questions of a task."""
    if isinstance(logged, str) and not logged.startswith('[{"role"'):
        return logged
    messages = logged
    if isinstance(logged, list) and len(logged) == 1 and isinstance(logged[0], str):
        messages = _parsed(logged[0])
    elif isinstance(logged, str):
        messages = _parsed(logged)
    if not isinstance(messages, list):
        return messages if isinstance(messages, str) else ""
    turns = [message for message in messages if isinstance(message, dict)]
    asked = [message for message in turns if message.get("role") == "user"] or turns
    return _content(asked[-1].get("content")) if asked else ""


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _content(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    return "\n".join(str(part.get("text", f"<{part.get('type', 'part')}>")) for part in parts)


def logged_text(requests: Sequence[Request], doc: object) -> str:
    """Return a question as its log tells it, without few-shot examples, with the options that the prompt lacks.

    The question begins with the paragraph, or with the turn of a chat template, in which the document's longest text
    stands; earlier, if what it asks, or another text of at least 40 characters, stands earlier. So it does not depend
    on the examples.
    """
    contexts: list[str] = []
    for request in requests:
        if request.context not in contexts and request.context.strip():
            contexts.append(request.context)
    continuations = [request.continuation.strip() for request in requests if request.continuation is not None]
    own = [_without_examples(context.strip(), doc) for context in contexts]
    if len(own) > 1:  # the options begin the prompts, which all end in the same way
        return "\n".join([*own, *dict.fromkeys(continuations)])
    prompt = own[0] if own else ""
    options = continuations if len(continuations) > 1 else _options(doc)
    if all(_shows(prompt, option) for option in options):
        return prompt
    return "\n".join([prompt, *(f"- {option}" for option in options)]).strip()


def _without_examples(prompt: str, doc: object) -> str:
    longest, end, start = 0, 0, len(prompt)
    for text, is_asking in _texts(doc):
        length, at = len(text), prompt.rfind(text)
        if at >= 0 and (length > longest or is_asking or length >= _LONG):
            start = min(start, at)
            longest, end = max((longest, end), (length, at + length))
    if not longest:
        return prompt
    turns = list(_TURN.finditer(prompt)) if "<" in prompt or "[" in prompt else ()
    begin = max([0, *(turn.end() for turn in turns if turn.end() <= start)])
    paragraph = prompt.rfind("\n\n", begin, start)
    begin = begin if paragraph < 0 else paragraph + 2
    return prompt[begin : next((turn.start() for turn in turns if turn.start() >= end), None)].strip()


def _texts(doc: object) -> list[tuple[str, bool]]:
    """Return the texts of a document that may stand in a prompt, the longest first, and which are what it asks."""
    found: list[tuple[str, bool]] = []
    waiting = list(doc.items()) if isinstance(doc, dict) else [("", doc)]
    for name, value in waiting:
        if isinstance(value, str):
            if len(text := value.strip()) >= _SHORTEST:
                found.append((text, name.lower() in _ASKING))
        elif isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += [(name, item) for item in value]
    return sorted(found, key=lambda one: -len(one[0]))


def _options(doc: object) -> list[str]:
    """Return the options that a document lists, for logs that hold only the first request."""
    fields = doc if isinstance(doc, dict) else {}
    for name in _OPTIONS:
        listed = fields.get(name)
        listed = listed.get("text") if isinstance(listed, dict) else listed
        if isinstance(listed, list) and listed and all(isinstance(option, str) for option in listed):
            return [option.strip() for option in listed]
    return []


def _shows(prompt: str, option: str) -> bool:
    """Whether the option stands in the prompt as words of its own, by the rule of our own evaluations' texts."""
    at = prompt.find(option)
    while at >= 0:
        before, after = prompt[at - 1 : at], prompt[at + len(option) : at + len(option) + 1]
        if not (option[:1].isalnum() and before.isalnum()) and not (option[-1:].isalnum() and after.isalnum()):
            return True
        at = prompt.find(option, at + 1)
    return False


def said_of(sample: Mapping[str, Any], requests: Sequence[Request]) -> str | Chosen | None:
    """Return what the model said, or what it could choose from; None where the log does not tell."""
    filtered, logged = sample.get("filtered_resps"), sample.get("resps")
    if not isinstance(filtered, list) or not filtered:
        return None
    options = [request.continuation for request in requests if request.context and request.continuation is not None]
    if len(options) > 1:
        return _choice(options, filtered)
    first = filtered[0]
    if isinstance(first, list) and len(first) == 2 and str(first[1]) in ("True", "False"):  # loglikelihood, greedy
        return _shortened(options[0]) if options and str(first[1]) == "True" else None
    found = first[0] if isinstance(first, list) and first else first
    replies = logged[0] if isinstance(logged, list) and logged and isinstance(logged[0], list) else []
    replies = [reply for reply in replies if isinstance(reply, str)]
    if isinstance(found, str) and found and (not replies or any(found in reply for reply in replies)):
        return _shortened(found)
    return _shortened(replies[0]) if replies else None


def _choice(options: Sequence[str], filtered: Sequence[Any]) -> Chosen | None:
    contexts_differ_only = len(set(options)) == 1
    try:
        scores = tuple(float(one[0] if isinstance(one, list) else one) for one in filtered[: len(options)])
    except (TypeError, ValueError, LookupError, OverflowError):
        return None
    if contexts_differ_only or len(scores) != len(options):
        return None
    return Chosen(tuple(option.strip() for option in options), scores)


def target_of(sample: Mapping[str, Any], requests: Sequence[Request]) -> str | None:
    """Return the right answer: an option, if `target` is the number of one."""
    target = sample.get("target")
    if isinstance(target, list):
        return _shortened(json.dumps(target, ensure_ascii=False)) if target else None
    if target is None or isinstance(target, dict):
        return None
    text = str(target).strip()
    options = [request.continuation for request in requests if request.continuation is not None]
    if len(options) > 1 and text.isdecimal() and len(text) < 4 and int(text) < len(options):
        text = options[int(text)].strip()
    return _shortened(text) if text else None


def _shortened(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _LENGTH else f"{text[: _LENGTH - 1]}…"
