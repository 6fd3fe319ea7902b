"""Before a model is loaded: a copy of the repository, and what the check says of it.

In: the task and its check. Out: a `Rehearsal`, or a refusal within seconds that leaves nothing behind.
"""

from __future__ import annotations

import shutil

from agent.commands import task_of
from agent.contract import AgentFault
from agent.judging.baseline import first_report, require_failing
from agent.repo import RepoState, copy_workspace, require_clean
from agent.session import Rehearsal, disk_faults, new_run_id, work_in
from agent.settings import AgentSettings
from models.paths import cache_dir


def rehearse(
    statement: str,
    state: RepoState,
    test_command: str,
    settings: AgentSettings,
    *,
    allow_dirty: bool,
    verified: bool = True,
    cwd: str = ".",
) -> Rehearsal:
    """Copy the repo and run the check on it. Nothing is logged, and a refusal leaves nothing behind.

    Args:
        cwd: the folder below the repo's top that the check runs in.

    Raises:
        AgentFault: dirty tree, unreadable repo, or a check that passes, does not start or can never pass.
        SandboxFault: no sandbox, or it failed.
    """
    if not allow_dirty:
        require_clean(state)
    run_id = new_run_id()
    scratch = cache_dir() / "runs" / run_id
    try:
        with disk_faults(scratch):
            copy_workspace(state.root, scratch / "base")
        if not (scratch / "base" / cwd).is_dir():
            raise AgentFault(
                f"{state.root / cwd} holds no file that git does not ignore, so the check cannot run there",
                fix="give the folder to run it in with --repo PATH",
            )
        task = task_of(statement, state.root, test_command, settings, scratch / "base", cwd)
        with work_in(task, settings.sandbox, scratch) as base:
            before = first_report(base, task, settings.test_timeout_s)
            require_failing(task, before, base, verified=verified)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return Rehearsal(run_id, task, scratch, before)
