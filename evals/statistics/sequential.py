"""evals: a paired test that may be looked at while problems are added. Pure.

A group-sequential sign-flip test. Input: per-problem differences of pass rates (candidate minus serving, each in
-1..1), in the order in which they were measured, and a plan of looks that was fixed before. Output: at each look,
whether the answer is clear. The level holds over all looks together: the chance of ever calling a candidate better that
is not is at most alpha, given differences that are symmetric about 0.

Method: the level is spent over the looks as O'Brien and Fleming's boundary does (Lan and DeMets 1983), and the
boundary itself comes from random sign flips of the observed differences (Fisher 1935), followed from look to look, so
that no normal approximation is needed for it. Stopping early for lack of gain is non-binding: it can only lower the
level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

ALPHA = 0.05
FLIPS = 20_000
"""Random sign flips that the boundary is computed from."""
LOOKS = 4
"""Looks of a plan, where there are problems enough."""
SMALLEST_LOOK = 12
"""Problems that a look adds at least: fewer cannot cross an early boundary."""
HOPELESS = 0.05
"""A plan is given up when the predicted chance of a clear answer at its end is below this."""
SLACK = 1e-9


class Finding(StrEnum):
    """What a look says."""

    BETTER = "better"
    """The boundary is crossed."""
    GO_ON = "go on"
    """Not clear yet, and problems are left."""
    HOPELESS = "hopeless"
    """Problems are left, but more of the same would hardly cross the boundary."""
    UNCLEAR = "unclear"
    """The last look, and the boundary is not crossed."""


@dataclass(frozen=True, slots=True)
class Look:
    """The state of the test after some problems."""

    problems: int
    effect: float
    """Mean difference."""
    needed: float
    """The smallest mean difference that would have been enough at this look; infinite where none would."""
    low: float
    high: float
    """Interval of the effect that holds at all looks together (95 %, two-sided): the mean plus and minus the
    boundary of the two-sided test (a repeated interval, Jennison and Turnbull 1989)."""
    finding: Finding


def plan_looks(budget: int) -> tuple[int, ...]:
    """Return after how many problems a plan looks; the last is the budget.

    Raises:
        ValueError: the budget is below 1.
    """
    if budget < 1:
        raise ValueError("a plan needs at least one problem")
    looks = max(1, min(LOOKS, budget // SMALLEST_LOOK))
    return tuple(math.ceil(budget * look / looks) for look in range(1, looks + 1))


def sequential_test(
    differences: Sequence[float], plan: Sequence[int], *, alpha: float = ALPHA, seed: int = 0
) -> list[Look]:
    """Return all looks that the differences reach, the last one decisive or not.

    Looks after the first clear one are not taken.

    Args:
        differences: those measured so far, in order.
        plan: numbers of problems, rising; the last is the budget.
        seed: of the sign flips. The same plan and seed repeat earlier looks exactly.
    """
    one_sided = _boundaries(differences, plan, alpha, seed)
    two_sided = _boundaries(differences, plan, alpha / 2, seed)
    looks: list[Look] = []
    for problems, needed, wide in zip(plan, one_sided, two_sided, strict=False):
        seen = differences[:problems]
        effect = math.fsum(seen) / problems
        finding = _finding(seen, effect, needed, plan[-1], alpha)
        low, high = max(-1.0, effect - wide), min(1.0, effect + wide)
        looks.append(Look(problems, effect, needed, low, high, finding))
        if finding is not Finding.GO_ON:
            break
    return looks


def spent(share: float, alpha: float) -> float:
    """Return how much of the level may be spent when `share` of the budget is measured.

    This is 2 - 2 Phi(z_(1 - alpha/2) / sqrt(share)), Lan and DeMets' form of O'Brien and Fleming's boundary.
    """
    from scipy.stats import norm

    return float(2 * norm.sf(norm.ppf(1 - alpha / 2) / math.sqrt(share)))


def _boundaries(differences: Sequence[float], plan: Sequence[int], alpha: float, seed: int) -> list[float]:
    """Return the mean difference that crosses the boundary, for each look that is reached.

    The observed path is one more among those of the flips, so that all are exchangeable under the null hypothesis.
    Paths that crossed at one look do not count at later ones.
    """
    import numpy as np

    random = np.random.default_rng([seed, 3])
    sums = np.zeros(FLIPS + 1)
    alive = np.ones(FLIPS + 1, dtype=bool)
    boundaries: list[float] = []
    begin = 0
    for end in plan:
        if end > len(differences):
            break
        sizes = np.asarray(differences[begin:end], dtype=float)
        signs = 2.0 * random.integers(0, 2, size=(FLIPS, len(sizes)), dtype=np.int8) - 1.0
        sums[:FLIPS] += signs @ np.abs(sizes)
        sums[FLIPS] += sizes.sum()
        allowed = math.floor(spent(end / plan[-1], alpha) * (FLIPS + 1)) - int((~alive).sum())
        edge = _edge(np.sort(sums[alive])[::-1].tolist(), allowed)
        boundaries.append(edge / end)
        alive &= sums < edge - SLACK
        begin = end
    return boundaries


def _edge(falling: Sequence[float], allowed: int) -> float:
    """Return the smallest sum that at most `allowed` of the paths reach, ties included."""
    if allowed <= 0:
        return math.inf
    if allowed >= len(falling):
        return float(falling[-1])
    # A sum that ties with the first path beyond the allowance would let that one in, too.
    beyond = falling[allowed]
    inside = [value for value in falling[:allowed] if value > beyond + SLACK]
    return float(inside[-1]) if inside else math.inf


def _finding(seen: Sequence[float], effect: float, needed: float, budget: int, alpha: float) -> Finding:
    if effect > 0 and effect >= needed - SLACK:
        return Finding.BETTER
    if len(seen) >= budget:
        return Finding.UNCLEAR
    return Finding.HOPELESS if predicted(seen, budget, alpha=alpha) < HOPELESS else Finding.GO_ON


def predicted(seen: Sequence[float], budget: int, *, alpha: float = ALPHA) -> float:
    """Return the predicted chance that the whole budget would show a gain.

    This is the conditional power (Halperin et al. 1982) if the problems to come have the mean seen so far plus one
    standard error, which gives the candidate the benefit of the doubt. Two opposite problems are added to what was
    seen, so that the spread is never 0.
    """
    from scipy.stats import norm

    count, left = len(seen), budget - len(seen)
    mean = math.fsum(seen) / count
    variance = max((math.fsum(d * d for d in seen) + 2) / (count + 2) - mean * mean, 1e-6)
    hoped = min(1.0, mean + math.sqrt(variance / count))
    threshold = norm.ppf(1 - alpha) * math.sqrt(variance * budget)
    return float(norm.sf((threshold - math.fsum(seen) - left * hoped) / math.sqrt(variance * left)))
