"""A static encoder: one vector a token, distilled from a sentence-transformers model, the teacher.

A text's vector is the mean of its distinct tokens' vectors, so that encoding costs hardly more than cutting a text into
tokens. A token is described by two things side by side: what the teacher makes of it alone, which says what it means,
and the vector with which the teacher's first layer begins, which says more of how it is used. Both less their means;
then the directions in which tokens differ most are kept. Frequent tokens count less (smooth inverse frequency; Arora,
Liang and Ma 2017), by their place in the vocabulary, as nothing else is known of their frequency (Zipf's law, which
model2vec assumes as well).
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

# Many short texts: large batches keep all cores busy.
_BATCH_SIZE = 512
# The frequency at which a token counts half as much as a rare one.
_COUNTS_HALF = 1e-4

Progress = Callable[[int, int], None]
"""Told how many of how many tokens are done."""


class NotDistillable(ValueError):
    """The teacher is not of the kind that has vectors of tokens."""


class DistinctTokens(StaticEmbedding):
    """A StaticEmbedding that counts a token once, however often a text has it: what is said once keeps its weight next
    to what every line repeats, as letters of options, brackets and signs."""

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
def distil(teacher: SentenceTransformer, progress: Progress) -> DistinctTokens:
    """The static encoder of `teacher`: a vector of its length for every token of its vocabulary.

    The same teacher, device and type of number give the same bytes. Raises NotDistillable.
    """
    tokenizer, transformer = teacher.tokenizer, teacher.transformers_model
    if not isinstance(tokenizer, PreTrainedTokenizerFast) or transformer is None:
        raise NotDistillable("it is no transformer with a fast tokenizer")
    words = cast(torch.nn.Embedding, transformer.get_input_embeddings()).weight[: len(tokenizer)].float().cpu()
    tokens = torch.arange(len(words))
    rarity = _COUNTS_HALF / (_COUNTS_HALF + 1 / ((tokens + 2) * (1 / (tokens + 2)).sum()))
    views = torch.cat([_centred(_encode_tokens(teacher, tokens, progress)), _centred(words)], 1) * rarity[:, None]
    # The directions in which tokens differ most; in double precision, so that rounding decides nothing.
    directions = torch.linalg.eigh(views.T.double() @ views.double()).eigenvectors.flip(1)
    shortened = views @ directions[:, : teacher.get_embedding_dimension()].float()
    # Half the digits are enough, and take half the space.
    return DistinctTokens(_unlimited(tokenizer), embedding_weights=shortened.half().float())


def _encode_tokens(teacher: SentenceTransformer, tokens: torch.Tensor, progress: Progress) -> torch.Tensor:
    """What the teacher makes of each token, as of a text that is no longer: (n, its dimensions), each of length 1."""
    encoded = teacher.tokenizer("a", return_special_tokens_mask=True)
    ids, special = (torch.tensor(encoded[key]) for key in ("input_ids", "special_tokens_mask"))
    own = torch.nonzero(special == 0).flatten().tolist()
    before, after = ids[: own[0]], ids[own[-1] + 1 :]
    vectors = []
    for start in range(0, len(tokens), _BATCH_SIZE):
        batch = tokens[start : start + _BATCH_SIZE, None]
        framed = torch.cat([before.expand(len(batch), -1), batch, after.expand(len(batch), -1)], 1).to(teacher.device)
        features = {"input_ids": framed, "attention_mask": torch.ones_like(framed)}
        vectors.append(teacher(features)["sentence_embedding"].float().cpu())
        progress(min(start + _BATCH_SIZE, len(tokens)), len(tokens))
    return torch.nn.functional.normalize(torch.cat(vectors), dim=1)


def _centred(vectors: torch.Tensor) -> torch.Tensor:
    """(n, d) less their mean, at a mean squared length of 1."""
    centred = vectors - vectors.mean(0)
    return centred / centred.square().sum(1).mean().sqrt()


def keep_static(folder: Path, teach: Callable[[], SentenceTransformer], progress: Progress) -> DistinctTokens:
    """The static encoder kept in `folder`, distilled from what `teach` returns where there is none yet.

    Whoever is killed leaves no half of one, and of two processes the second waits for the first. Raises NotDistillable.
    """
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / "static.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # goes with the process, however that ends
            if not folder.is_dir():
                partial = folder.with_suffix(".partial")
                shutil.rmtree(partial, ignore_errors=True)  # of a killed process
                partial.mkdir()
                distil(teach(), progress).half().save(str(partial))
                partial.rename(folder)
    return DistinctTokens.load(str(folder))


def _unlimited(tokenizer: PreTrainedTokenizerFast) -> Tokenizer:
    """A copy that cuts and fills nothing."""
    copied = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    copied.no_truncation()
    copied.no_padding()
    return copied
