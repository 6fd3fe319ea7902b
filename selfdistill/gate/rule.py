"""The gate's rule compares a candidate with what serves now. Pure functions.

**The rule** was written before any number was seen. Change it here, in a commit, never after looking at a round.
0. Reject if a number is missing (not finite, or no problem judged on both sides).
1. Reject if the candidate does damage, whatever the score: more answers without an end, less code that parses,
   instructions no longer followed.
2. Promote if the paired difference of per-problem pass rates is above zero at one-sided p <= 0.05.
3. Otherwise reject: as *worse* if the whole two-sided 95 % interval is below zero, else as *not enough evidence*, with
   the number of problems at which an effect of this size would show with 80 % power.
Problems are the unit, not samples: samples of one problem are not independent.
The bounds of step 1 are absolute margins, chosen so that a gate of 24 problems reacts to damage, not to noise.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict

from forklock.evals.statistics.margin import problems_needed

ALPHA = 0.05
LENGTH_MARGIN = 0.10
"""Largest accepted rise of the share of answers that hit the length limit."""
CODE_MARGIN = 0.10
"""Largest accepted fall of the share of answers with code that parses."""
FOLLOWED_MARGIN = 1
"""Instruction probes that the candidate may fail beyond those that the serving side fails."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Paired(_Frozen):
    """The paired comparison over problems; differences are candidate minus serving, in pass rate."""

    problems: int
    samples: int
    """Samples per problem and side."""
    serving: float
    candidate: float
    """Mean pass rates."""
    effect: float
    low: float
    high: float
    """Two-sided 95 % interval of the effect."""
    p_better: float
    """One-sided p of "the candidate is not better"."""
    spread: float
    """Standard deviation of the per-problem differences."""


class Health(_Frozen):
    """What one side's answers look like, apart from right and wrong."""

    no_end: float
    """Share of answers that hit the length limit."""
    code: float
    """Share of answers whose code was found and parses."""
    followed: int
    """Instruction probes passed."""
    probes: int
    """Instruction probes made."""
    entropy: float | None = None
    """Mean entropy per answer token at temperature 1, in nats. It is reported, and decides nothing."""
    kept_mass: float | None = None
    """Mean probability inside the train-time truncation, per answer token. It is reported, and decides nothing: it
    rises from the serving side to a candidate that has folded."""
    tokens: float = 0.0
    """Mean tokens of an answer."""


class Verdict(_Frozen):
    """The decision of the gate, and its reasons."""

    decision: Literal["promote", "reject"]
    reasons: tuple[str, ...]
    paired: Paired
    serving: Health
    candidate: Health
    against: str
    """What was serving: an adapter's version, or `base`."""

    @property
    def promoted(self) -> bool:
        return self.decision == "promote"


def decide(paired: Paired, serving: Health, candidate: Health, *, against: str) -> Verdict:
    """Apply the rule in the module's docstring."""
    broken = (*missing_numbers(paired, serving, candidate), *health_faults(serving, candidate))
    shown = f"{paired.effect:+.1%} [{paired.low:+.1%}, {paired.high:+.1%}]"
    if broken:
        decision: Literal["promote", "reject"] = "reject"
        reasons = (*broken, f"effect {shown}")
    elif paired.effect > 0 and paired.p_better <= ALPHA:
        decision, reasons = "promote", (f"better: effect {shown}, p {paired.p_better:.3f}",)
    elif paired.high < 0:
        decision, reasons = "reject", (f"worse: effect {shown}",)
    else:
        decision, reasons = "reject", (f"not enough evidence: effect {shown}, {needed_text(paired)}",)
    return Verdict(
        decision=decision,
        reasons=reasons,
        paired=paired,
        serving=serving,
        candidate=candidate,
        against=against,
    )


def missing_numbers(paired: Paired, serving: Health, candidate: Health) -> tuple[str, ...]:
    """Return what was not measured, one sentence each. Nothing is promoted on missing numbers."""
    faults = [
        f"{who}'s {name} is not a number"
        for who, side in (("the comparison", paired), ("serving", serving), ("the candidate", candidate))
        for name, value in side
        if isinstance(value, float) and not math.isfinite(value)
    ]
    if paired.problems < 1 or paired.samples < 1:
        faults.append("no problem was judged on both sides")
    if serving.probes != candidate.probes:
        faults.append(f"instruction probes differ: {serving.probes} and {candidate.probes}")
    return tuple(faults)


def health_faults(serving: Health, candidate: Health) -> tuple[str, ...]:
    """Return what the candidate damages, one sentence each."""
    faults = []
    if candidate.no_end > serving.no_end + LENGTH_MARGIN:
        faults.append(f"answers without an end rose from {serving.no_end:.0%} to {candidate.no_end:.0%}")
    if candidate.code < serving.code - CODE_MARGIN:
        faults.append(f"answers with parsable code fell from {serving.code:.0%} to {candidate.code:.0%}")
    if candidate.followed < serving.followed - FOLLOWED_MARGIN:
        faults.append(
            f"instructions followed fell from {serving.followed} to {candidate.followed} "
            f"of {candidate.probes}"
        )
    return tuple(faults)


def needed_text(paired: Paired) -> str:
    needed = problems_needed(paired.effect, paired.spread, alpha=ALPHA)
    if needed is None:
        return f"and {paired.problems} problems show no gain to look for"
    if needed <= paired.problems:
        return f"p {paired.p_better:.3f} over {paired.problems} problems; a few more would settle it"
    return f"you would need about {needed} problems instead of {paired.problems} (--gate-limit)"
