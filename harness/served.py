"""Replies of servers that speak OpenAI's protocols, read strictly: what is no answer is not taken for one.

lm-eval's own readers sum up any list of log probabilities, and take what they cannot read for an empty text.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from numbers import Real
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import postprocess_generated_text

from .checks import NO_ANSWER, shortened
from .errors import NoLogProbabilities, NotApplicable, ServerRefused
from .usage import UNKNOWN, Usage

__all__ = ["ChatCompletions", "Completions"]

FEW = 5  # tokens of a prompt that may by chance be equally likely

log = logging.getLogger(__name__)

_Template: Any = TemplateLM  # the classes below are combined with subclasses of it, lm-eval's backends

_sent_at: ContextVar[float] = ContextVar("_sent_at")  # when this asyncio task sent its request (time.monotonic)


class _Served(_Template):
    """Takes the first failure of many requests at once for the failure; how the others end is noise.

    What a reply says of itself is kept until its answer is taken; lm-eval reads no other reply in between.
    """

    _usage: Usage = UNKNOWN

    def usage_of(self, args: tuple[Any, ...], answer: Any) -> Usage:
        """Return what the request took that was just answered."""
        return self._usage

    def _note_usage(self, outputs: Any, choices: Sequence[Any]) -> None:
        """Keep the usage that a reply reports; where it is for several prompts together, that of each is not known."""
        self._usage = UNKNOWN
        if len(choices) == 1:
            reported = (outputs[0] if isinstance(outputs, list) else outputs).get("usage")
            counts = reported if isinstance(reported, Mapping) else {}
            tokens_in, tokens_out = (_count(counts.get(name)) for name in ("prompt_tokens", "completion_tokens"))
            self._usage = tokens_in, tokens_out, round(time.monotonic() - _sent_at.get(), 4)

    def model_call(self, *args: Any, **kwargs: Any) -> Any:
        _sent_at.set(time.monotonic())
        return super().model_call(*args, **kwargs)

    async def get_batched_requests(self, *args: Any, **kwargs: Any) -> Any:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: log.debug("%s", context))
        return await super().get_batched_requests(*args, **kwargs)

    async def amodel_call(self, *, sem: asyncio.Semaphore, messages: Sequence[Any], **kwargs: Any) -> Any:
        async with sem:  # waited for here, so that the wait does not count
            _sent_at.set(time.monotonic())
            answers = await super().amodel_call(sem=asyncio.Semaphore(), messages=messages, **kwargs)
        _check_count(len(answers), len(messages))
        return answers


class Completions(_Served):
    """Reads the replies of a server that speaks OpenAI's completions protocol."""

    def parse_logprobs(
        self, outputs: Any, tokens: Sequence[Sequence[int]], ctxlens: Sequence[int], **_: Any
    ) -> list[Any]:
        """Return (log probability of the continuation, whether greedy) for each of `tokens`.

        The first `ctxlens` tokens of each are its context.
        """
        choices = _choices_of(outputs, len(tokens))
        self._note_usage(outputs, choices)
        return [_score(*asked) for asked in zip(choices, tokens, ctxlens, strict=True)]

    def parse_generations(self, outputs: Any, contexts: Sequence[Any] | None = None, **_: Any) -> list[str]:
        choices = _choices_of(outputs, None if contexts is None else len(contexts))
        self._note_usage(outputs, choices)
        return [_text_of(choice, choice.get("text")) for choice in choices]


class ChatCompletions(_Served):
    """Reads the replies of a server that speaks OpenAI's chat protocol."""

    think_end_token: str | None

    def parse_generations(self, outputs: Any, **_: Any) -> list[str]:
        choices = _choices_of(outputs)
        self._note_usage(outputs, choices)
        return [self._answer_of(choice) for choice in choices]

    def _answer_of(self, choice: Mapping[str, Any]) -> str:
        """Return what was said after the reasoning; NO_ANSWER where the reply ends before that."""
        message, finish = choice.get("message") or {}, choice.get("finish_reason")
        if not isinstance(message, Mapping):
            raise ServerRefused(
                f"the server's reply has {shortened(repr(message))} where a message is due; see its log"
            )
        text, end = _text_of(choice, message.get("content")), self.think_end_token
        if end and end not in text and finish != "stop":
            return NO_ANSWER
        answer = postprocess_generated_text(text, stop=None, think_end_token=end)
        reasoned = any(message.get(name) for name in ("reasoning_content", "reasoning"))
        return NO_ANSWER if not answer.strip() and (reasoned or finish not in ("stop", None)) else answer

    def loglikelihood(self, requests: Any, **_: Any) -> Any:
        raise NotApplicable("a chat server gives no log probabilities of a prompt")


def _choices_of(outputs: Any, expected: int | None = None) -> list[Mapping[str, Any]]:
    """Return the `choices` of a reply (or of several), in the order of the prompts."""
    choices: list[Mapping[str, Any]] = []
    for output in outputs if isinstance(outputs, list) and outputs else [outputs]:
        found = output.get("choices") if isinstance(output, Mapping) else None
        if not isinstance(found, list) or not found or not all(isinstance(choice, Mapping) for choice in found):
            raise ServerRefused(f"the server's reply has no choices: {shortened(repr(output), 200)}; see its log")
        if len(found) > 1 and any(choice.get("index") is None for choice in found):
            raise ServerRefused("the choices of the server's reply are not numbered; set batch_size: 1")
        places = [place if choice.get("index") is None else choice["index"] for place, choice in enumerate(found)]
        if not all(isinstance(place, int) for place in places) or sorted(places) != list(range(len(found))):
            raise ServerRefused(f"the choices of the server's reply are numbered {places}; set batch_size: 1")
        choices += [choice for _, choice in sorted(zip(places, found, strict=True), key=lambda placed: placed[0])]
    if expected is not None:
        _check_count(len(choices), expected)
    return choices


def _check_count(answered: int, asked: int) -> None:
    if answered != asked:
        raise ServerRefused(
            f"the server answered {answered} of {asked} prompts that it was sent together; set batch_size: 1"
        )


def _text_of(choice: Mapping[str, Any], text: Any) -> str:
    """Return the text, or NO_ANSWER where it is left out, withheld by a filter, or cut off before it began."""
    finish = choice.get("finish_reason")
    if isinstance(text, list):  # content in parts, as servers of reasoning models send it
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in text]
        text = "".join(part for part in parts if isinstance(part, str)) or None
    if text is None or finish == "content_filter" or (text == "" and finish not in ("stop", None)):
        return NO_ANSWER
    if not isinstance(text, str):
        raise ServerRefused(f"the server's reply holds {shortened(repr(text))} where a text is due; see its log")
    return text


def _score(choice: Mapping[str, Any], tokens: Sequence[int], context: int) -> tuple[float, bool]:
    found = choice.get("logprobs")
    found = found if isinstance(found, Mapping) else {}
    logprobs, best = found.get("token_logprobs"), found.get("top_logprobs")
    if not isinstance(logprobs, list) or not isinstance(best, list):
        form = f"logprobs in another form ({', '.join(found)})" if found else "no logprobs"
        raise NoLogProbabilities(f"its reply has {form}{_NO_LOGPROBS}")
    # The prompt's tokens and, as a rule, one that was generated.
    if len(logprobs) not in (len(tokens), len(tokens) + 1) or len(best) != len(logprobs):
        raise NoLogProbabilities(
            f"its reply has {len(logprobs)} log probabilities to a prompt of {len(tokens)} tokens{_NO_LOGPROBS}"
        )
    scores, tops = logprobs[context : len(tokens)], best[context : len(tokens)]
    are_told = all(isinstance(top, Mapping) and top and all(map(_is_number, top.values())) for top in tops)
    if not all(map(_is_number, scores)) or not are_told:
        raise NoLogProbabilities(f"its reply has none for some tokens of the prompt{_NO_LOGPROBS}")
    known = {repr(score) for score in logprobs[1 : len(tokens)]}
    if len(tokens) > FEW and len(known) == 1 and math.isfinite(scores[0]):
        raise NoLogProbabilities(f"its reply has the same number for every token of the prompt{_NO_LOGPROBS}")
    is_greedy = all(score == max(top.values()) for score, top in zip(scores, tops, strict=True))
    return sum(scores), is_greedy


def _count(said: Any) -> int | None:
    return said if isinstance(said, int) and not isinstance(said, bool) and said >= 0 else None


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


_NO_LOGPROBS = (
    ". This server gives no log probabilities of the prompt (`echo` with `logprobs`), without which it cannot be asked "
    "multiple-choice questions: use one that does (docs/registry.md), and in args.tokenizer the served model's "
    "tokenizer; or list the benchmarks that it can take in the entry's `benchmarks`"
)
