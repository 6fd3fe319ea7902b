"""The bubblewrap backend: one namespace set per command, made ahead where several commands are run.

In: commands. Out: results. Each command gets its own user, pid, mount, network, ipc, uts and cgroup
namespaces, an empty read-only root with `/usr` and a handful of `/etc` files in it, private `/proc`, `/dev`
and `/tmp`, the workspace at its own path and no capabilities. Its end is the end of its pid namespace, so
nothing survives it. Limits: control groups where writable, else rlimits and a watcher (`limits.py`).

Not covered: how much all files of a workspace that is no layer may grow together, and kernel bugs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from sandbox.bubblewrap.inside import SHELL, Inside, Place
from sandbox.bubblewrap.view import git_read_only, uid_inside, view
from sandbox.contract import ExecResult, Limits, Policy, Sandbox, SandboxFault, Talk
from sandbox.linux.limits import DiskWatcher, TreeWatcher, check_words, command_env, write_accounts
from sandbox.linux.process import Finished
from sandbox.workspace.workspace import Workspace, use

_SEVERAL = 2
_END_S = 5.0
"""Seconds that `close` waits for commands that it has killed."""


class BubblewrapSandbox(Sandbox):
    """See the module. Raises `SandboxFault` on opening when bubblewrap cannot run here."""

    backend = "bubblewrap"

    def __init__(self, workspace: Workspace, policy: Policy) -> None:
        problem = why_not()
        if problem:
            raise SandboxFault(problem[0], fix=problem[1])
        self._workspace = workspace
        self.root = workspace.root
        self.policy = policy
        self._closed = False
        self._lock = threading.Lock()
        self._running: dict[Inside, int] = {}
        """Commands that run, each with the thread that waits for it."""
        self._ended = threading.Condition(self._lock)
        self._waiting: Inside | None = None
        self._commands = 0
        self._owner = owner_of(workspace.root)
        self._view = view(workspace, policy, self._owner)
        write_accounts(workspace.private, uid_inside(), uid_inside())

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
        env = command_env(self.policy, env)
        check_words(argv, env)
        if self._closed:
            raise SandboxFault("the sandbox is closed", fix="open it again")
        limits = limits or self.policy.limits
        workdir = self._workspace.resolve(cwd)
        place = Place.now([*self._view, *git_read_only(self._workspace)], limits, self._owner)
        inside = self._begin(place, argv, env, workdir)
        try:
            self._note(inside)
            result = self._serve(inside, stdin, limits.wall_s if timeout_s is None else timeout_s)
        finally:
            inside.remove()
            with self._lock:
                del self._running[inside]
                self._ended.notify_all()
            self._make_next(place)
        if inside.tree.killed and not result.timed_out and self._is_closed():
            raise SandboxFault("the sandbox was closed while the command ran", fix="open it again")
        return result

    def _is_closed(self) -> bool:
        with self._lock:
            return self._closed

    def _note(self, inside: Inside) -> None:
        """`close` ends the command from now on; where it came first, at once."""
        with self._lock:
            self._running[inside] = threading.get_ident()
            if self._closed:
                inside.tree.kill()

    def _begin(self, place: Place, argv: Sequence[str], env: Mapping[str, str], workdir: str) -> Inside:
        """Start the command; once more, where what should have started it was killed before it did."""
        for take in (self._take, Inside):
            inside = take(place)
            try:
                if inside.begin(argv, env, workdir):
                    return inside
            except BaseException:
                inside.remove()
                raise
            inside.remove()
        raise SandboxFault(
            "what starts commands was killed twice before it had started this one",
            fix="see what kills processes here (too little memory? `dmesg` tells), then try again",
        )

    def _serve(self, inside: Inside, stdin: bytes | Talk, timeout_s: float) -> ExecResult:
        tree, limits = inside.tree, inside.place.limits
        watcher = None if inside.group else TreeWatcher(tree.init, limits, tree.kill)
        disk = DiskWatcher(self._workspace.changes, limits.disk_mb, tree.kill)

        def tick() -> None:
            disk.tick()
            if watcher:
                watcher.tick()

        done = inside.running.wait(
            stdin=stdin,
            timeout_s=timeout_s,
            keep=limits.output_bytes,
            kill=tree.kill,
            tick=tick if watcher or self._workspace.changes else None,
        )
        return replace(_result(done, inside, watcher), disk_full=disk.over)

    def _take(self, place: Place) -> Inside:
        """One that was made ahead, where it fits; else a new one."""
        with self._lock:
            waiting, self._waiting = self._waiting, None
        if waiting and waiting.fits(place):
            return waiting
        if waiting:
            _throw_away(waiting)
        return Inside(place)

    def _make_next(self, place: Place) -> None:
        """Make one ahead, where more commands can be expected: the second one makes a third likely, while many forks
        live for one alone."""
        with self._lock:
            self._commands += 1
            if self._closed or self._waiting or self._commands < _SEVERAL:
                return
            with contextlib.suppress(SandboxFault, OSError):  # the next command tells
                self._waiting = Inside(place)

    def fork(self) -> BubblewrapSandbox:
        return use(self._workspace.fork(), lambda fork: BubblewrapSandbox(fork, self.policy))

    def diff(self) -> str:
        return self._workspace.diff()

    def close(self) -> None:
        with self._lock:
            closed, self._closed = self._closed, True
            waiting, self._waiting = self._waiting, None
            for inside in self._running:
                inside.tree.kill()
        if waiting:
            _throw_away(waiting)
        if not closed:
            self._await_commands()
            self._workspace.close()

    def _await_commands(self) -> None:
        """Until the killed commands are gone, so that none writes into what is being removed."""
        us = threading.get_ident()
        with self._ended:
            self._ended.wait_for(lambda: not set(self._running.values()) - {us}, timeout=_END_S)


def _throw_away(waiting: Inside) -> None:
    waiting.discard()
    waiting.remove()


def _result(done: Finished, inside: Inside, watcher: TreeWatcher | None) -> ExecResult:
    group, exit_code = inside.group, inside.exit_code()
    if exit_code is None and not inside.tree.killed:
        reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise SandboxFault(
            f"bubblewrap could not set up the sandbox: {reason or 'no reason given'}",
            fix="see `agent sandbox status`; is a directory of the policy's `readable` gone?",
        )
    code = -signal.SIGKILL if exit_code is None else exit_code
    failed = code != 0
    if group:
        oom, peak = failed and group.oom_killed(), group.peak_mb()
    else:
        assert watcher is not None
        oom, peak = watcher.verdict(done.max_rss_mb, failed=failed)
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
    )


def owner_of(root: Path) -> tuple[int, int] | None:
    """Whom commands become, if not ourselves: for a root caller the workspace's owner, so that files stay theirs."""
    found = root.stat()
    return (found.st_uid, found.st_gid) if os.geteuid() == 0 and found.st_uid != 0 else None


@lru_cache(maxsize=1)
def why_not() -> tuple[str, str] | None:
    """None when bubblewrap works here; else what is wrong and the fix. Tried for real, once."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed", "`sudo apt install bubblewrap` (or dnf, pacman)"
    if not os.access(SHELL, os.X_OK):
        return f"there is no {SHELL}, which starts commands in it", "`sudo apt install bash` (or dnf, apk)"
    trial = [
        "bwrap", "--unshare-user", "--unshare-pid", "--unshare-net", "--ro-bind", "/", "/", "--proc", "/proc",
        "--", "true",
    ]  # fmt: skip
    try:
        done = subprocess.run(trial, capture_output=True, timeout=10, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap does not run: {error}", "reinstall it"
    if done.returncode == 0:
        return None
    reason = done.stderr.decode(errors="replace").strip()
    return f"bubblewrap may not make namespaces here: {reason}", _namespace_fix()


def _namespace_fix() -> str:
    """The kernel setting that stands in the way, by name."""
    settings = {
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": (
            "1",
            "AppArmor forbids user namespaces (Ubuntu 23.10 and later): install a profile that allows "
            "/usr/bin/bwrap, or `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`",
        ),
        "/proc/sys/kernel/unprivileged_userns_clone": (
            "0",
            "`sudo sysctl kernel.unprivileged_userns_clone=1`",
        ),
        "/proc/sys/user/max_user_namespaces": ("0", "`sudo sysctl user.max_user_namespaces=15000`"),
    }
    for path, (bad, fix) in settings.items():
        with contextlib.suppress(OSError):
            if Path(path).read_text().strip() == bad:
                return fix
    return "in a container, run it with user namespaces allowed (e.g. `--security-opt seccomp=unconfined`)"
