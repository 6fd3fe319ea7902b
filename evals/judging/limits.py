"""evals: the limits of judged programs, and the stamp that ties a stored verdict to them.

Input: a problem. Output: seconds and bytes that its programs may use.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass

from forklock.evals.contract import Problem

JUDGE_VERSION = "4"
"""Changes whenever a verdict can change: stored judgements of another version are made again."""


@dataclass(frozen=True, slots=True)
class JudgeLimits:
    """Limits for each test of each program."""

    time_scale: float = 1.0
    """Multiplies each problem's own `time_limit_s`, the CPU seconds of a test."""
    wall_factor: float = 3.0
    """Wall-clock seconds allowed per CPU second, so that a busy machine does not fail a program."""
    memory_mb: int = 1024
    """MiB of address space per process."""
    output_bytes: int = 4 << 20
    """Bytes that one test may print or return, or twice the longest right output if that is more."""

    def cpu_s(self, problem: Problem) -> list[float]:
        """CPU seconds that each test may take."""
        return [problem.limit_s(number) * self.time_scale for number in range(len(problem.tests))]

    def output(self, problem: Problem) -> int:
        """Bytes that one test may print or return: a multiple of `output_bytes`, which hides the right length."""
        longest = max(len(test.output) for test in problem.tests)
        return self.output_bytes * (1 + 2 * longest // self.output_bytes)

    def outputs(self, problem: Problem) -> int:
        """Bytes that all tests of one program together may print or return.

        This is twice the length of the right outputs, rounded up to `output_bytes`, plus one unit more.
        """
        right = sum(len(test.output) for test in problem.tests)
        return self.output_bytes * (2 + 2 * right // self.output_bytes)

    def quiet_s(self, problem: Problem) -> float:
        """Wall-clock seconds within which a working driver must report a result of some test."""
        return max(self.cpu_s(problem)) * self.wall_factor + 10


def judge_stamp(limits: JudgeLimits) -> str:
    """Return what a verdict depends on besides program and problem: judge version, limits and Python version."""
    words = f"{limits!r} {sys.version_info[:2]}"
    return f"{JUDGE_VERSION}-{hashlib.sha256(words.encode()).hexdigest()[:8]}"
