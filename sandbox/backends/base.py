"""What all backends share: a command's way from its words to its result, and the end of a sandbox.

`Backend.exec` checks the words, puts the environment and the limits together, lets the backend run the command, and
turns the outcome into an `ExecResult`. A backend implements `problem` and `_run`, and `_stop` if it holds more than
its commands. docs/sandbox.md says how to add one.
"""

from __future__ import annotations

import contextlib
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

from forklock.sandbox.contract import ExecResult, Limits, Policy, Sandbox, SandboxFault, Talk
from forklock.sandbox.linux.limits import check_words, command_env
from forklock.sandbox.linux.pump import Finished
from forklock.sandbox.workspace.workspace import Workspace, use

_END_S = 5.0
"""Seconds that `close` waits for commands that it has killed."""

Problem = tuple[str, str]
"""What is wrong, and what the user can do about it."""


@dataclass(frozen=True, slots=True)
class Command:
    """One checked command, ready to run."""

    argv: tuple[str, ...]
    variables: Mapping[str, str]
    """The variables of this call, on top of the policy's."""
    workdir: str
    """The directory, as commands see it."""
    stdin: bytes | Talk = b""
    timeout_s: float = 60.0
    limits: Limits = field(default_factory=Limits)

    def environment(self, policy: Policy) -> dict[str, str]:
        """The whole environment under `policy`."""
        return command_env(policy, self.variables)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a backend reports about a command that has ended."""

    code: int
    """The exit code; -n if signal n ended the command."""
    done: Finished
    """Its output and what it used."""
    oom_killed: bool = False
    disk_full: bool = False

    @classmethod
    def not_started(cls, code: int, reason: str) -> Outcome:
        """The outcome of a command that the system refused to start."""
        return cls(code, Finished(0, False, b"", reason.encode(), False, 0.0, None, None))

    def result(self) -> ExecResult:
        done = self.done
        return ExecResult(
            exit_code=self.code if self.code >= 0 else None,
            signal=-self.code if self.code < 0 else None,
            timed_out=done.timed_out and not self.oom_killed,
            oom_killed=self.oom_killed,
            stdout=done.stdout,
            stderr=done.stderr,
            truncated=done.truncated,
            wall_s=done.wall_s,
            cpu_s=done.cpu_s,
            max_rss_mb=done.max_rss_mb,
            disk_full=self.disk_full,
        )


@dataclass(eq=False, slots=True)
class Running:
    """A command that runs now."""

    kill: Callable[[], None]
    thread: int
    """The thread that waits for it."""
    ended_by_close: bool = False

    def refuse_cut_short(self, *, timed_out: bool) -> None:
        """
        Raises:
            SandboxFault: `close` ended the command, which says nothing about the program.
        """
        if self.ended_by_close and not timed_out:
            raise SandboxFault("the sandbox was closed while the command ran", fix="open it again")


class Backend(Sandbox):
    """Base class of the backends. A subclass sets `backend`, its name in `forklock.sandbox.backends.open.BACKENDS`."""

    isolates: ClassVar[bool] = True
    """False keeps `auto` from taking this backend: the user has to name it."""

    def __init__(self, workspace: Workspace, policy: Policy) -> None:
        self._workspace = workspace
        self.root = workspace.root
        self.policy = policy
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)
        self._closed = False
        self._running: set[Running] = set()

    # --- what a backend implements --------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def problem(cls, image: str | None = None) -> Problem | None:
        """Return why no command can run here, or None. `image` is the policy's."""

    @classmethod
    def note(cls) -> str:
        """Return what `agent sandbox status` says of the backend where it works."""
        return ""

    @classmethod
    def opened(cls, workspace: Workspace, policy: Policy) -> Self:
        """Open a workspace that is no fork. A backend may adapt the policy to the repo here."""
        return cls(workspace, policy)

    @abstractmethod
    def _run(self, command: Command) -> Outcome:
        """Run `command` and everything that it starts to the end.

        Raises:
            SandboxFault: the sandbox failed, not the command.
        """

    def _stop(self) -> None:
        """Release what the backend holds beside its commands. Called once, after the commands were killed."""

    def _layers_are_visible(self) -> bool:
        """Whether commands see a fork that is a mount."""
        return True

    # --- what is the same for all ---------------------------------------------------------------------

    @property
    def workdir(self) -> str:
        return self._workspace.workdir

    def exec(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | Talk = b"",
        env: Mapping[str, str] | None = None,
        cwd: str = ".",
        timeout_s: float | None = None,
        limits: Limits | None = None,
    ) -> ExecResult:
        check_words(argv, command_env(self.policy, env))
        limits = limits or self.policy.limits
        self._refuse_closed()
        command = Command(
            argv=tuple(argv),
            variables=dict(env or {}),
            workdir=self._workspace.resolve(cwd),
            stdin=stdin,
            timeout_s=limits.wall_s if timeout_s is None else timeout_s,
            limits=limits,
        )
        return self._run(command).result()

    def fork(self) -> Self:
        fork = self._workspace.fork(layered=self._layers_are_visible())
        return use(fork, lambda workspace: type(self)(workspace, self.policy))

    def diff(self) -> str:
        return self._workspace.diff()

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            running = list(self._running)
            for one in running:
                one.ended_by_close = True
        for one in running:
            one.kill()
        self._stop()
        us = threading.get_ident()
        with self._ended:  # no killed command may write into what is being removed
            self._ended.wait_for(lambda: not {one.thread for one in self._running} - {us}, timeout=_END_S)
        self._workspace.close()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise SandboxFault("the sandbox is closed", fix="open it again")

    @contextlib.contextmanager
    def _killable(self, kill: Callable[[], None]) -> Iterator[Running]:
        """Let `close` end the command of this block by `kill`; end it at once if the sandbox is closed already."""
        running = Running(kill, threading.get_ident())
        with self._ended:
            self._running.add(running)
            running.ended_by_close = self._closed
        if running.ended_by_close:
            kill()
        try:
            yield running
        finally:
            with self._ended:
                self._running.discard(running)
                self._ended.notify_all()


def refuse(problem: Problem | None) -> None:
    """
    Raises:
        SandboxFault: there is a problem.
    """
    if problem:
        raise SandboxFault(problem[0], fix=problem[1])
