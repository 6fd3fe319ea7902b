"""What a run has used and may use, and the best candidate so far, for the line below a running run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from forklock.agent.log.events import RunLog
from forklock.agent.log.schema import (
    CandidateRuled,
    Event,
    ModelAnswered,
    ModelAsked,
    RunResumed,
    RunStarted,
    TurnAnswered,
    TurnAsked,
)
from forklock.agent.log.shown.cached import CachedShare


@dataclass(slots=True)
class Budget:
    """What a run has used, and what it may."""

    most_tokens: float | None = None
    most_seconds: float | None = None
    tokens: int = 0
    before: float = 0.0
    """Seconds of earlier sittings."""
    best: str = ""
    """The candidate that passed most tests, and how many."""
    cached: CachedShare = field(default_factory=CachedShare)
    _passed: int = 0
    _began: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, log: RunLog) -> Budget:
        budget = cls()
        last = 0.0
        for event in log.read().events:
            if isinstance(event, RunStarted):
                limits = event.options.get("limits")
                limits = limits if isinstance(limits, dict) else {}
                budget.most_tokens, budget.most_seconds = limits.get("tokens"), limits.get("seconds")
            elif not isinstance(event, RunResumed):
                budget.before += max(0.0, event.at - last)
            last = event.at
            budget.take(event)
        return budget

    def take(self, event: Event) -> None:
        self.cached.take(event)
        if isinstance(event, ModelAsked):
            self.tokens += event.prompt_tokens
        elif isinstance(event, TurnAsked):
            self.tokens += event.new_tokens
        elif isinstance(event, ModelAnswered | TurnAnswered):
            self.tokens += event.completion_tokens
        elif isinstance(event, CandidateRuled) and event.tests_passed > self._passed:
            self._passed = event.tests_passed
            total = event.tests_passed + event.tests_failed
            self.best = f"best {event.step}.{event.index}: {event.tests_passed}/{total} tests"

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self._began

    @property
    def words(self) -> str:
        left = ""
        if isinstance(self.most_seconds, int | float):
            left = f"{max(0.0, self.most_seconds - self.seconds):.0f} s left"
        share = ""
        if isinstance(self.most_tokens, int | float) and self.most_tokens > 0:
            share = f"{100 * self.tokens / self.most_tokens:.0f} % of tokens"
        return ", ".join(part for part in (self.best, share, self.cached.words, left) if part)
