"""Judges programs: programs in, verdicts out."""

from forklock.evals.judging.judge import Judge
from forklock.evals.judging.limits import JudgeLimits

__all__ = ["Judge", "JudgeLimits"]
