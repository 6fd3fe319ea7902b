"""The tools of one rollout, by name.

In: a fork of the workspace, the task, its check, the language servers, and what the model's profile says of edits. Out:
a `ToolAnswer` for each call. What a model writes never raises; a fault of the sandbox does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from forklock.agent.contract import Task
from forklock.agent.driving.contract import EditProfile, ToolAnswer
from forklock.agent.driving.tools import checking
from forklock.agent.driving.tools.context import Context
from forklock.agent.driving.tools.edit import edit
from forklock.agent.driving.tools.excerpts import clip_middle
from forklock.agent.driving.tools.find import TOOL as FIND
from forklock.agent.driving.tools.find import find
from forklock.agent.driving.tools.finish import TOOL as FINISH
from forklock.agent.driving.tools.finish import finish
from forklock.agent.driving.tools.forms import edit_tool
from forklock.agent.driving.tools.read import TOOL as READ
from forklock.agent.driving.tools.read import read
from forklock.agent.driving.tools.run import TOOL as RUN
from forklock.agent.driving.tools.run import run
from forklock.agent.judging.guard import Check, Guard
from forklock.models.calls.contract import Call, Tool
from forklock.sandbox import Sandbox
from forklock.sandbox.terminal.safe_text import printable
from forklock.tools.contract import TestReport

if TYPE_CHECKING:
    from forklock.tools.lsp import Intel

MAX_ARGUMENT = 1_000_000
"""Most characters of one argument."""
MAX_ANSWER = 24_000
"""Most characters of one answer: a whole file and why it is shown. Most are cut far below."""


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
        self.tools = (READ, FIND, edit_tool(profile.edit), RUN, FINISH)
        if guard is not None and guard.frozen.nothing:
            guard = None
        self._context = Context(workspace, task, check, profile.edit, guard, intel, may_go_on)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, call: Call) -> ToolAnswer:
        """Carry out a call. Never raises for what a model wrote.

        Raises:
            SandboxFault, ToolFault: the harness cannot go on.
        """
        answer = self._run(call)
        finished = None if answer.finished is None else printable(answer.finished)
        return replace(answer, text=printable(clip_middle(answer.text, MAX_ANSWER)), finished=finished)

    def _run(self, call: Call) -> ToolAnswer:
        carry_out = _TOOLS.get(call.name)
        if carry_out is None:
            known = ", ".join(_TOOLS)
            return ToolAnswer(f"There is no tool {call.name[:80]!r}. The tools are: {known}.", "refused")
        if any(isinstance(value, str) and len(value) > MAX_ARGUMENT for value in call.arguments.values()):
            return ToolAnswer(
                f"An argument has more than {MAX_ARGUMENT:,} characters: write less at once.", "refused"
            )
        given = _Given(call.arguments)
        try:
            return carry_out(self._context, given)
        except UnicodeEncodeError:
            return ToolAnswer("The arguments hold a character that no file can have.", "refused")

    def judge(self, check: Check | None = None) -> TestReport | str:
        """Run a check (default: the task's), with new tests put aside. Return its report, or what was tampered with.

        Raises:
            SandboxFault: the sandbox failed.
        """
        return checking.judge(self._context, check)

    @property
    def own_tests(self) -> tuple[str, ...]:
        """Test files that the rollout made. They are part of its diff, and judge nothing."""
        return checking.own_tests(self._context)

    def diff(self) -> str:
        """Return the rollout's diff against the workspace as the run found it."""
        return self._context.workspace.diff()

    def close(self) -> None:
        """Close what the tools opened: language servers, and forks of their own."""
        self._context.close()


class _Given:
    """The arguments of a call, read leniently."""

    def __init__(self, arguments: Mapping[str, str | int | bool]) -> None:
        self.all = arguments

    def text(self, name: str) -> str:
        value = self.all.get(name, "")
        return value if isinstance(value, str) else str(value)

    def number(self, name: str) -> int:
        """Return an integer; 0 where there is none. Of a range such as `10-20`, the first."""
        found = re.match(r"\s*(\d{1,9})", str(self.all.get(name, "")))
        return int(found[1]) if found else 0


def _read(context: Context, given: _Given) -> ToolAnswer:
    path = context.path(given.text("path"))
    return read(context, path, given.text("symbol"), given.number("start"), given.number("end"))


def _find(context: Context, given: _Given) -> ToolAnswer:
    return find(context, given.text("query"), given.text("kind"))


def _edit(context: Context, given: _Given) -> ToolAnswer:
    return edit(context, context.path(given.text("path")), given.all)


def _run(context: Context, given: _Given) -> ToolAnswer:
    return run(context, given.text("command"))


def _finish(context: Context, given: _Given) -> ToolAnswer:
    return finish(context, given.text("summary"))


_TOOLS: dict[str, Callable[[Context, _Given], ToolAnswer]] = {
    "read": _read,
    "find": _find,
    "edit": _edit,
    "run": _run,
    "finish": _finish,
}
