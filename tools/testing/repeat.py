"""Runs the same tests several times, and tells which fail always and which only sometimes.

In: a sandbox, a command, a number of runs. Out: the reports, how often each test that ever failed has passed, and both
as text for a terminal (`in_words`). Every run has a copy of the workspace to itself. Not covered: tests that fail only
in an order that no run had.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from forklock.sandbox import Sandbox
from forklock.tools.contract import TestFailure, TestReport
from forklock.tools.testing.run import run_tests

SHOWN = 20
"""Failures that the text shows."""
OUTPUT_LINES = 20
"""Last lines of output that it shows where no test failed."""


@dataclass(frozen=True)
class Repeated:
    """What several runs of one command said."""

    reports: tuple[TestReport, ...]
    """The reports of the runs, in order; at least one."""

    @cached_property
    def failed(self) -> Counter[str]:
        """The number of runs that each test failed in, for tests that ever failed."""
        return Counter(failure.test_id for report in self.reports for failure in report.failures)

    @cached_property
    def passed(self) -> Counter[str]:
        """The number of runs that these tests passed in."""
        return Counter(test for report in self.reports for test in report.passed if test in self.failed)

    @property
    def flaky(self) -> tuple[str, ...]:
        """Tests that passed in one run and failed in another, sorted."""
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
    """Run the command `times` times, each in a fork. The limits apply to each run, as in `run_tests`.

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


def in_words(command: str, found: Repeated) -> str:
    """The result as text: each failure with its place, and the tests that fail only sometimes."""
    first = found.reports[0]
    counts = (
        f"{len(first.passed)} passed, {len(first.failures)} failed"
        if first.total
        else "no report of single tests"
    )
    lines = [f"{command}: {first.status.value}; {counts}; {first.wall_s:.1f} s"]
    for failure in first.failures[:SHOWN]:
        lines += _failure(failure)
    if len(first.failures) > SHOWN:
        lines.append(f"and {len(first.failures) - SHOWN} more failures")
    if not first.failures and first.status.value != "passed":
        lines += ["", *first.output.strip().splitlines()[-OUTPUT_LINES:]]
    if len(found.reports) > 1:
        lines += [
            "",
            f"{len(found.reports)} runs: {', '.join(report.status.value for report in found.reports)}",
            *_flaky(found),
        ]
    return "\n".join(lines)


def _failure(failure: TestFailure) -> list[str]:
    place = f"  {failure.frames[-1].path}:{failure.frames[-1].line}" if failure.frames else ""
    return ["", f"{failure.test_id}{place}", *(f"    {line}" for line in failure.message.splitlines()[:8])]


def _flaky(found: Repeated) -> list[str]:
    if not found.failed:
        return ["no test failed in any run"]
    told = [
        f"  {test}: passed {found.passed[test]}, failed {found.failed[test]}" for test in found.flaky[:SHOWN]
    ]
    always = len(found.failed) - len(found.flaky)
    head = f"{len(found.flaky)} tests fail only sometimes" if told else "no test fails only sometimes"
    return [f"{head}; {always} that failed never passed", *told]
