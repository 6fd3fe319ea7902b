"""Runs the check on a copy of the tree as it is now, in a thread, and can be stopped from another one."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from forklock.agent.contract import AgentFault
from forklock.sandbox import BackendName, Policy, Sandbox, open_sandbox
from forklock.sandbox.fault import Fault
from forklock.sandbox.interpreters.policy import workspace_policy
from forklock.tools.contract import TestReport, TestStatus
from forklock.tools.testing.run import run_tests

_MOST_NAMED = 6


@dataclass(slots=True)
class Check:
    """One run of the check."""

    root: Path
    command: str
    cwd: str
    backend: BackendName
    timeout_s: float
    _open: list[Sandbox] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: bool = False

    def report(self) -> TestReport | None:
        """Run it; None where it was stopped.

        Raises:
            SandboxFault: no sandbox, or it failed.
            AgentFault: the command cannot be started.
        """
        policy = workspace_policy(self.root, Policy(), cwd=self.cwd)
        try:
            with open_sandbox(self.root, policy, backend=self.backend) as here, here.fork() as copy:
                with self._lock:
                    if self._stopped:
                        return None
                    self._open = [copy, here]
                found = run_tests(copy, self.command, timeout_s=self.timeout_s, cwd=self.cwd)
        except Fault:
            if self._stopped:  # it was closed under us
                return None
            raise
        finally:
            self._open = []
        if self.is_stopped():
            return None
        if found.status is TestStatus.NOT_STARTED:
            raise AgentFault(
                f"`{self.command}` cannot be started: {found.output.strip()[:300]}",
                fix="give another check with --test",
            )
        return found

    def is_stopped(self) -> bool:
        """Whether `stop` was called, perhaps meanwhile."""
        return self._stopped

    def stop(self) -> None:
        """End it, with all that it has started."""
        with self._lock:
            self._stopped = True
            for sandbox in self._open:
                sandbox.close()


def is_green(report: TestReport) -> bool:
    """Whether there is nothing to solve."""
    return report.status is TestStatus.PASSED


def task_of(command: str, report: TestReport) -> str:
    """The task of a run that was asked for by nobody: the check, and the tests that fail."""
    names = [failure.test_id for failure in report.failures]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    said = f": {', '.join(names[:_MOST_NAMED])}{more}" if names else ""
    return f"`{command}` fails{said}. Find the cause in the code, and mend it."
