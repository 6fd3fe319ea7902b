"""What the checks say before the first model call: once per run, also of one that is resumed.

In: a task and its sandbox. Out: reports in the log, the suite to guard against regressions, and refusals of checks that
cannot serve.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from forklock.agent.contract import AgentFault, Task
from forklock.agent.judging.guard import Check
from forklock.agent.log import BaselineTaken, NoteMade, RunLog, report_from_json, report_to_json
from forklock.agent.log.recorded import Recorded
from forklock.sandbox import Sandbox
from forklock.sandbox.interpreters.managed import install_words
from forklock.tools.contract import TestReport, TestStatus
from forklock.tools.testing.hopeless import why_hopeless
from forklock.tools.testing.run import run_tests

_MISSING = re.compile(r"No module named '([A-Za-z_]\w*)")


def require_failing(task: Task, report: TestReport, base: Sandbox, *, verified: bool) -> None:
    """Refuse a check that cannot tell when the task is solved.

    Raises:
        AgentFault: it passes already, cannot be started, or can never pass.
    """
    command = task.test_command
    if report.status is TestStatus.PASSED and verified:
        raise AgentFault(
            f"`{command}` passes already: there is nothing to solve",
            fix="give a check that fails now and should pass, with --test",
        )
    if report.status is TestStatus.NOT_STARTED:
        raise AgentFault(
            f"`{command}` cannot be started: {report.output.strip()[:300]}",
            fix=f"try the command in the repository yourself, or {_way(task, base, '')}",
        )
    if verified and not task.first_files:
        reason = why_hopeless(
            command,
            report,
            base.root,
            cwd=task.cwd,
            task=task.statement,
            install=lambda name: _way(task, base, name),
        )
        if reason is not None:
            raise AgentFault(reason.message, fix=reason.fix)


def _way(task: Task, base: Sandbox, module: str) -> str:
    """What to install where, so that the check finds a module, or all that it needs."""
    words = install_words(task.repo, module, task.cwd)
    if base.backend == "docker":
        words += "; or `agent sandbox image build` makes an image with what it depends on"
    return words


def first_report(base: Sandbox, task: Task, timeout_s: float) -> TestReport:
    """What the task's check says of the code as it is."""
    return _run(base, task.test_command, timeout_s, task.cwd)


def _run(base: Sandbox, command: str, timeout_s: float, cwd: str) -> TestReport:
    with base.fork() as fork:
        return run_tests(fork, command, timeout_s=timeout_s, cwd=cwd)


def baseline_event(
    log: RunLog, command: str, report: TestReport, role: Literal["task", "regression"]
) -> BaselineTaken:
    return BaselineTaken(command=command, report=log.store(report_to_json(report)), role=role)


@dataclass(frozen=True, slots=True)
class Baseline:
    task: Task
    base: Sandbox
    log: RunLog
    recorded: Recorded
    timeout_s: float
    """For one run of a check."""

    def of(self, command: str, role: Literal["task", "regression"], cwd: str = ".") -> TestReport:
        """The command's report on the code as it was: run now, or read from the log."""
        stored = self.recorded.baselines.get((role, command))
        if stored is not None:
            return report_from_json(stored)
        report = _run(self.base, command, self.timeout_s, cwd)
        self.log.append(baseline_event(self.log, command, report, role))
        return report

    def note_missing(self, report: TestReport) -> None:
        """Tell of a module that the check misses: the user's to get, whatever the model writes."""
        name = missing_module(report, self.base.root)
        if name is not None and self.recorded.places is None:
            way = _way(self.task, self.base, name)
            self.log.append(
                NoteMade(text=f"the check misses the module {name}, which no edit can add: {way}")
            )

    def regression(self) -> Check | None:
        """The suite that must not get worse; None where there is none, or it reports no single tests."""
        command = self.task.regression_command
        if command is None:
            return None
        report = self.of(command, "regression", self.task.regression_cwd)
        if report.total == 0:
            self.log.append(
                NoteMade(text=f"`{command}` reports no single tests; regressions are not checked")
            )
            return None
        return Check(command, report, check_timeout(report, self.timeout_s), self.task.regression_cwd)


def check_timeout(before: TestReport, bound: float) -> float:
    """Seconds for a check of a candidate: generous beside the baseline, but no endless loop's worth."""
    if before.status is TestStatus.TIMED_OUT:
        return bound
    return min(bound, max(10.0, 5 * before.wall_s))


def missing_module(report: TestReport, root: Path) -> str | None:
    """A module that the tests import and neither the sandbox nor the repo has; None where all are there."""
    said = "\n".join([*(failure.message for failure in report.failures), report.output])
    for name in dict.fromkeys(_MISSING.findall(said)):
        places = [root / folder / end for folder in ("", "src") for end in (name, f"{name}.py")]
        if not any(place.exists() for place in places):
            return str(name)
    return None
