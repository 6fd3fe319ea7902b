"""The rehearsal of a run: its check runs on a copy of the repository, before a model is loaded.

A check that cannot serve is refused within seconds, and leaves nothing behind.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from forklock.agent.contract import AgentFault, Task
from forklock.agent.judging.baseline import first_report, require_failing
from forklock.agent.repo import require_clean
from forklock.agent.session.assignment import Assignment
from forklock.agent.session.copies import make_copy, new_run_id, scratch_of, work_in
from forklock.tools.contract import TestReport


@dataclass(slots=True)
class Rehearsal:
    """A copy of the repository whose check was run, and fails as it should."""

    run_id: str
    task: Task
    scratch: Path
    before: TestReport
    begun: bool = False

    def discard_unless_begun(self) -> None:
        """Removes the copy, if no run has begun with it."""
        if not self.begun:
            shutil.rmtree(self.scratch, ignore_errors=True)


def rehearse(assignment: Assignment) -> Rehearsal:
    """Copies the repository and runs the check on it. Nothing is logged, and a refusal leaves nothing behind.

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
        with work_in(task, settings.sandbox, scratch) as base:
            before = first_report(base, task, settings.test_timeout_s)
            require_failing(task, before, base, verified=assignment.verified)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return Rehearsal(run_id, task, scratch, before)
