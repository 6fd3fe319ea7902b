"""Judges programs: programs in, verdicts out."""

from evals.judging.judge import Judge
from evals.judging.limits import JudgeLimits

__all__ = ["Judge", "JudgeLimits"]
