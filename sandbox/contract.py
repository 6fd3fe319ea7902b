"""The interface of a sandbox: what it is asked to do, what it returns, and how it fails.

Two kinds of failure are kept apart. A failure of the *program* (exit code, signal, timeout, out of memory) is data
in an `ExecResult`, and may be shown to a model. A failure of the *infrastructure* raises `SandboxFault`: the user or
the operator must act on it, and it says nothing about the program.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from forklock.sandbox.fault import Fault


class SandboxFault(Fault):
    """The sandbox failed, not the program in it. `fix` says what the user can do next."""


class SandboxUnavailable(SandboxFault):
    """No backend can run on this machine."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one command and everything that it starts."""

    wall_s: float = 60.0
    """Seconds of wall-clock time; then the whole process tree inside is killed."""
    cpu_s: float | None = None
    """Seconds of CPU time per process; None leaves it to the wall clock."""
    memory_mb: int = 2048
    """MiB of memory for the command's process tree where cgroups allow it, per process elsewhere."""
    processes: int = 256
    """Processes and threads alive at once."""
    output_bytes: int = 1_000_000
    """Bytes kept of stdout and of stderr, each: the first and the last half; the middle is dropped."""
    file_mb: int = 256
    """MiB that one file may grow to."""
    disk_mb: int = 4096
    """MiB that all changes in a fork may take on disk together, checked twice a second. It applies to forks that are
    layers (see docs/sandbox.md); what is opened in place, and copies, are bounded by `file_mb` alone."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a sandbox may see and do. The default grants the workspace, and nothing else that is private."""

    network: bool = False
    readable: tuple[Path, ...] = ()
    """Host directories mounted read-only at their own paths (an interpreter, a virtual environment)."""
    env: Mapping[str, str] = field(default_factory=dict)
    """The whole environment of each command, on top of a minimal PATH, HOME, LANG and TMPDIR. The
    caller's own environment is never inherited."""
    limits: Limits = Limits()
    image: str | None = None
    """Docker only: the image to run; None takes the default image."""


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What happened to one command."""

    exit_code: int | None
    """The program's own exit code; None when a signal ended it."""
    signal: int | None
    """The signal that ended it, by number."""
    timed_out: bool
    oom_killed: bool
    stdout: bytes
    stderr: bytes
    truncated: bool
    """True when stdout or stderr lost its middle."""
    wall_s: float
    cpu_s: float | None
    """User plus system seconds of the tree; None if the backend cannot measure them."""
    max_rss_mb: float | None
    """Largest resident set of a single process, MiB; None if the backend cannot measure it."""
    disk_full: bool = False
    """True when it was killed because the workspace's changes outgrew `Limits.disk_mb`."""

    @property
    def ok(self) -> bool:
        return self.exit_code == 0 and not self.timed_out and not self.oom_killed


class Talk(Protocol):
    """The other end of a command's stdin and stdout, for a dialogue while the command runs."""

    deadline: float
    """The command times out at this moment (monotonic clock), unless the value has changed by then."""

    def answer(self, said: bytes) -> bytes | None:
        """Return what to write to the command's stdin next. It is called with `b""` at the start, then with each piece
        of stdout as it comes. `b""` writes nothing for now; None closes stdin for good."""


class Sandbox(ABC):
    """A place with one writable directory, `root`, in which commands run under a policy.

    `root` is a host path, so that edits and language servers work on the files directly; commands see
    the same files at `workdir` (the same path unless a backend says otherwise). `exec` may be called
    from several threads at once.
    """

    backend: str
    root: Path
    policy: Policy

    @property
    @abstractmethod
    def workdir(self) -> str:
        """The path at which commands see `root`."""

    @abstractmethod
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
        """Run `argv` (never a shell string) in `cwd`, relative to the workspace, and wait for its end.

        `stdin` is everything that it reads, or a `Talk`, which is called in this thread; what that raises ends the
        command.

        `timeout_s` overrides `limits.wall_s`, and `limits` the policy's. A program that cannot be
        started (not found, not executable) is data: exit code 127 or 126 with the reason on stderr.

        Raises:
            SandboxFault: the sandbox itself failed.
            ValueError: `cwd` leaves the workspace, or `argv` is empty.
        """

    @abstractmethod
    def fork(self) -> Sandbox:
        """Return a new sandbox under the same policy, on a private copy of the workspace as it is now."""

    @abstractmethod
    def diff(self) -> str:
        """Return a unified git diff (`a/`, `b/` prefixes, binary files included) of the workspace against its state
        when the sandbox was opened; for a fork, when the sandbox that it descends from was opened. Ignored files are
        left out."""

    @abstractmethod
    def close(self) -> None:
        """Kill what still runs and remove what this sandbox made (a fork's copy, but never the opened
        workspace). Idempotent; never raises on a second call."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
