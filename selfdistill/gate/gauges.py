"""Cheap signs of folding: entropy and KeptMass on answers that are already there.

The paper's loss contains -log KeptMass(S): the probability mass inside the support that the train-time
truncation S = (T, k, p) keeps (arXiv 2604.01193, section 4). Here the support is cut from the model that
serves, on its own answers to gate problems; a candidate that folded puts more mass into that support. In: an open
in-process engine, requests and answers. Out: exact scores (`forklock.models.transformers_engine.scoring`), and
their means. `evals tokens` shows the same numbers with intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from forklock.models.contract import Decoding, FirstStage, Request

if TYPE_CHECKING:
    from torch import Tensor

    from forklock.models.transformers_engine import TokenScores, TransformersEngine

DIGITS = 6
TOP = 20
"""Tokens of a support at most: it is listed in full, so that the other side can be asked about it."""

Gauged = list[tuple[Request, tuple[int, ...]]]
"""Requests, and the answers' token ids."""


def cut_of(decoding: Decoding) -> FirstStage:
    """What `decoding` keeps, at most `TOP` tokens; greedy keeps one."""
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
    """Every answer's tokens under this engine's model.

    Args:
        supports: of the other side, `supports[answer][token]`; their mass is in `watched_mass`.
    """
    if not gauged:
        return []
    requests, answers = [request for request, _ in gauged], [[ids] for _, ids in gauged]
    watch = None if supports is None else [[rows] for rows in supports]
    return [one for (one,) in engine.score(requests, answers, top_k=TOP, cut=cut, watch=watch)]


def supports_of(scores: Sequence[TokenScores]) -> list[list[list[int]]]:
    """Ids that the cut keeps at each token of each answer."""
    return [
        [ids[:count] for ids, count in zip(one.top_ids.tolist(), _known(one.survivors).tolist(), strict=True)]
        for one in scores
    ]


def gauges_of(scores: Sequence[TokenScores]) -> dict[str, float]:
    """Means over all tokens: `entropy` in nats, `kept_mass` of the serving side's support, on either side. Rounded: the
    last digits of float32 arithmetic depend on where in memory a process has its tensors."""
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
