"""Refuses a task that no tests can be written for, before a model is loaded."""

from __future__ import annotations

from forklock.agent.contract import AgentFault, Task
from forklock.agent.reproduction.places import find_site, named_places
from forklock.sandbox import Sandbox
from forklock.tools.contract import TestStatus
from forklock.tools.testing.run import run_tests


def require_writable(base: Sandbox, task: Task, timeout_s: float) -> None:
    """
    Raises:
        AgentFault: the statement leads to nothing, its language has no way, or the runner is not there.
    """
    suite = task.test_command or task.regression_command
    form = find_site(base.root, named_places(base.root, task.statement), suite or None, task.cwd).form
    with base.fork() as fork:
        probe = run_tests(fork, [*form.plain_command, *form.probe], timeout_s=timeout_s, cwd=task.cwd)
    if probe.status is TestStatus.NOT_STARTED:
        raise AgentFault(
            f"no check was given, and tests are written for {form.runner}, which cannot be started here: "
            f"{probe.output.strip()[-200:]}",
            fix=f"install {form.runner} into the repository's environment, or give the check with --test CMD",
        )
