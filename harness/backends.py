"""lm-eval's backends as they are used here: what they would silently ignore is counted or refused.

hf                       a checkpoint without all its tensors, or a tokenizer that is not the model's; NaN
local-completions        a server that does not return the log probabilities of what it was sent (served.py)
local-chat-completions   replies without content (served.py)
all of them              prompts that are longer than the model's context, which lm-eval cuts from the left

Each tells what a request took (`usage_of`): those on this machine count tokens, servers report it in their replies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from lm_eval.api.model import LM, TemplateLM
from lm_eval.api.registry import get_model
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import normalize_gen_kwargs
from transformers import LogitsProcessor, LogitsProcessorList

from .checks import shortened
from .digests import digest_of
from .errors import ModelIncomplete, NotNumbers, PromptTooLong, TaskFaulty, first_sentence
from .identity import local_folder
from .served import ChatCompletions, Completions
from .usage import Usage, request_key

__all__ = ["CHAT", "HFBackend", "backend_class", "watch_cut_prompts"]

KEPT_TEXTS = 50_000  # encoded texts kept for reuse; a long one takes about 10 kB
CHAT = "local-chat-completions"

NoteCut = Callable[[str, tuple[Any, ...]], None]


def backend_class(name: str) -> Any:
    """Return the lm-eval class that reaches models of the registry's backend `name`."""
    if name == "hf":
        return HFBackend
    base = get_model(name)
    mixins: tuple[type, ...] = {"local-completions": (Completions,), CHAT: (ChatCompletions,)}.get(name, ())
    members = {"SPARE": -1} if name == "vllm" else {}  # vLLM always generates one token more
    return type(f"Checked{base.__name__}", (*mixins, _SeesPrompts, base), members)


def watch_cut_prompts(lm: LM, note_cut: NoteCut, *, refuse: bool) -> None:
    """Call `note_cut` for each request whose prompt is too long; with `refuse`, raise PromptTooLong instead."""
    if isinstance(lm, _SeesPrompts):
        lm.note_cut, lm.refuses_cut = note_cut, refuse


_Template: Any = TemplateLM  # the mixin below is combined with subclasses of it


class _SeesPrompts(_Template):
    """Sees every prompt once it is tokens, and before it is cut."""

    SPARE: ClassVar[int] = 0  # tokens that prompt and choice may have beyond max_length
    note_cut: NoteCut | None = None
    refuses_cut = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._tokens_in: dict[Any, int] = {}  # by request_key, of the requests under way

    def usage_of(self, args: tuple[Any, ...], answer: Any) -> Usage | None:
        """Return what a request took that was just answered: tokens of the prompt, and of the text that came."""
        tokens_in = self._tokens_in.get(request_key(args))
        if tokens_in is None:
            return None
        if not isinstance(answer, str):
            return tokens_in, 0, None
        if getattr(self, "think_end_token", None) is not None:  # what it thought is no longer there to be counted
            return tokens_in, None, None
        return tokens_in, len(self.tokenizer.encode(answer, add_special_tokens=False)), None

    def _loglikelihood_tokens(self, requests: Sequence[Any], **kwargs: Any) -> list[tuple[float, bool]]:
        reads_apart = self.backend == "seq2seq"  # the prompt by the encoder, the choice by the decoder
        longest = self.max_length if reads_apart else self.max_length + self.SPARE
        self._tokens_in = {}
        for args, context, continuation in requests:
            prompt, choice = (None, None) if args is None else args
            if not context:
                raise ModelIncomplete(
                    f"the tokenizer makes no tokens of the prompt '{shortened(str(prompt))}'; {_TOKENIZER}"
                )
            if not continuation:
                raise TaskFaulty(
                    f"the choice {str(choice)!r} has no tokens of its own after the prompt "
                    f"'{shortened(str(prompt))}', so that it has no probability; give every choice a text"
                )
            if len(continuation) >= longest:
                raise PromptTooLong(
                    f"a choice has {len(continuation)} tokens and the model takes {longest} in all "
                    f"('{shortened(str(choice))}'), which leaves none for the question; leave this benchmark "
                    "out of the entry's `benchmarks`, or raise args.max_length if the model takes more"
                )
            if args is None:
                continue
            length = len(context) if reads_apart else len(context) + len(continuation)
            self._tokens_in[args] = min(length, longest)
            if length > longest:
                self._see_cut("loglikelihood", args, length, longest)
        return super()._loglikelihood_tokens(requests, **kwargs)

    def generate_until(self, requests: Sequence[Any], **kwargs: Any) -> list[str]:
        self._tokens_in = {}
        for request in requests:
            prompt, options = request.args[:2]
            if isinstance(prompt, str) and self.tokenizer is not None and getattr(self, "tokenized_requests", True):
                most = getattr(self, "_max_gen_toks", None) or self.max_gen_toks  # where the task does not say
                generated = normalize_gen_kwargs(options, most).get("max_gen_toks", 0)
                room = self.max_length - (0 if self.backend == "seq2seq" else generated)
                if room < 1:
                    raise PromptTooLong(
                        f"{generated} tokens are to be generated, and prompt and answer together may have "
                        f"{self.max_length}; lower max_gen_toks (generation_kwargs of the task, or args.max_gen_toks)"
                    )
                length = len(self.tok_encode(prompt))
                self._tokens_in[request_key(request.args)] = min(length, room)
                if length > room:
                    self._see_cut("generate_until", request.args, length, room)
        return super().generate_until(requests, **kwargs)

    def _see_cut(self, attr: str, args: tuple[Any, ...], length: int, longest: int) -> None:
        if self.refuses_cut:
            raise PromptTooLong(
                f"a prompt has {length} tokens and the model takes {longest} ('{shortened(str(args[0]))}'); its entry "
                "says `truncation: refuse`: leave this benchmark out of its `benchmarks`, lower num_fewshot, or let "
                "prompts be cut and counted (`truncation: count`)"
            )
        if self.note_cut is not None:
            self.note_cut(attr, args)


_TOKENIZER = "put the model's own tokenizer files into its folder, or name another folder in args.tokenizer"


# --- weights on this machine

_HFLM: Any = HFLM  # lm-eval's decorator hides its type


class HFBackend(_SeesPrompts, _HFLM):
    """lm-eval's `hf` backend, which checks what it loads and encodes each text once.

    The choices of a question share its context, and the checkpoints of a family share their tokenizer. Otherwise
    encoding would take 40% of the time of a tiny model; for a large one, too, half of it is repetition.
    """

    SPARE = 1  # the last token of a choice is predicted, not read

    _kept: ClassVar[dict[str, dict[str, list[int]]]] = {}  # by tokenizer (the last one only) and text

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        key = f"{self.pretrained}@{self.revision}"  # nothing tells two slow tokenizers apart
        if self.tokenizer.is_fast:
            content = [self.tokenizer.backend_tokenizer.to_str(), self.add_bos_token, self.prefix_token_id]
            key = digest_of([*content, getattr(self.tokenizer, "split_special_tokens", False)])
        if key not in self._kept:
            self._kept.clear()
            self._kept[key] = {}
        self._tokens = self._kept[key]
        weight = getattr(self.model.get_input_embeddings(), "weight", None)  # some kinds have none
        self._vocabulary = int(weight.shape[0]) if weight is not None and weight.ndim == 2 else None

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, left_truncate_len: int | None = None, **kwargs: Any
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
        """Refuse a token that the model has no embedding of: on a GPU it would end the whole process."""
        if self._vocabulary is not None and tokens and max(tokens) >= self._vocabulary:
            raise ModelIncomplete(
                f"its tokenizer has a token number {max(tokens)}, and the model embeddings for {self._vocabulary} "
                f"tokens only: they do not belong together; {_TOKENIZER}"
            )
        return tokens

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
    """Stands for one of transformers' Auto classes, and refuses a checkpoint that lacks some of the model's tensors.

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
    """Checks the scores of the first token that is generated after `length` tokens of prompt."""

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
