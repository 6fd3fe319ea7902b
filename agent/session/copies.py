"""The copy of the repository that a run works on, in the user's cache folder.

The copy itself stays as it was, so that a killed run can be resumed: work happens in a fork of it.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from forklock.agent.contract import AgentFault, Task
from forklock.agent.repo import copy_workspace
from forklock.models.paths import cache_dir
from forklock.sandbox import BackendName, Policy, Sandbox, open_sandbox
from forklock.sandbox.interpreters.policy import workspace_policy


def new_run_id() -> str:
    """A unique id. Ids sort by time."""
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(3)


def scratch_of(run_id: str) -> Path:
    """Folder for a run's copy, `base`, and its forks."""
    return cache_dir() / "runs" / run_id


def make_copy(root: Path, scratch: Path) -> None:
    """Copies the user's tree to `scratch/base`.

    Raises:
        AgentFault: something cannot be read, or there is no room.
    """
    with disk_faults(scratch):
        copy_workspace(root, scratch / "base")


@contextlib.contextmanager
def work_in(task: Task, backend: BackendName, scratch: Path) -> Iterator[Sandbox]:
    """Opens a sandbox on a fork of the copy."""
    policy = workspace_policy(task.repo, Policy(), cwd=task.cwd)
    with (
        open_sandbox(scratch / "base", policy, backend=backend, shown_at=task.repo) as pristine,
        pristine.fork() as work,
    ):
        yield work


@contextlib.contextmanager
def disk_faults(folder: Path) -> Iterator[None]:
    """Raises `AgentFault` with what to do where a file cannot be written."""
    try:
        yield
    except OSError as error:
        raise AgentFault(
            f"cannot write the run's files near {error.filename or folder}: {error.strerror}",
            fix="free some disk space, or put caches elsewhere with FORKLOCK_HOME",
        ) from error
