"""evals: a gate for continuous integration: the candidate is not worse than the base by a margin. Pure.

Input: two results, a margin, a level. Output: a `GateVerdict`. The gate passes if "worse by the margin or more" is
rejected at one-sided `alpha`. Otherwise the candidate is *shown worse* if "not worse at all" is rejected at `alpha`
(sign-flip test), and else there is *not enough evidence*.
"""

from __future__ import annotations

from typing import Literal

from forklock.evals.contract import EvalFault, Frozen
from forklock.evals.results import EvalResult
from forklock.evals.statistics.comparison import Comparison, compare_runs
from forklock.evals.statistics.margin import ALPHA, p_not_inferior, problems_for_margin
from forklock.evals.statistics.stats import paired_test

Outcome = Literal["not worse", "shown worse", "not enough evidence"]


class UnjudgedFault(EvalFault):
    """Samples have no verdict, so the runs cannot be gated."""

    exit_code = 3


class GateVerdict(Frozen):
    """The decision and what it rests on."""

    outcome: Outcome
    reason: str
    margin: float
    """As a pass rate: 0.02 is two points."""
    alpha: float
    p_not_inferior: float
    """One-sided p of "worse by the margin or more"."""
    p_worse: float
    """One-sided p of "not worse at all"."""
    problems_needed: int | None
    """Number of problems at which equally good runs pass with 80 % power; None for a margin of 0."""
    comparison: Comparison

    @property
    def passed(self) -> bool:
        return self.outcome == "not worse"


def decide(
    base: EvalResult, candidate: EvalResult, *, margin: float, alpha: float = ALPHA, force: bool = False
) -> GateVerdict:
    """Apply the rule of the module.

    Args:
        margin: 0 <= margin < 1, in pass rate.
        alpha: 0 < alpha < 1.

    Raises:
        UnjudgedFault: the judge failed on some samples.
        EvalFault: the runs cannot be compared.
    """
    if failed := base.infrastructure + candidate.infrastructure:
        raise UnjudgedFault(
            f"{failed} samples have no verdict: the judge failed on them",
            fix="give the same `evals run` again to judge them, then gate",
        )
    comparison = compare_runs(base, candidate, force=force)
    before, after = base.rates(), candidate.rates()
    differences = [after[key] - before[key] for key in sorted(before.keys() & after.keys())]
    p_margin = p_not_inferior(differences, margin)
    p_worse = paired_test(before, after).p_worse
    needed = problems_for_margin(differences, margin, alpha=alpha)
    outcome: Outcome = (
        "not worse" if p_margin <= alpha else "shown worse" if p_worse <= alpha else "not enough evidence"
    )
    return GateVerdict(
        outcome=outcome,
        reason=_reason(outcome, comparison, margin, p_margin, p_worse, needed),
        margin=margin,
        alpha=alpha,
        p_not_inferior=p_margin,
        p_worse=p_worse,
        problems_needed=needed,
        comparison=comparison,
    )


def _reason(
    outcome: Outcome,
    comparison: Comparison,
    margin: float,
    p_margin: float,
    p_worse: float,
    needed: int | None,
) -> str:
    effect = comparison.effect
    seen = f"{100 * effect.difference:+.1f} points [{100 * effect.low:+.1f}, {100 * effect.high:+.1f}]"
    if outcome == "not worse":
        return f"{seen}; a loss of {100 * margin:g} points or more is ruled out, p {p_margin:.3g}"
    if outcome == "shown worse":
        return f"{seen}; a loss is shown, p {p_worse:.3g}"
    advice = _advice(effect.problems, needed)
    return f"{seen}; a loss of {100 * margin:g} points is not ruled out, p {p_margin:.3g}: {advice}"


def _advice(problems: int, needed: int | None) -> str:
    if needed is None:
        return "with a margin of 0 only a gain that shows would pass"
    if needed <= problems:
        return f"if both were equally good, about {needed} problems would do, and these are {problems}"
    return f"about {needed} problems needed if both are equally good, and these are {problems}"
