"""Computes entropy and KeptMass of answers: cheap signs that the truncation was folded into the weights.

The paper's loss contains -log KeptMass(S): the probability mass inside the support that the train-time
truncation S = (T, k, p) keeps (arXiv 2604.01193, section 4). Here the support is that of the serving model on its own
answers to gate problems; a candidate that has folded puts more mass into it.
In: an open in-process engine, requests and answers. Out: exact scores
(`forklock.models.engines.transformers_engine.scoring`) and their means. `evals tokens` shows the same numbers with
intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from forklock.models.contract import Decoding, FirstStage, Request

if TYPE_CHECKING:
    from torch import Tensor

    from forklock.models.engines.transformers_engine import TokenScores, TransformersEngine

DIGITS = 6
TOP = 20
"""Most tokens in a support. It is listed in full, so that its mass can be computed for the other side."""

Gauged = list[tuple[Request, tuple[int, ...]]]
"""Requests, and the answers' token ids."""


def cut_of(decoding: Decoding) -> FirstStage:
    """Return the truncation of `decoding`, to at most `TOP` tokens; greedy keeps one."""
    if decoding.temperature == 0:
        return FirstStage(temperature=1.0, top_k=1)
    top_k = min(decoding.top_k or TOP, TOP)
    return FirstStage(temperature=decoding.temperature, top_k=top_k, top_p=decoding.top_p)


def score(
    engine: TransformersEngine,
    gauged: Gauged,
    cut: FirstStage,
    supports: Sequence[Sequence[Sequence[int]]] | None,
) -> list[TokenScores]:
    """Score every answer's tokens under this engine's model.

    Args:
        supports: the other side's, `supports[answer][token]`. `watched_mass` of the result is their mass.
    """
    if not gauged:
        return []
    requests, answers = [request for request, _ in gauged], [[ids] for _, ids in gauged]
    watch = None if supports is None else [[rows] for rows in supports]
    return [one for (one,) in engine.score(requests, answers, top_k=TOP, cut=cut, watch=watch)]


def supports_of(scores: Sequence[TokenScores]) -> list[list[list[int]]]:
    """Return the ids that the truncation keeps at each token of each answer."""
    return [
        [ids[:count] for ids, count in zip(one.top_ids.tolist(), _known(one.survivors).tolist(), strict=True)]
        for one in scores
    ]


def gauges_of(scores: Sequence[TokenScores]) -> dict[str, float]:
    """Return means over all tokens: `entropy` in nats, and `kept_mass` of the serving side's support.

    They are rounded, since the last digits of float32 sums depend on the memory layout of the process."""
    entropy = [value for one in scores for value in one.entropy.tolist()]
    kept = [
        value
        for one in scores
        for value in _known(one.kept_mass if one.watched_mass is None else one.watched_mass).tolist()
    ]
    means = {"entropy": sum(entropy) / len(entropy), "kept_mass": sum(kept) / len(kept)} if entropy else {}
    return {name: round(mean, DIGITS) for name, mean in means.items()}


def _known(values: Tensor | None) -> Tensor:
    if values is None:
        raise ValueError("scored without a cut")
    return values
