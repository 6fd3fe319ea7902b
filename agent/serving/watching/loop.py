"""Watches a tree: files change, the check runs; where it fails, a run looks for a change, and proposes it.

In: a repository and its check. Out: what is printed. The user's files are never written: `agent apply` takes a
proposal. One thing works at a time. A further change of the user ends it, since it looks at a tree that is no more, and
starts anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forklock.agent.contract import AgentFault
from forklock.agent.log.view import check_in_words
from forklock.agent.serving import child
from forklock.agent.serving.watching.changes import State, bursts, changed_names, state_of
from forklock.agent.serving.watching.check import Check, is_green, task_of
from forklock.sandbox import BackendName
from forklock.sandbox.fault import Fault
from forklock.sandbox.terminal.console import Screen
from forklock.tools.contract import TestReport

_MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class Watched:
    """What is watched, and how."""

    root: Path
    command: str
    cwd: str
    """The folder that the check runs in, below `root`."""
    sandbox: BackendName
    timeout_s: float
    drop_copy: Callable[[str], None]
    """Removes the copy of a run, by its id."""
    task: str = ""
    """What the user says is wrong; "" takes the failing tests' names."""
    solve: tuple[str, ...] = ()
    """Further words for `agent solve`."""
    most_runs: int | None = None
    """Runs that are started, at most."""


def watch(watched: Watched, console: Screen) -> None:
    """Watch until SIGINT or SIGTERM comes, or `most_runs` runs have ended.

    Raises:
        KeyboardInterrupt: a signal came; nothing runs any more.
        AgentFault: the folder cannot be watched.
    """
    try:
        asyncio.run(_watch(watched, console))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _watch(watched: Watched, console: Screen) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await _Watch(watched, console).until_the_end()


@dataclass(slots=True)
class _Watch:
    watched: Watched
    console: Screen
    _burst: asyncio.Event = field(default_factory=asyncio.Event)
    _runs: int = 0
    _was_green: bool = False

    async def until_the_end(self) -> None:
        watched = self.watched
        self.console.print(f"watching  {watched.root}, check {watched.command}  (Ctrl-C ends)")
        ears = asyncio.create_task(self._listen())
        try:
            state = await asyncio.to_thread(state_of, watched.root)
            while True:
                state = await self._one(state, ears)
                if watched.most_runs is not None and self._runs >= watched.most_runs:
                    return
        finally:
            ears.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ears

    async def _listen(self) -> None:
        async for _ in bursts(self.watched.root):
            self._burst.set()

    async def _one(self, state: State, ears: asyncio.Task[None]) -> State:
        """Works on the tree as it is in `state`, until that is done and the tree is another. Returns the new state."""
        work = asyncio.create_task(self._work())
        try:
            while True:
                waits = [] if work.done() else [work]
                heard = asyncio.create_task(self._burst.wait())
                await asyncio.wait([*waits, heard, ears], return_when=asyncio.FIRST_COMPLETED)
                heard.cancel()
                if ears.done():
                    ears.result()  # raises what ended it
                    raise AgentFault(f"{self.watched.root} is not watched any more", fix="start again")
                if self._is_over(work):
                    return state
                if not self._burst.is_set():
                    continue
                self._burst.clear()
                now = await asyncio.to_thread(state_of, self.watched.root)
                names = changed_names(state, now)
                if names:
                    await self._tell_stale(work, names)
                    return now
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work

    def _is_over(self, work: asyncio.Task[None]) -> bool:
        """The last run that may be started has ended."""
        if not work.done():
            return False
        work.result()
        return self.watched.most_runs is not None and self._runs >= self.watched.most_runs

    async def _tell_stale(self, work: asyncio.Task[None], names: list[str]) -> None:
        some = ", ".join(names[:_MOST_NAMED]) + (" …" if len(names) > _MOST_NAMED else "")
        if not work.done():
            self.console.print(f"changed   {some}: what was going on is ended, and begins anew")
        elif not self._was_green:
            self.console.print(f"changed   {some}")

    # -- work on one state of the tree ------------------------------------------------------------------------

    async def _work(self) -> None:
        try:
            report = await self._check()
            if report is None:
                return
            if is_green(report):
                if not self._was_green:
                    self.console.print(f"green     {check_in_words(report)}", style="green")
                self._was_green = True
                return
            self._was_green = False
            self.console.print(f"red       {check_in_words(report)}", style="yellow")
            await self._solve(report)
        except Fault as fault:  # such as a file that is half written: the next change may mend it
            self.console.print(f"stopped   {fault.message}", style="red")
            if fault.fix:
                self.console.print(f"          {fault.fix}", style="dim")

    async def _check(self) -> TestReport | None:
        watched = self.watched
        check = Check(watched.root, watched.command, watched.cwd, watched.sandbox, watched.timeout_s)
        running = asyncio.create_task(asyncio.to_thread(check.report))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.to_thread(check.stop)
            with contextlib.suppress(Fault):
                await running
            raise

    async def _solve(self, report: TestReport) -> None:
        """One run. Its progress, its diff and its end are printed by `agent solve` itself, to stderr."""
        watched = self.watched
        run = ""

        async def take(line: str) -> None:
            nonlocal run
            run = run or _run_id(line)

        words = (
            "solve", "--repo", str(watched.root / watched.cwd), f"--test={watched.command}", "--allow-dirty",
            "--stream", "--issue", "-", *watched.solve,
        )  # fmt: skip
        task = json.dumps({"body": watched.task or task_of(watched.command, report)}).encode()
        try:
            await child.run(words, stdin=task, on_line=take, reads_stderr=False)
        except asyncio.CancelledError:
            if run:  # it would only be resumed on the tree that it began with
                watched.drop_copy(run)
            raise
        self._runs += 1


def _run_id(line: str) -> str:
    try:
        facts: Any = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    is_first = isinstance(facts, dict) and facts.get("type") == "run_started"
    return str(facts.get("run_id", "")) if is_first else ""
