"""What the verdicts of one run have found out, so that a later verdict does not ask again.

A run gives a verdict after the first step with a passing candidate, and often another one a step later. The second asks
the original and the candidates of the first the same questions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from forklock.tools.behaviour.ask import Behaviour, Plan, Target


@dataclass(slots=True)
class Memory:
    """Answers by what was asked. Safe to fill from threads: the same key always gets the same value."""

    plans: dict[tuple[str, str, tuple[Target, ...]], Plan | None] = field(default_factory=dict)
    """By command, folder and changed functions."""
    behaviours: dict[tuple[tuple[Plan, ...], str], Behaviour | None] = field(default_factory=dict)
    """By plans and diff."""
    shorter: dict[str, str] = field(default_factory=dict)
    """Diffs without idle lines, by the whole diff."""
