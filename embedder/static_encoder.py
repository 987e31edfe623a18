"""A static encoder has one vector for each token, taken from a sentence-transformers model, the teacher.

A text's vector is the mean of its distinct tokens' vectors, so that encoding costs hardly more than cutting a text into
tokens. A token's vector is the one that the teacher's first layer starts with, minus the mean over the vocabulary:
trained with the other layers, it says how a token is used. The teacher's vectors of single tokens, which take a
thousand times as long to compute, predicted less well who answers right, and weights by the rarity of tokens did not
help: docs/embedder.md has the figures.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from itertools import accumulate, chain
from pathlib import Path
from typing import Self, cast

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

__all__ = ["DistinctTokens", "NotDistillable", "distil", "keep_static"]


class NotDistillable(ValueError):
    """The teacher is not of the kind that has vectors of tokens."""


class DistinctTokens(StaticEmbedding):
    """A StaticEmbedding that counts a token once, however often a text has it: what occurs once keeps its weight next
    to what every line repeats, such as letters of options, brackets and signs."""

    def preprocess(self, inputs: list[str], prompt: str | None = None, **_: object) -> dict[str, torch.Tensor]:
        """`input_ids`, the distinct tokens of one text after the other, and the `offsets` (n,) at which texts begin."""
        texts = [f"{prompt or ''}{text}" for text in inputs]
        encoded = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        distinct = [sorted(set(tokens.ids)) for tokens in encoded]
        offsets = list(accumulate((len(ids) for ids in distinct[:-1]), initial=0))
        return {
            "input_ids": torch.tensor(list(chain.from_iterable(distinct)), dtype=torch.long),
            "offsets": torch.tensor(offsets),
        }

    @classmethod
    def load(cls, model_name_or_path: str, *_: object, **__: object) -> Self:
        stored = StaticEmbedding.load(model_name_or_path)
        return cls(stored.tokenizer, embedding_weights=stored.embedding.weight.detach().float())


@torch.inference_mode()
def distil(teacher: SentenceTransformer) -> DistinctTokens:
    """Return the static encoder of `teacher`; the same teacher gives the same bytes. Raises NotDistillable."""
    tokenizer, transformer = teacher.tokenizer, teacher.transformers_model
    if not isinstance(tokenizer, PreTrainedTokenizerFast) or transformer is None:
        raise NotDistillable("it is no transformer with a fast tokenizer")
    words = cast(torch.nn.Embedding, transformer.get_input_embeddings()).weight.double().cpu()
    tokens = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())  # a copy that neither cuts nor pads
    tokens.no_truncation()
    tokens.no_padding()
    # Half the digits are enough, and take half the space.
    return DistinctTokens(tokens, embedding_weights=(words - words.mean(0)).half().float())


def keep_static(folder: Path, teach: Callable[[], SentenceTransformer]) -> DistinctTokens:
    """Return the static encoder kept in `folder`, distilled from what `teach` returns where there is none yet.

    A killed process leaves no incomplete one, and of two processes the second waits for the first. Raises
    NotDistillable.
    """
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / "static.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # goes with the process, however that ends
            if not folder.is_dir():
                partial = folder.with_suffix(".partial")
                shutil.rmtree(partial, ignore_errors=True)  # of a killed process
                partial.mkdir()
                distil(teach()).half().save(str(partial))
                partial.rename(folder)
    return DistinctTokens.load(str(folder))
