"""The paired comparison over problems. Pure; scipy is imported when called.

In: passes per problem and side. Out: `Paired`. The p-value is a sign-flip permutation test on the
per-problem differences of pass rates: under "no difference" each problem's sign is a fair coin. Exact by
enumeration up to `EXACT` problems that differ, else Monte Carlo with a fixed seed. The interval is
Student's t over problems. Not covered: clustering of problems that resemble one another.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence

from selfdistill.gate import Paired

EXACT = 14
"""Differing problems up to which all 2^n signs are tried."""
DRAWS = 20_000
CONFIDENCE = 0.95


def compare(serving: Mapping[str, Sequence[bool]], candidate: Mapping[str, Sequence[bool]]) -> Paired:
    """
    Args:
        serving, candidate: question id -> passed, per sample; the same ids and counts on both sides.

    Raises:
        ValueError: the sides do not match, or there is nothing to compare.
    """
    if not serving or serving.keys() != candidate.keys():
        raise ValueError("both sides need the same problems, at least one")
    before = [_rate(serving[key]) for key in sorted(serving)]
    after = [_rate(candidate[key]) for key in sorted(serving)]
    differences = [b - a for a, b in zip(before, after, strict=True)]
    count = len(differences)
    effect = sum(differences) / count
    spread = math.sqrt(sum((d - effect) ** 2 for d in differences) / (count - 1)) if count > 1 else 0.0
    margin = _quantile(count) * spread / math.sqrt(count) if count > 1 else math.inf
    return Paired(
        problems=count,
        samples=len(next(iter(serving.values()))),
        serving=sum(before) / count,
        candidate=sum(after) / count,
        effect=effect,
        low=max(effect - margin, -1.0),
        high=min(effect + margin, 1.0),
        p_better=sign_flip_p(differences),
        spread=spread,
    )


def sign_flip_p(differences: Sequence[float]) -> float:
    """One-sided p: how often random signs give a sum at least as large."""
    sizes = [d for d in differences if d]
    if not sizes:
        return 1.0
    seen = sum(sizes) - 1e-9
    if len(sizes) <= EXACT:
        signs = itertools.product((1, -1), repeat=len(sizes))
        hits = sum(sum(s * d for s, d in zip(row, sizes, strict=True)) >= seen for row in signs)
        return hits / 2 ** len(sizes)
    draw = random.Random(0)  # noqa: S311 - a permutation test
    hits = sum(sum(d if draw.random() < 0.5 else -d for d in sizes) >= seen for _ in range(DRAWS))
    return (hits + 1) / (DRAWS + 1)


def _rate(passed: Sequence[bool]) -> float:
    return sum(passed) / len(passed)


def _quantile(count: int) -> float:
    from scipy import stats

    return float(stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1))
