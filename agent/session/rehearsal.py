"""The rehearsal of a run: its check runs on a copy of the repository, before a model is loaded.

A check that cannot serve is refused within seconds, and leaves nothing behind.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from forklock.agent.contract import AgentFault, Task
from forklock.agent.driving.new_project import with_first_files
from forklock.agent.judging.baseline import first_report, require_failing
from forklock.agent.repo import require_clean
from forklock.agent.reproduction import require_writable
from forklock.agent.session.assignment import Assignment
from forklock.agent.session.copies import make_copy, new_run_id, scratch_of, work_in
from forklock.sandbox import Sandbox
from forklock.tools.contract import TestReport, TestStatus


@dataclass(slots=True)
class Rehearsal:
    """A copy of the repository whose check was run, and fails as it should."""

    run_id: str
    task: Task
    scratch: Path
    before: TestReport | None
    """None where the run writes its check itself and nothing was run."""
    writes_tests: bool = False
    begun: bool = False

    @property
    def report(self) -> TestReport:
        """The check's report, of a rehearsal that ran it."""
        assert self.before is not None
        return self.before

    def discard_unless_begun(self) -> None:
        """Removes the copy, if no run has begun with it."""
        if not self.begun:
            shutil.rmtree(self.scratch, ignore_errors=True)


def rehearse(assignment: Assignment, tell: Callable[[str], None] = lambda _line: None) -> Rehearsal:
    """Copies the repository and runs the check on it. Nothing is logged, and a refusal leaves nothing behind.

    Args:
        tell: called with what takes long.

    Raises:
        AgentFault: dirty tree, unreadable repo, or a check that passes, does not start or can never pass.
        SandboxFault: no sandbox, or it failed.
    """
    state, settings, cwd = assignment.state, assignment.settings, assignment.cwd
    if not assignment.allow_dirty:
        require_clean(state)
    run_id = new_run_id()
    scratch = scratch_of(run_id)
    try:
        make_copy(state.root, scratch)
        if not (scratch / "base" / cwd).is_dir():
            raise AgentFault(
                f"{state.root / cwd} holds no file that git does not ignore, so the check cannot run there",
                fix="give the folder to run it in with --repo PATH",
            )
        task = assignment.task(scratch / "base")
        task = with_first_files(task, scratch / "base", settings.sandbox, tell)
        with work_in(task, settings.sandbox, scratch) as base:
            return _rehearsed(assignment, Rehearsal(run_id, task, scratch, None), base)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _rehearsed(assignment: Assignment, rehearsal: Rehearsal, base: Sandbox) -> Rehearsal:
    """Runs the check where there is one, and finds out whether tests have to be written and can be.

    Raises:
        AgentFault: the check cannot serve, or no tests can be written.
    """
    task, wish, timeout_s = rehearsal.task, assignment.write_test, assignment.settings.test_timeout_s
    if task.test_command and wish in ("never", "auto"):
        rehearsal.before = first_report(base, task, timeout_s)
        serves = rehearsal.before.status is not TestStatus.PASSED and not _is_hopeless(task, rehearsal, base)
        if wish == "never" or serves:
            require_failing(task, rehearsal.before, base, verified=assignment.verified)
            rehearsal.task = replace(assignment.task(base.root, checked=True), first_files=task.first_files)
            return rehearsal
    require_writable(base, task, timeout_s)
    rehearsal.writes_tests = True
    return rehearsal


def _is_hopeless(task: Task, rehearsal: Rehearsal, base: Sandbox) -> bool:
    """Whether the repository's own suite, which nobody asked for, cannot serve as the check."""
    try:
        require_failing(task, rehearsal.report, base, verified=True)
    except AgentFault:
        return True
    return False
