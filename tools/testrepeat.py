"""The same tests several times over: what fails always, and what only sometimes.

In: a sandbox, a command, how often. Out: the first report, and how often each test that ever failed has passed. Every
run has a copy of the workspace to itself. Not covered: tests that fail only in an order that no run had.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sandbox import Sandbox
from tools.contract import TestReport
from tools.testrun import run_tests


@dataclass(frozen=True, slots=True)
class Repeated:
    first: TestReport
    runs: int
    failed: Counter[str] = field(default_factory=Counter)
    """How many runs each test failed in; those that never did are left out."""
    passed: Counter[str] = field(default_factory=Counter)
    """How many runs those passed in."""

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
    on_run: Callable[[TestReport], None] = lambda _: None,
) -> Repeated:
    """Run the command `times` times, each in a fork. Limits are those of `run_tests`, for each run.

    Raises:
        ToolFault: the command cannot be understood.
        SandboxFault: the sandbox failed.
    """
    reports = []
    for _ in range(times):
        with sandbox.fork() as copy:
            report = run_tests(copy, command, timeout_s=timeout_s, test_timeout_s=test_timeout_s)
        reports.append(report)
        on_run(report)
    failed = Counter(failure.test_id for report in reports for failure in report.failures)
    passed = Counter(test for report in reports for test in report.passed if test in failed)
    return Repeated(reports[0], times, failed, passed)
