"""The host backend runs commands without isolation, for a user who asks for it and trusts the repo.

It keeps the other backends' labels: argv only, a clean environment, rlimits, bounded output, and a timeout that kills
the command's session. It does not bound the network, the files, or the memory of a whole tree, and daemons can leave
the session. If our process is killed, the command is killed too; processes that it started are not.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import psutil

from forklock.sandbox.backends.base import Backend, Command, Outcome, Problem, refuse
from forklock.sandbox.contract import Policy
from forklock.sandbox.linux.limits import DiskWatcher, TreeWatcher, command_with_limits
from forklock.sandbox.linux.marked import Mark
from forklock.sandbox.linux.process import Running, start
from forklock.sandbox.workspace.workspace import Workspace


class HostSandbox(Backend):
    """See the module. Raises `SandboxFault` on opening where `prlimit` is not installed."""

    backend = "host"
    isolates: ClassVar[bool] = False

    def __init__(self, workspace: Workspace, policy: Policy) -> None:
        refuse(self.problem())
        super().__init__(workspace, policy)
        self._temporary = workspace.private / "tmp"
        self._temporary.mkdir()
        self._prlimit = shutil.which("prlimit") or "prlimit"
        original = Path(workspace.workdir)
        for name in workspace.environments if workspace.root != original else ():
            with contextlib.suppress(OSError):  # a package's own environment was copied with it
                (workspace.root / name).rmdir()
                (workspace.root / name).symlink_to(original / name)

    @classmethod
    def problem(cls, image: str | None = None) -> Problem | None:  # noqa: ARG003
        return None if shutil.which("prlimit") else ("prlimit is not installed", "install util-linux")

    @classmethod
    def note(cls) -> str:
        return "isolates nothing; used only with `--sandbox host`"

    @property
    def workdir(self) -> str:
        return str(self.root)

    def _run(self, command: Command) -> Outcome:
        limits, mark = command.limits, Mark("FORKLOCK_COMMAND")
        limited = command_with_limits(command.argv, limits, count=False, prlimit=self._prlimit)
        try:
            running = start(
                [*_ends_with_us(), *limited],
                env=mark.environment | self._environment(command),
                cwd=str(self.root / os.path.relpath(command.workdir, self._workspace.workdir)),
            )
        except OSError as error:
            if error.errno != errno.E2BIG:
                raise
            return Outcome.not_started(126, f"cannot start {command.argv[0]}: {error.strerror}\n")
        tree = _Tree(running, mark)
        watcher = TreeWatcher(running.pid, limits, tree.kill)
        disk = DiskWatcher(self._workspace.changes, limits.disk_mb, tree.kill)

        def tick() -> None:
            disk.tick()
            watcher.tick()

        with self._killable(tree.kill) as noted:
            try:
                done = running.wait(
                    stdin=command.stdin,
                    timeout_s=command.timeout_s,
                    keep=limits.output_bytes,
                    kill=tree.kill,
                    tick=tick,
                )
            finally:
                tree.kill()
        noted.refuse_cut_short(timed_out=done.timed_out)
        code = os.waitstatus_to_exitcode(done.status)
        oom, peak = watcher.verdict(done.max_rss_mb, failed=code != 0)
        return Outcome(code, replace(done, max_rss_mb=peak), oom_killed=oom, disk_full=disk.over)

    def _environment(self, command: Command) -> dict[str, str]:
        given = _with_users_programs(command.environment(self.policy))
        ours = {"HOME": str(self._temporary), "TMPDIR": str(self._temporary)}
        return ours | {name: value for name, value in given.items() if value != "/tmp"}  # noqa: S108


def _ends_with_us() -> list[str]:
    """Words before a command that make the kernel kill it when the thread that waits for it ends."""
    program = shutil.which("setpriv")
    return [program, "--pdeathsig", "KILL"] if program else []


def _with_users_programs(env: Mapping[str, str]) -> dict[str, str]:
    """Add the user's own PATH behind the policy's, without the programs of our own environment."""
    ours = Path(sys.prefix, "bin")
    theirs = [folder for folder in os.get_exec_path() if Path(folder).is_absolute() and Path(folder) != ours]
    return {**env, "PATH": ":".join(dict.fromkeys([*env["PATH"].split(":"), *theirs]))}


class _Tree:
    """The command's session and the descendants that left it.

    They are found by their parents, or by the mark in their environment. A process without both gets away.
    """

    def __init__(self, running: Running, mark: Mark) -> None:
        self._session = running.pid
        self._mark = mark

    def kill(self) -> None:
        victims: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            victims = psutil.Process(self._session).children(recursive=True)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._session, signal.SIGKILL)
        for victim in victims:
            with contextlib.suppress(psutil.Error):
                victim.kill()
        self._mark.end()
