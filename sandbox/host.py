"""The host backend: no isolation at all, for a user who says so and trusts the repo.

In: commands. Out: results, with the same labels as the other backends. Kept: argv only, a clean
environment, the rlimits, bounded output, a time-out that kills the command's session. Not kept: network,
files, memory of a whole tree, and daemons that leave the session. Where we are killed, the command is killed with us;
processes that it started are not.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from sandbox.contract import ExecResult, Limits, Policy, Sandbox, SandboxFault, Talk
from sandbox.linux.limits import DiskWatcher, TreeWatcher, check_words, command_env, command_with_limits
from sandbox.linux.orphans import end_marked
from sandbox.linux.process import Running, start
from sandbox.workspace.workspace import Workspace, use

_MARK = "FORKLOCK_COMMAND"
_END_S = 5.0
"""Seconds that `close` waits for commands that it has killed."""


class HostSandbox(Sandbox):
    """See the module."""

    backend = "host"

    def __init__(self, workspace: Workspace, policy: Policy) -> None:
        self._workspace = workspace
        self.root = workspace.root
        self.policy = policy
        self._closed = False
        self._running: dict[_Tree, int] = {}
        """Commands that run, each with the thread that waits for it."""
        self._ended = threading.Condition()
        self._temporary = workspace.private / "tmp"
        self._temporary.mkdir()
        self._prlimit = shutil.which("prlimit")
        if self._prlimit is None:
            raise SandboxFault("prlimit is not installed", fix="install util-linux")
        original = Path(workspace.workdir)
        for name in workspace.environments if workspace.root != original else ():
            with contextlib.suppress(OSError):  # a package's own was copied with it
                (workspace.root / name).rmdir()
                (workspace.root / name).symlink_to(original / name)

    @property
    def workdir(self) -> str:
        return str(self.root)

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
        env = _with_users_programs(command_env(self.policy, env))
        check_words(argv, env)
        if self._closed:
            raise SandboxFault("the sandbox is closed", fix="open it again")
        assert self._prlimit
        limits = limits or self.policy.limits
        mark = secrets.token_hex(8)
        place = self.root / os.path.relpath(self._workspace.resolve(cwd), self._workspace.workdir)
        try:
            running = start(
                [*_ends_with_us(), *command_with_limits(argv, limits, count=False, prlimit=self._prlimit)],
                env={_MARK: mark, "HOME": str(self._temporary), "TMPDIR": str(self._temporary)}
                | {k: v for k, v in env.items() if v != "/tmp"},  # noqa: S108
                cwd=str(place),
            )
        except OSError as error:
            if error.errno != errno.E2BIG:
                raise
            told = f"cannot start {argv[0]}: {error.strerror}\n".encode()
            return ExecResult(126, None, False, False, b"", told, False, 0.0, None, None)
        tree = _Tree(running, mark)
        watcher = TreeWatcher(running.pid, limits, tree.kill)
        disk = DiskWatcher(self._workspace.changes, limits.disk_mb, tree.kill)

        def tick() -> None:
            disk.tick()
            watcher.tick()

        try:
            self._note(tree)
            done = running.wait(
                stdin=stdin,
                timeout_s=limits.wall_s if timeout_s is None else timeout_s,
                keep=limits.output_bytes,
                kill=tree.kill,
                tick=tick,
            )
        finally:
            tree.kill()
            with self._ended:
                del self._running[tree]
                self._ended.notify_all()
        if tree.closed and not done.timed_out:
            raise SandboxFault("the sandbox was closed while the command ran", fix="open it again")
        code = os.waitstatus_to_exitcode(done.status)
        oom, peak = watcher.verdict(done.max_rss_mb, failed=code != 0)
        return ExecResult(
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            timed_out=done.timed_out and not oom,
            oom_killed=oom,
            stdout=done.stdout,
            stderr=done.stderr,
            truncated=done.truncated,
            wall_s=done.wall_s,
            cpu_s=done.cpu_s,
            max_rss_mb=peak,
            disk_full=disk.over,
        )

    def fork(self) -> HostSandbox:
        return use(self._workspace.fork(), lambda fork: HostSandbox(fork, self.policy))

    def diff(self) -> str:
        return self._workspace.diff()

    def _note(self, tree: _Tree) -> None:
        """`close` ends the command from now on; where it came first, at once."""
        with self._ended:
            self._running[tree] = threading.get_ident()
            tree.closed = self._closed
        if tree.closed:
            tree.kill()

    def close(self) -> None:
        us = threading.get_ident()
        with self._ended:
            if self._closed:
                return
            self._closed = True
            trees = list(self._running)
            for tree in trees:
                tree.closed = True
        for tree in trees:
            tree.kill()
        with self._ended:
            self._ended.wait_for(lambda: not set(self._running.values()) - {us}, timeout=_END_S)
        self._workspace.close()


def _ends_with_us() -> list[str]:
    """Words before a command by which the kernel kills it when the thread that waits for it is gone."""
    program = shutil.which("setpriv")
    return [program, "--pdeathsig", "KILL"] if program else []


def _with_users_programs(env: Mapping[str, str]) -> dict[str, str]:
    """The user's own PATH behind the policy's, without the programs of the environment that we live in."""
    ours = Path(sys.prefix, "bin")
    theirs = [folder for folder in os.get_exec_path() if Path(folder).is_absolute() and Path(folder) != ours]
    return {**env, "PATH": ":".join(dict.fromkeys([*env["PATH"].split(":"), *theirs]))}


class _Tree:
    """The command's session, and descendants that left it: found by their parents, or by a mark in the
    environment that they inherited. One that takes off both gets away."""

    def __init__(self, running: Running, mark: str) -> None:
        self.closed = False
        """It was ended because its sandbox was closed."""
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
        end_marked(_MARK, self._mark)
