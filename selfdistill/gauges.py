"""Cheap signs of folding: entropy and KeptMass on answers that are already there.

The paper's loss contains -log KeptMass(S): the probability mass inside the support that the train-time
truncation S = (T, k, p) keeps (arXiv 2604.01193, section 4). Here the support is cut from the model that
serves, on its own answers to gate problems; a candidate that folded puts more mass into that support.
In: `TokenScores` of the same answers under either model. Not covered: mass of tokens of the support that are
not among the other model's `TOP` most likely (counted as 0, so the gauge is a lower bound).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from models.contract import Decoding

TOP = 20
"""Tokens per place that are looked at."""


@dataclass(frozen=True)
class Place:
    """One token's place in an answer, under one model at temperature 1."""

    entropy: float
    ids: tuple[int, ...]
    """Most likely tokens, best first."""
    logprobs: tuple[float, ...]


def support(place: Place, decoding: Decoding) -> frozenset[int]:
    """Ids that `decoding` keeps: temperature, then top-k, then top-p over the survivors."""
    count = min(decoding.top_k or len(place.ids), len(place.ids))
    tempered = [
        math.exp((value - place.logprobs[0]) / decoding.temperature) for value in place.logprobs[:count]
    ]
    total = sum(tempered)
    kept: list[int] = []
    before = 0.0
    for token, weight in zip(place.ids, tempered, strict=False):
        if kept and before >= decoding.top_p * total:
            break
        kept.append(token)
        before += weight
    return frozenset(kept)


def kept_mass(places: Sequence[Place], supports: Sequence[frozenset[int]]) -> float:
    """Mean over places of the mass that a model puts on each place's support."""
    masses = [
        sum(math.exp(value) for token, value in zip(place.ids, place.logprobs, strict=True) if token in kept)
        for place, kept in zip(places, supports, strict=True)
    ]
    return sum(masses) / len(masses)


def mean_entropy(places: Sequence[Place]) -> float:
    """Nats per token."""
    return sum(place.entropy for place in places) / len(places)
