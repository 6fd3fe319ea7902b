"""The gate's rule compares a candidate with what serves now. Pure functions.

**The rule** was written before any number was seen. Change it here, in a commit, never after looking at a round.
0. Reject if a number is missing (not finite, or no problem judged on both sides).
1. Reject if the candidate does damage, whatever the score: more answers without an end, less code that parses,
   instructions no longer followed, fewer problems solved by at least one sample, solutions or entropy collapsed.
2. Promote if the paired difference of per-problem pass rates crosses the boundary of the sequential test
   (`forklock.evals.statistics.sequential`; one-sided level 0.05 over all looks together), and the candidate is also
   ahead of the serving side with another decoding alone (virtual SSD) on the same problems.
3. Otherwise reject: as *worse* if the whole interval is below zero, as *no gain in sight* if more problems of the same
   kind would hardly show one, else as *not enough evidence*, with the number of problems at which an effect of this
   size would show with 80 % power.
Problems are the unit, not samples: samples of one problem are not independent.
The bounds of step 1 are absolute margins, chosen so that a gate of 24 problems reacts to damage, not to noise.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict

from forklock.evals.statistics.margin import problems_needed
from forklock.evals.statistics.sequential import ALPHA, Finding

LENGTH_MARGIN = 0.10
"""Largest accepted rise of the share of answers that hit the length limit."""
CODE_MARGIN = 0.10
"""Largest accepted fall of the share of answers with code that parses."""
FOLLOWED_MARGIN = 1
"""Instruction probes that the candidate may fail beyond those that the serving side fails."""
SOLVED_MARGIN = 0.05
"""Largest accepted fall of the share of problems that at least one sample solves."""
DISTINCT_SHARE = 0.7
"""Smallest accepted share of the serving side's different solutions per solved problem."""
ENTROPY_SHARE = 1 / 3
"""Smallest accepted share of the serving side's entropy. Folding lowers it; a model that says one thing has none."""


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
    """Two-sided 95 % interval of the effect, which holds at all looks together."""
    p_better: float
    """One-sided p of "the candidate is not better"."""
    spread: float
    """Standard deviation of the per-problem differences."""
    finding: Finding | None = None
    """What the sequential test found at its last look. None in verdicts of before it."""
    budget: int = 0
    """Problems that the gate would have gone to. 0 in verdicts of before the sequential test."""
    looks: tuple[tuple[int, float], ...] = ()
    """(problems, effect) at each look."""


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
    """Mean entropy per answer token at temperature 1, in nats."""
    kept_mass: float | None = None
    """Mean probability inside the train-time truncation, per answer token. It is reported, and decides nothing: it
    rises from the serving side to a candidate that has folded."""
    tokens: float = 0.0
    """Mean tokens of an answer."""
    solved: float | None = None
    """Share of problems that at least one sample solves."""
    distinct: float | None = None
    """Different passing programs per solved problem; None where none is solved."""


class Verdict(_Frozen):
    """The decision of the gate, and its reasons."""

    decision: Literal["promote", "reject"]
    reasons: tuple[str, ...]
    paired: Paired
    serving: Health
    candidate: Health
    against: str
    """What was serving: an adapter's version, or `base`."""
    decode_only: Paired | None = None
    """The candidate compared with the serving side under virtual SSD; None where it was not needed."""

    @property
    def promoted(self) -> bool:
        return self.decision == "promote"


def decide(
    paired: Paired,
    serving: Health,
    candidate: Health,
    *,
    against: str,
    decode_only: Paired | None = None,
) -> Verdict:
    """Apply the rule in the module's docstring."""
    broken = (*missing_numbers(paired, serving, candidate), *health_faults(serving, candidate))
    shown = _shown(paired)
    decision: Literal["promote", "reject"] = "reject"
    if broken:
        reasons: tuple[str, ...] = (*broken, f"effect {shown}")
    elif paired.finding is Finding.BETTER and decode_only is not None and decode_only.effect <= 0:
        reasons = (
            f"another decoding alone gains as much: ahead of virtual SSD by {_shown(decode_only)}",
            f"better than what serves: effect {shown}",
        )
    elif paired.finding is Finding.BETTER:
        decision, reasons = "promote", (f"better: effect {shown}, p {paired.p_better:.3f}",)
    elif paired.high < 0:
        reasons = (f"worse: effect {shown}",)
    elif paired.finding is Finding.HOPELESS:
        reasons = (
            f"no gain in sight: effect {shown} after {paired.problems} of {paired.budget} problems; "
            "the rest would hardly change that",
        )
    else:
        reasons = (f"not enough evidence: effect {shown}, {needed_text(paired)}",)
    return Verdict(
        decision=decision,
        reasons=reasons,
        paired=paired,
        serving=serving,
        candidate=candidate,
        against=against,
        decode_only=decode_only,
    )


def _shown(paired: Paired) -> str:
    return f"{paired.effect:+.1%} [{paired.low:+.1%}, {paired.high:+.1%}]"


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
    return (*faults, *_collapsed(serving, candidate))


def _collapsed(serving: Health, candidate: Health) -> list[str]:
    """Return what the candidate can no longer do in several ways, one sentence each."""
    faults = []
    if _below(candidate.solved, serving.solved, less=SOLVED_MARGIN):
        faults.append(
            f"problems solved by at least one sample fell from {serving.solved:.0%} to {candidate.solved:.0%}"
        )
    if _below(candidate.distinct, serving.distinct, share=DISTINCT_SHARE):
        faults.append(
            f"different solutions per solved problem fell from {serving.distinct:.2f} to {candidate.distinct:.2f}"
        )
    if _below(candidate.entropy, serving.entropy, share=ENTROPY_SHARE):
        faults.append(f"entropy collapsed from {serving.entropy:.3f} to {candidate.entropy:.3f} nats a token")
    return faults


def _below(value: float | None, serving: float | None, *, share: float = 1.0, less: float = 0.0) -> bool:
    """Whether a number fell below the serving side's times `share`, minus `less`; unknown numbers did not."""
    return value is not None and serving is not None and value < serving * share - less - 1e-9


def needed_text(paired: Paired) -> str:
    needed = problems_needed(paired.effect, paired.spread, alpha=ALPHA)
    if needed is None:
        return f"and {paired.problems} problems show no gain to look for"
    if needed <= paired.problems:
        return f"p {paired.p_better:.3f} over {paired.problems} problems; a few more would settle it"
    return f"you would need about {needed} problems instead of {paired.problems} (--gate-limit)"
