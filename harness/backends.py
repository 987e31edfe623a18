"""lm-eval's backends as they are used here: what they would pass over in silence is counted or refused.

hf                       a checkpoint without all its tensors, or a tokenizer that is not the model's; NaN
local-completions        a server that does not return the log probabilities of what it was sent
local-chat-completions   replies without content
all of them              prompts that are longer than the model's context, which lm-eval cuts from the left
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar

import torch
from lm_eval.api.model import LM, TemplateLM
from lm_eval.api.registry import get_model
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text
from transformers import LogitsProcessor, LogitsProcessorList

from harness.checks import NO_ANSWER, shortened
from harness.digests import digest_of
from harness.errors import (
    ModelIncomplete,
    NoLogProbabilities,
    NotApplicable,
    NotNumbers,
    PromptTooLong,
    ServerRefused,
    TaskFaulty,
    first_sentence,
)
from harness.identity import local_folder

__all__ = ["CHAT", "HFBackend", "backend_class", "watch_cut_prompts"]

KEPT_TEXTS = 50_000  # encoded texts kept for reuse; a long one takes about 10 kB
CHAT = "local-chat-completions"
FEW = 5  # tokens of a prompt that may by chance be equally likely

log = logging.getLogger(__name__)

NoteCut = Callable[[str, tuple[Any, ...]], None]


def backend_class(name: str) -> Any:
    """The class of lm-eval that reaches models of the registry's backend `name`."""
    if name == "hf":
        return HFBackend
    base = get_model(name)
    mixins: tuple[type, ...] = {"local-completions": (_Completions,), CHAT: (_ChatCompletions,)}.get(name, ())
    members = {"SPARE": -1} if name == "vllm" else {}  # vLLM always generates one token more
    return type(f"Checked{base.__name__}", (*mixins, _CutPrompts, base), members)


def watch_cut_prompts(lm: LM, note_cut: NoteCut, *, refuse: bool) -> None:
    """Have `note_cut` told of each request whose prompt is too long; with `refuse`, raise PromptTooLong instead."""
    if isinstance(lm, _CutPrompts):
        lm.note_cut, lm.refuses_cut = note_cut, refuse


_Template: Any = TemplateLM  # of whose subclasses the mixins below are, once combined


class _CutPrompts(_Template):
    """Sees every prompt once it is tokens, and before it is cut."""

    SPARE: ClassVar[int] = 0  # tokens that prompt and choice may have beyond max_length
    note_cut: NoteCut | None = None
    refuses_cut = False

    def _loglikelihood_tokens(self, requests: Sequence[Any], **kwargs: Any) -> list[tuple[float, bool]]:
        reads_apart = self.backend == "seq2seq"  # the prompt by the encoder, the choice by the decoder
        longest = self.max_length if reads_apart else self.max_length + self.SPARE
        for args, context, continuation in requests:
            _check_tokens(args, context, continuation)
            if len(continuation) >= longest:
                raise PromptTooLong(
                    f"a choice has {len(continuation)} tokens and the model takes {longest} in all "
                    f"('{shortened(str(args and args[1]))}'), which leaves none for the question; leave this benchmark "
                    "out of the entry's `benchmarks`, or raise args.max_length if the model takes more"
                )
            length = len(context) if reads_apart else len(context) + len(continuation)
            if args is not None and length > longest:
                self._see_cut("loglikelihood", args, length, longest)
        return super()._loglikelihood_tokens(requests, **kwargs)

    def generate_until(self, requests: Sequence[Any], **kwargs: Any) -> list[str]:
        for request in requests:
            prompt, options = request.args[:2]
            if isinstance(prompt, str) and self.tokenizer is not None and getattr(self, "tokenized_requests", True):
                generated = normalize_gen_kwargs(options, self._most_generated()).get("max_gen_toks", 0)
                room = self.max_length - (0 if self.backend == "seq2seq" else generated)
                if room < 1:
                    raise PromptTooLong(
                        f"{generated} tokens are to be generated, and prompt and answer together may have "
                        f"{self.max_length}; lower max_gen_toks (generation_kwargs of the task, or args.max_gen_toks)"
                    )
                length = len(self.tok_encode(prompt))
                if length > room:
                    self._see_cut("generate_until", request.args, length, room)
        return super().generate_until(requests, **kwargs)

    def _most_generated(self) -> int:
        """Tokens that are generated where the task does not say how many."""
        return getattr(self, "_max_gen_toks", None) or self.max_gen_toks

    def _see_cut(self, attr: str, args: tuple[Any, ...], length: int, longest: int) -> None:
        if self.refuses_cut:
            raise PromptTooLong(
                f"a prompt has {length} tokens and the model takes {longest} ('{shortened(str(args[0]))}'); its entry "
                "says `truncation: refuse`: leave this benchmark out of its `benchmarks`, lower num_fewshot, or let "
                "prompts be cut and counted (`truncation: count`)"
            )
        if self.note_cut is not None:
            self.note_cut(attr, args)


def _check_tokens(args: tuple[str, str] | None, context: Sequence[int], continuation: Sequence[int]) -> None:
    if not context:
        raise ModelIncomplete(
            f"the tokenizer makes no tokens of the prompt '{shortened(str(args and args[0]))}'; {_TOKENIZER}"
        )
    if not continuation:
        raise TaskFaulty(
            f"the choice {str(args and args[1])!r} has no tokens of its own after the prompt "
            f"'{shortened(str(args and args[0]))}', so that it has no probability; give every choice a text"
        )


_TOKENIZER = "put the model's own tokenizer files into its folder, or name another folder in args.tokenizer"


# --- weights on this machine

_HFLM: Any = HFLM  # lm-eval's decorator hides its type


class HFBackend(_CutPrompts, _HFLM):
    """lm-eval's `hf` backend, which checks what it loads and encodes each text once.

    The choices of a question share its context, and the checkpoints of a family share their tokenizer;
    encoding would else be 40% of the time of a tiny model, and half of it is repetition for a large one, too.
    """

    SPARE = 1  # the last token of a choice is predicted, not read

    _kept: ClassVar[dict[str, dict[str, list[int]]]] = {}  # by tokenizer (the last one only) and text

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        key = self._tokenizer_key()
        if key not in self._kept:
            self._kept.clear()
            self._kept[key] = {}
        self._tokens = self._kept[key]
        self._vocabulary = _count_embeddings(self.model)

    def tok_encode(
        self,
        string: str,
        add_special_tokens: bool | None = None,
        left_truncate_len: int | None = None,
        **kwargs: Any,
    ) -> list[int]:
        if add_special_tokens is not None or left_truncate_len is not None:
            return self._within_vocabulary(super().tok_encode(string, add_special_tokens, left_truncate_len, **kwargs))
        tokens = self._tokens.get(string)
        if tokens is None:
            if len(self._tokens) >= KEPT_TEXTS:
                self._tokens.clear()
            tokens = self._tokens[string] = super().tok_encode(string)
        return self._within_vocabulary(tokens)

    def _within_vocabulary(self, tokens: list[int]) -> list[int]:
        """On a GPU a token that the model has no embedding of would bring the whole process down."""
        if self._vocabulary is not None and tokens and max(tokens) >= self._vocabulary:
            raise ModelIncomplete(
                f"its tokenizer has a token number {max(tokens)}, and the model embeddings for {self._vocabulary} "
                f"tokens only: they do not belong together; {_TOKENIZER}"
            )
        return tokens

    def _tokenizer_key(self) -> str:
        if not self.tokenizer.is_fast:  # nothing tells two slow tokenizers apart: share nothing
            return f"{self.pretrained}@{self.revision}"
        content = [self.tokenizer.backend_tokenizer.to_str(), self.add_bos_token, self.prefix_token_id]
        return digest_of([*content, getattr(self.tokenizer, "split_special_tokens", False)])

    def _create_model(self, pretrained: str, *args: Any, **kwargs: Any) -> None:
        loads = _CompleteLoads(self.AUTO_MODEL_CLASS)
        self.AUTO_MODEL_CLASS = loads
        try:
            super()._create_model(pretrained, *args, **kwargs)
        finally:
            self.AUTO_MODEL_CLASS = loads.auto_class

    def _create_tokenizer(self, pretrained: Any, tokenizer: Any, *args: Any, **kwargs: Any) -> None:
        folder = local_folder(tokenizer or pretrained)
        try:
            super()._create_tokenizer(pretrained, tokenizer, *args, **kwargs)
        except Exception as error:
            if folder is None:  # the hub's errors are explained elsewhere
                raise
            problem = f"no tokenizer could be loaded from {folder} ({first_sentence(error)}); {_TOKENIZER}"
            raise ModelIncomplete(problem) from error
        if not self.tokenizer("Question: What is 40 + 2? Answer:")["input_ids"]:
            raise ModelIncomplete(f"{folder or tokenizer or pretrained} has no tokenizer; {_TOKENIZER}")

    def _model_generate(self, context: Any, *args: Any, **kwargs: Any) -> Any:
        # A greedy search among scores that are no numbers ends in some token as well.
        finite = LogitsProcessorList([_RefusesNaN(context.shape[1])])
        return super()._model_generate(context, *args, logits_processor=finite, **kwargs)


class _CompleteLoads:
    """Stands for one of transformers' Auto classes: a model some of whose tensors the checkpoint lacks is refused.

    transformers would fill them with random numbers, and print a table of them.
    """

    def __init__(self, auto_class: Any) -> None:
        self.auto_class = auto_class

    def from_pretrained(self, name: str, **kwargs: Any) -> Any:
        model, info = self.auto_class.from_pretrained(name, output_loading_info=True, **kwargs)
        if missing := sorted(info["missing_keys"]):
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise ModelIncomplete(
                f"the checkpoint {name} lacks {len(missing)} tensors of the model ({', '.join(missing[:3])}{more}), "
                "which would be random numbers; download or export it again, whole"
            )
        return model


class _RefusesNaN(LogitsProcessor):
    """Looks at the scores of the first token that is generated after `length` tokens of prompt."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if input_ids.shape[1] == self.length and bool(torch.isnan(scores).any()):
            raise NotNumbers(
                "the scores of the next token are NaN; the weights hold such values, or numbers became too large for "
                "their type: load the model in another dtype (args.dtype: float32, or bfloat16 instead of float16), or "
                "replace the weights"
            )
        return scores


def _count_embeddings(model: Any) -> int | None:
    """How many tokens the model knows; None where its kind of embedding does not say."""
    weight = getattr(model.get_input_embeddings(), "weight", None)
    return int(weight.shape[0]) if weight is not None and weight.ndim == 2 else None


# --- servers


class _Concurrent(_Template):
    """Of many requests at once, the first failure is the failure; how the others end is noise."""

    async def get_batched_requests(self, *args: Any, **kwargs: Any) -> Any:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: log.debug("%s", context))
        return await super().get_batched_requests(*args, **kwargs)

    async def amodel_call(self, *, messages: Sequence[Any], **kwargs: Any) -> Any:
        answers = await super().amodel_call(messages=messages, **kwargs)
        _check_count(len(answers), len(messages))
        return answers


class _Completions(_Concurrent):
    """Reads the replies of a server that speaks OpenAI's completions protocol."""

    @staticmethod
    def parse_logprobs(outputs: Any, tokens: Sequence[Sequence[int]], ctxlens: Sequence[int], **_: Any) -> list[Any]:
        """(log probability of the continuation, whether greedy) of each of `tokens`, whose context has `ctxlens`."""
        choices = _choices_of(outputs, len(tokens))
        return [_score(*asked) for asked in zip(choices, tokens, ctxlens, strict=True)]

    @staticmethod
    def parse_generations(outputs: Any, contexts: Sequence[Any] | None = None, **_: Any) -> list[str]:
        choices = _choices_of(outputs, None if contexts is None else len(contexts))
        return [_text_of(choice, choice.get("text")) for choice in choices]


class _ChatCompletions(_Concurrent):
    """Reads the replies of a server that speaks OpenAI's chat protocol."""

    think_end_token: str | None

    def parse_generations(self, outputs: Any, **_: Any) -> list[str]:
        return [self._answer_of(choice) for choice in _choices_of(outputs)]

    def _answer_of(self, choice: Mapping[str, Any]) -> str:
        """What was said when the reasoning was over; NO_ANSWER where that never came."""
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
    """The `choices` of a reply (or of several), in the order of the prompts."""
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
    """NO_ANSWER where there is none: left out, withheld by a filter, or cut off before it began."""
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
        raise NoLogProbabilities(f"its reply has {_described(found)}{_NO_LOGPROBS}")
    # The prompt's tokens and, as a rule, one that was generated.
    if len(logprobs) not in (len(tokens), len(tokens) + 1) or len(best) != len(logprobs):
        raise NoLogProbabilities(
            f"its reply has {len(logprobs)} log probabilities to a prompt of {len(tokens)} tokens{_NO_LOGPROBS}"
        )
    scores, tops = logprobs[context : len(tokens)], best[context : len(tokens)]
    if not all(map(_is_number, scores)) or not all(map(_has_numbers, tops)):
        raise NoLogProbabilities(f"its reply has none for some tokens of the prompt{_NO_LOGPROBS}")
    known = {repr(score) for score in logprobs[1 : len(tokens)]}
    if len(tokens) > FEW and len(known) == 1 and math.isfinite(scores[0]):
        raise NoLogProbabilities(f"its reply has the same number for every token of the prompt{_NO_LOGPROBS}")
    is_greedy = all(score == max(top.values()) for score, top in zip(scores, tops, strict=True))
    return sum(scores), is_greedy


def _described(found: Mapping[str, Any]) -> str:
    return f"logprobs in another form ({', '.join(found)})" if found else "no logprobs"


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _has_numbers(top: Any) -> bool:
    return isinstance(top, Mapping) and bool(top) and all(map(_is_number, top.values()))


_NO_LOGPROBS = (
    ". This server gives no log probabilities of the prompt (`echo` with `logprobs`), without which it cannot be asked "
    "multiple-choice questions: use one that does (docs/registry.md), and in args.tokenizer the served model's "
    "tokenizer; or list the benchmarks that it can take in the entry's `benchmarks`"
)
