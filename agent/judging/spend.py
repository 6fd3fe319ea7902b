"""What a run has spent, and how far it goes on after the first passing candidate.

A passing candidate is not the end of a run: other candidates that pass are the best evidence of what is right. The
search for them is bounded by a fixed share of the run's own limits, so that it never costs more than that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from forklock.agent.contract import Hop, Limits, Outcome, Ruling
from forklock.models.contract import Completion

SHARE = 0.1
"""Part of the limits on seconds and on tokens that may be spent after the first candidate has passed."""

MOST_PASSING = 5
"""Different passing programs after which no more are sought."""

_LEAST_S = 10.0
"""Seconds that the search may take even where the first passing candidate was found sooner."""


class BudgetReached(Exception):
    """A limit of the run was met in the middle of a step."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


@dataclass(slots=True)
class Spend:
    """What the run has used so far, over all sittings. `check` returns the limit that was met."""

    check: Callable[[Spend], Outcome | None]
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = None

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def take(self, completion: Completion) -> None:
        self.completion_tokens += completion.completion_tokens
        if completion.cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + completion.cost_usd


def limit_met(limits: Limits, spend: Spend, seconds: float) -> Outcome | None:
    """The limit that is met after so many seconds; None where there is budget left."""
    if limits.tokens is not None and spend.tokens >= limits.tokens:
        return Outcome.TOKENS
    if limits.seconds is not None and seconds >= limits.seconds:
        return Outcome.SECONDS
    if limits.cost_usd is not None and (spend.cost_usd or 0.0) >= limits.cost_usd:
        return Outcome.COST
    return None


@dataclass(slots=True)
class Gathering:
    """The different passing candidates of a run, and whether more of them are sought.

    From the first one on, the search takes at most `SHARE` of the limits, at most as long again as the run took so far
    (but `_LEAST_S` seconds), and ends at `MOST_PASSING` programs.
    """

    limits: Limits
    spend: Spend
    seconds: Callable[[], float]
    """Wall-clock of the run so far."""
    passing: list[Ruling] = field(default_factory=list)
    """One for each program, in the order in which they were found."""
    closed: bool = False
    """The log holds the verdict already: nothing more is sought."""
    _until_s: float = 0.0
    _until_tokens: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, ruling: Ruling) -> None:
        """Take note of a judged candidate, if it passed."""
        if ruling.hop is not Hop.SOLVED:
            return
        with self._lock:
            if not self.passing:
                self._begin()
            if all(ruling.program != one.program or not ruling.program for one in self.passing):
                self.passing.append(ruling)

    def _begin(self) -> None:
        now, limit, tokens = self.seconds(), self.limits.seconds, self.limits.tokens
        share = float("inf") if limit is None else SHARE * limit
        self._until_s = now + min(share, max(now, _LEAST_S))
        self._until_tokens = float("inf") if tokens is None else self.spend.tokens + SHARE * tokens

    @property
    def over(self) -> bool:
        """Whether the search is over: enough was found, or its share is used up."""
        if self.closed:
            return True
        if not self.passing:
            return False
        return (
            len(self.passing) >= MOST_PASSING
            or self.seconds() >= self._until_s
            or self.spend.tokens >= self._until_tokens
        )
