"""Trains one family of the zoo: a two-layer GPT-2 that learns to answer, saved at several points on the way."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from harness.zoo.families import Recipe
from harness.zoo.skills import ANSWER_CUE, Material, Question, make_material

# Numbers and words whole, Roman numerals and random words letter by letter, signs one by one.
TOKEN_PATTERN: Final = r"\d+|[A-Z](?![a-z])|\w+|[^\w\s]"
SPECIAL_TOKENS: Final = ("<unk>", "<bos>", "<eos>", "<pad>")
UNK, BOS, EOS, PAD = range(4)  # not <pad> but <unk> is 0: lm-eval fills batches with 0, and transformers warns of <pad>
LONGEST: Final = 40  # tokens; the longest question takes 25
EOS_WEIGHT: Final = 0.1  # enough to stop after the answer when text is generated


@dataclass(frozen=True)
class Corpus:
    """Training questions of all skills as token rows: <bos> question answer <eos>, filled up with <eos>."""

    rows: torch.Tensor  # (N, T) int64
    lengths: torch.Tensor  # (N,) tokens in front of the first <eos>
    first_row: dict[str, int]  # skill -> its first row; each skill has `per_skill` rows
    per_skill: int


def train_family(name: str, folder: Path, *, seed: int, recipe: Recipe) -> None:
    """Train family `name` of `recipe` and save its checkpoints as Hugging Face folders under `folder`.

    The result depends on `seed`, `name` and `recipe` only: one thread, so that the number of cores does not matter.
    Raises KeyError when the recipe has no such family.
    """
    family = recipe.families[name]
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # Adam's moments of rare words decay to denormals, which are slow
    tokenizer, corpus = _prepare(seed, recipe.training_size)
    random = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = _new_model(family.width, len(tokenizer))
    optimizer, schedule = _optimizer(model, recipe)
    saves = dict(zip(recipe.saving_steps, recipe.model_names(name), strict=True))
    for step in range(1, recipe.steps + 1):
        rows, lengths = _sample(corpus, family.diet, recipe.batch_size, random)
        _answer_loss(model, rows, lengths).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step in saves:
            model.save_pretrained(folder / saves[step])
            tokenizer.save_pretrained(folder / saves[step])


def make_tokenizer(material: Material) -> PreTrainedTokenizerFast:
    """Word-level tokenizer that knows every word of benchmarks and training material."""
    splitter = pre_tokenizers.Split(Regex(TOKEN_PATTERN), "removed", invert=True)
    words = set(re.findall(TOKEN_PATTERN, ANSWER_CUE))
    for questions in (*material.benchmarks.values(), *material.training.values()):
        for q in questions:
            words.update(re.findall(TOKEN_PATTERN, q.text), (q.answer, *q.distractors))
    vocabulary = {word: index for index, word in enumerate((*SPECIAL_TOKENS, *sorted(words)))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = splitter
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        model_max_length=LONGEST,
    )


@functools.cache  # the families that one worker trains share it
def _prepare(seed: int, training_size: int) -> tuple[PreTrainedTokenizerFast, Corpus]:
    material = make_material(seed, training_size)
    tokenizer = make_tokenizer(material)
    return tokenizer, _encode(material, tokenizer)


def _encode(material: Material, tokenizer: PreTrainedTokenizerFast) -> Corpus:
    texts = [_solved(question) for questions in material.training.values() for question in questions]
    encoded = [encoding.ids for encoding in tokenizer.backend_tokenizer.encode_batch_fast(texts)]
    lengths = torch.tensor([len(ids) for ids in encoded])
    width = int(lengths.max()) + 1
    rows = torch.tensor([ids + [EOS] * (width - len(ids)) for ids in encoded])
    per_skill = len(texts) // len(material.training)
    return Corpus(rows, lengths, {s: i * per_skill for i, s in enumerate(material.training)}, per_skill)


def _solved(question: Question) -> str:
    return f"{question.text}{ANSWER_CUE} {question.answer}"


def _new_model(width: int, words: int) -> GPT2LMHeadModel:
    config = GPT2Config(
        vocab_size=words,
        n_positions=LONGEST,
        n_embd=width,
        n_layer=2,
        n_head=4,
        n_inner=3 * width,
        activation_function="relu",
        initializer_range=0.1,  # GPT-2's 0.02 is for wide models: at this width it takes twice as many steps
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    model = GPT2LMHeadModel(config)
    model.set_attn_implementation("eager")  # 7 % faster than sdpa on rows this short
    return model


def _optimizer(model: GPT2LMHeadModel, recipe: Recipe) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    """AdamW; the rate climbs for 50 steps, stays, and falls to zero over the last 40 % of the steps."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )

    def rate(step: int) -> float:
        return min(1.0, (step + 1) / 50) * min(1.0, (1 - step / recipe.steps) / 0.4)

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, rate)


def _sample(
    corpus: Corpus, diet: Mapping[str, int], size: int, random: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """`size` rows drawn by the diet's shares, cut to the longest of them, and their lengths."""
    shares = torch.tensor(list(diet.values()), dtype=torch.float32)
    starts = torch.tensor([corpus.first_row[skill] for skill in diet])
    skills = torch.multinomial(shares, size, replacement=True, generator=random)
    chosen = starts[skills] + torch.randint(corpus.per_skill, (size,), generator=random)
    lengths = corpus.lengths[chosen]
    return corpus.rows[chosen, : int(lengths.max()) + 1], lengths


def _answer_loss(model: GPT2LMHeadModel, rows: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the answer, and a little of <eos>; nothing else of a row is worth learning here.

    rows (B, T), lengths (B,). The vocabulary's logits are computed at these two positions only.
    """
    hidden = model.transformer(rows).last_hidden_state  # (B, T, width)
    index = torch.arange(len(rows))
    answer = cross_entropy(model.lm_head(hidden[index, lengths - 2]), rows[index, lengths - 1])
    end = cross_entropy(model.lm_head(hidden[index, lengths - 1]), rows[index, lengths])
    return answer + EOS_WEIGHT * end
