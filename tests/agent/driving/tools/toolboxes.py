"""A toolbox on a fork of a small repository, in a real sandbox, as a rollout has it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from forklock.agent.contract import Task
from forklock.agent.driving.contract import ToolAnswer
from forklock.agent.driving.toolbox import Toolbox
from forklock.agent.judging.guard import Check, Guard
from forklock.models.calls import Call
from forklock.models.families.profile import EditFormat
from forklock.sandbox import Policy, Sandbox, open_sandbox, workspace_policy
from forklock.tools.testing.run import run_tests


@dataclass(frozen=True)
class Profile:
    """What a toolbox reads of a model's profile."""

    edit: EditFormat = "search-replace"


@dataclass(frozen=True)
class Ground:
    """A repository whose check was run once, for many rollouts."""

    repo: Path
    base: Sandbox
    check: Check
    guard: Guard

    @contextlib.contextmanager
    def rollout(
        self,
        *,
        form: EditFormat = "search-replace",
        check: Check | None = None,
        guarded: bool = True,
        may_go_on: Callable[[], bool] = lambda: True,
        servers: bool = False,
    ) -> Iterator[Box]:
        """Open the tools on a fork of their own. `servers`: with language servers."""
        from forklock.agent.session.execution import open_servers

        task = Task("Sum all prices.", self.repo, self.check.command)
        with (
            open_servers(self.repo, self.base.root, wanted=servers) as intel,
            self.base.fork() as fork,
            Toolbox(
                fork, task, check or self.check, intel, Profile(form),
                guard=self.guard if guarded else None, may_go_on=may_go_on,
            ) as box,
        ):  # fmt: skip
            yield Box(box, fork)


@dataclass(frozen=True)
class Box:
    """A toolbox with short words for its calls."""

    box: Toolbox
    fork: Sandbox

    def __call__(self, tool: str, **arguments: str | int | bool) -> ToolAnswer:
        return self.box.run(Call(tool, arguments))

    def text(self, path: str) -> str:
        return (self.fork.root / path).read_text()


@contextlib.contextmanager
def ground(repo: Path, command: str) -> Iterator[Ground]:
    """Open a repository and run its check once."""
    with open_sandbox(repo, workspace_policy(repo, Policy()), backend="bubblewrap") as base:
        with base.fork() as fork:
            before = run_tests(fork, command)
        quick = replace(before, wall_s=0.1)  # however busy this machine is
        check = Check(command, quick, 60.0)
        yield Ground(repo, base, check, Guard.of(base, [check]))
