"""The tools of one rollout, by name.

In: a fork of the workspace, the task, its check, the language servers, and what the model's profile says of edits. Out:
a `ToolAnswer` for each call. What a model writes never raises; a fault of the sandbox does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from forklock.agent.contract import Task
from forklock.agent.driving.contract import EditProfile, ToolAnswer
from forklock.agent.judging.guard import Check, Guard
from forklock.models.calls.contract import Call, Tool
from forklock.sandbox import Sandbox
from forklock.tools.contract import TestReport

if TYPE_CHECKING:
    from forklock.tools.lsp import Intel


class Toolbox:
    """The tools, for one rollout."""

    tools: tuple[Tool, ...]
    """What the model is offered."""

    def __init__(
        self,
        workspace: Sandbox,
        task: Task,
        check: Check,
        intel: Intel | None,
        profile: EditProfile,
        *,
        guard: Guard | None,
        may_go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        """
        Args:
            workspace: the rollout's own fork. Its owner closes it.
            check: the task's check, and what it said of the untouched workspace.
            intel: the language servers of the base; a rollout opens its own like them. None: none are asked.
            guard: what judges the task, as the base has it. Rollouts share one. None: nothing judges yet, as in a
                project from nothing, and tests that the model writes are run with the check.
            may_go_on: whether budget is left, so that `finish` may be refused.
        """
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, call: Call) -> ToolAnswer:
        """Carry out a call. Never raises for what a model wrote.

        Raises:
            SandboxFault, ToolFault: the harness cannot go on.
        """
        raise NotImplementedError

    def judge(self, check: Check | None = None) -> TestReport | str:
        """Run a check (default: the task's), with new tests put aside. Return its report, or what was tampered with.

        Raises:
            SandboxFault: the sandbox failed.
        """
        raise NotImplementedError

    @property
    def own_tests(self) -> tuple[str, ...]:
        """Test files that the rollout made. They are part of its diff, and judge nothing."""
        raise NotImplementedError

    def diff(self) -> str:
        """Return the rollout's diff against the workspace as the run found it."""
        raise NotImplementedError

    def close(self) -> None:
        """Close what the tools opened: language servers, and forks of their own."""
        raise NotImplementedError
