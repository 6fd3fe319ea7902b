"""The same tests several times over: what fails always, and what only sometimes.

In: a sandbox, a command, how often. Out: the reports, and how often each test that ever failed has passed. Every
run has a copy of the workspace to itself. Not covered: tests that fail only in an order that no run had.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from sandbox import Sandbox
from tools.contract import TestReport
from tools.testing.run import run_tests


@dataclass(frozen=True)
class Repeated:
    reports: tuple[TestReport, ...]
    """Of the runs, in order; one at least."""

    @cached_property
    def failed(self) -> Counter[str]:
        """How many runs each test failed in; those that never did are left out."""
        return Counter(failure.test_id for report in self.reports for failure in report.failures)

    @cached_property
    def passed(self) -> Counter[str]:
        """How many runs those passed in."""
        return Counter(test for report in self.reports for test in report.passed if test in self.failed)

    @property
    def flaky(self) -> tuple[str, ...]:
        """Passed in one run and failed in another, in order."""
        return tuple(sorted(test for test in self.failed if self.passed[test]))


def run_repeatedly(
    sandbox: Sandbox,
    command: str | Sequence[str],
    *,
    times: int,
    timeout_s: float = 120,
    test_timeout_s: float | None = None,
    cwd: str = ".",
) -> Repeated:
    """Run the command `times` times, each in a fork. Limits are those of `run_tests`, for each run.

    Raises:
        ToolFault: the command cannot be understood.
        SandboxFault: the sandbox failed.
    """
    reports = []
    for _ in range(times):
        with sandbox.fork() as copy:
            report = run_tests(copy, command, timeout_s=timeout_s, test_timeout_s=test_timeout_s, cwd=cwd)
        reports.append(report)
    return Repeated(tuple(reports))
