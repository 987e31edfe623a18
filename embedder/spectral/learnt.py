"""What a fitted spectral embedder knows, and what that says of questions compared with its landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from .moderation import moderate
from .question_map import Compared, QuestionMap

__all__ = ["LEAST_SUPPORT", "Learnt"]

_FORECAST_SHARE = 0.7  # of the routing score; the rest is that of the category's rates
_LEAST_APART = 0.1  # so that models do not become equal
LEAST_SUPPORT = 1e-3


@dataclass(frozen=True)
class Learnt:
    """What fitting found: m landmarks, f features, k directions, d coordinates, C categories, M models with answers."""

    question_map: QuestionMap
    coordinates: torch.Tensor  # (m, d): kernel values → question coordinates u
    category_coordinates: torch.Tensor  # (C, d): mean u of a category's training questions
    unseen_scale: torch.Tensor  # (): of the prior variance, where probabilities allow for it
    usual: torch.Tensor  # (): median support of questions that are no landmarks
    familiar: torch.Tensor  # (): support that all but a few training questions have
    trust: torch.Tensor  # (): in a category that is known, against what the text says of it
    embeddings: torch.Tensor  # (M, d + 1): theta, then b
    directions: torch.Tensor  # (M, k)
    coefficient_variance: torch.Tensor  # (f, k): of the features' coefficients along each direction, a posteriori
    prior_variance: torch.Tensor  # (k,): the same a priori
    embedding_variance: torch.Tensor  # (M, d + 1): what is not known of theta and b for want of answers
    category_rates: torch.Tensor  # (C, M): share of right training answers
    category_offsets: torch.Tensor  # (C, M): of the log-odds, where the category is known
    offset_trust: torch.Tensor  # (): in them

    @cached_property
    def squares(self) -> torch.Tensor:
        """(k, M) of the directions: variances along these times them are variances of the models' log-odds."""
        return self.directions.square().T.contiguous()

    @cached_property
    def prior(self) -> torch.Tensor:
        """(M,) variance of the log-odds where nothing is known of a question."""
        return self.prior_variance @ self.squares

    @cached_property
    def offsets(self) -> torch.Tensor:
        """(C, M): what knowing the category adds to the log-odds."""
        return self.offset_trust * self.category_offsets

    def logits(self, compared: Compared, coordinates: torch.Tensor) -> torch.Tensor:
        """(n, M)."""
        logits = coordinates @ self.embeddings.T
        return logits if compared.told is None else logits.addmm_(compared.told, self.offsets)

    def scores(self, compared: Compared, logits: torch.Tensor) -> torch.Tensor:
        """(n, M): the log-odds averaged with those of the rates on the categories. A strange question too is ranked by
        what its text says, which is the best guess there is; but as far as it is strange, scores are near one half.
        Log-odds that few answers speak for count for less: a model asked little would lead by what is not known."""
        scores = self._averaged(compared, logits)
        strange = (compared.familiarity < 1).nonzero()[:, 0]
        if len(strange):
            as_read = compared.some(strange, familiar=LEAST_SUPPORT)
            guessed = self._averaged(as_read, self.logits(as_read, self.coordinates_of(as_read)))
            scores[strange] = compared.familiarity[strange].clamp_min(_LEAST_APART)[:, None] * guessed
        return scores.sigmoid_()

    def _averaged(self, compared: Compared, logits: torch.Tensor) -> torch.Tensor:
        rates = (compared.categories @ self.category_rates).clamp(1e-6, 1 - 1e-6)
        by_category = (rates / (1 - rates)).log()  # torch.logit wakes all threads, even for a hundred numbers
        known = moderate(logits, self.seen_variances(compared) @ self.squares)
        return torch.lerp(by_category, known, _FORECAST_SHARE)

    def seen_variances(self, compared: Compared) -> torch.Tensor:
        """(n, k): what the answers leave open along each direction of the part of the questions that is seen."""
        seen = compared.features.square() @ self.coefficient_variance
        return seen.mul_(compared.amplitude[:, None])

    def unseen(self, compared: Compared) -> torch.Tensor:
        """(n,) share of the support of a usual question that these lack. What even those do not see of a question, the
        fit has allowed for: its probabilities have the right means over them."""
        return 1 - (compared.amplitude * compared.support / self.usual).clamp_max(1)

    def unseen_by_features(self, compared: Compared) -> torch.Tensor:
        """(n,) share of a question's kernel that the features do not see. How near it is to the mean of the others
        counts half as seen: what they have in common is in the biases, and so is less well known."""
        return 1 - compared.amplitude * (compared.support - compared.nearness.square() / 2)

    def coordinates_of(self, compared: Compared) -> torch.Tensor:
        """(n, d + 1). As far as a question is strange, it counts as an average one of its category."""
        typical = compared.categories @ self.category_coordinates
        own = compared.kernel @ self.coordinates
        own = compared.familiarity[:, None] * own + compared.strangeness * typical
        return torch.cat([own, torch.ones(len(own), 1)], 1)
