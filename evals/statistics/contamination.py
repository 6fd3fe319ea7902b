"""evals: tests whether a model may have seen the problems. Pure.

Input: a finished run, the model's training cutoff. Output: pass@1 by month of contest, and before against after the
cutoff. The difference is computed within each difficulty and averaged with the size of the smaller side as weight,
because later contests may simply hold more hard problems. Its p-value permutes the dates within each difficulty. A fall
suggests contamination and does not prove it: contests may have become harder in ways that the label does not show.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from forklock.evals.results import EvalResult, PassAtK, ProblemResult
from forklock.evals.statistics.stats import pass_at

PERMUTATIONS = 5_000
"""Number of permutations for the p-value."""


@dataclass(frozen=True, slots=True)
class Month:
    """The contests of one month."""

    first: date
    score: PassAtK
    seen: bool | None
    """Whether the whole month lies before the cutoff; None where the cutoff falls into it."""


@dataclass(frozen=True, slots=True)
class Contamination:
    """Scores before and after the cutoff."""

    cutoff: date
    months: tuple[Month, ...]
    before: PassAtK
    after: PassAtK
    undated: int
    """Number of problems without a date, which are on neither side."""
    difference: float | None
    """Before minus after, within difficulties; None where no difficulty has problems on both sides."""
    p_value: float | None
    """One-sided: share of random dates that give a fall at least as large."""


def contamination(result: EvalResult, cutoff: date) -> Contamination:
    """Return the run's score by month, before and after the cutoff (its day counts as before)."""
    judged = [problem for problem in result.problems if problem.judged]
    dated = [(problem, problem.contest_date) for problem in judged if problem.contest_date]
    months: dict[date, list[ProblemResult]] = defaultdict(list)
    for problem, day in dated:
        months[day.replace(day=1)].append(problem)
    sides = _sides(judged, cutoff)
    difference = _difference(sides)
    return Contamination(
        cutoff=cutoff,
        months=tuple(Month(m, pass_at(months[m], 1), _seen(m, cutoff)) for m in sorted(months)),
        before=pass_at([p for p, day in dated if day <= cutoff], 1),
        after=pass_at([p for p, day in dated if day > cutoff], 1),
        undated=len(judged) - len(dated),
        difference=difference,
        p_value=None if difference is None else _p_value(sides, difference),
    )


def _seen(month: date, cutoff: date) -> bool | None:
    if month > cutoff:
        return False
    return None if (month.year, month.month) == (cutoff.year, cutoff.month) else True


Sides = dict[str, tuple[list[float], list[float]]]
"""Pass rates before and after, by difficulty."""


def _sides(problems: Sequence[ProblemResult], cutoff: date) -> Sides:
    sides: Sides = {}
    for problem in problems:
        if problem.contest_date:
            before, after = sides.setdefault(problem.difficulty, ([], []))
            (before if problem.contest_date <= cutoff else after).append(problem.passed / problem.judged)
    return {name: both for name, both in sides.items() if both[0] and both[1]}


def _difference(sides: Sides) -> float | None:
    weights = [min(len(before), len(after)) for before, after in sides.values()]
    gaps = [sum(before) / len(before) - sum(after) / len(after) for before, after in sides.values()]
    return sum(w * gap for w, gap in zip(weights, gaps, strict=True)) / sum(weights) if weights else None


def _p_value(sides: Sides, seen: float) -> float:
    drawn, hits = random.Random(0), 0  # noqa: S311
    for _ in range(PERMUTATIONS):
        mixed: Sides = {}
        for name, (before, after) in sides.items():
            rates = before + after
            drawn.shuffle(rates)
            mixed[name] = (rates[: len(before)], rates[len(before) :])
        hits += (_difference(mixed) or 0.0) >= seen - 1e-12
    return (hits + 1) / (PERMUTATIONS + 1)


def sentence(found: Contamination) -> str:
    """Return the finding as one sentence."""
    if found.difference is None:
        return f"no difficulty has problems on both sides of {found.cutoff}: nothing can be said of contamination"
    word = "fell" if found.difference > 0 else "rose"
    return (
        f"after {found.cutoff} pass@1 {word} by {abs(found.difference):.1%} within difficulties "
        f"(p = {found.p_value:.3f} that random dates show such a fall)"
    )
