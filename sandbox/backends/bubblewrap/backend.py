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
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from forklock.sandbox.backends.base import Backend, Command, Outcome, Problem, refuse
from forklock.sandbox.backends.bubblewrap.inside import SHELL, Inside, Place
from forklock.sandbox.backends.bubblewrap.view import git_read_only, uid_inside, view
from forklock.sandbox.contract import Policy, SandboxFault
from forklock.sandbox.linux.cgroups import writable_parents
from forklock.sandbox.linux.limits import DiskWatcher, TreeWatcher, write_accounts
from forklock.sandbox.workspace.workspace import Workspace

_SEVERAL = 2
"""From this many commands on, the next one's name spaces are made ahead."""


class BubblewrapSandbox(Backend):
    """See the module. Raises `SandboxFault` on opening when bubblewrap cannot run here."""

    backend = "bubblewrap"

    def __init__(self, workspace: Workspace, policy: Policy) -> None:
        refuse(why_not())
        super().__init__(workspace, policy)
        self._waiting: Inside | None = None
        self._commands = 0
        self._owner = owner_of(workspace.root)
        self._view = view(workspace, policy, self._owner)
        write_accounts(workspace.private, uid_inside(), uid_inside())

    @classmethod
    def problem(cls, image: str | None = None) -> Problem | None:  # noqa: ARG003
        return why_not()

    @classmethod
    def note(cls) -> str:
        parents = writable_parents()
        if parents:
            return f"memory and processes bounded by control groups (v{parents.version})"
        return "memory bounded per process and watched; no control group can be made (see docs/sandbox.md)"

    def _run(self, command: Command) -> Outcome:
        place = Place.now([*self._view, *git_read_only(self._workspace)], command.limits, self._owner)
        inside = self._begin(place, command)
        try:
            with self._killable(inside.tree.kill) as running:
                try:
                    outcome = self._serve(inside, command)
                finally:
                    inside.remove()
        finally:
            self._make_next(place)
        running.refuse_cut_short(timed_out=outcome.done.timed_out)
        return outcome

    def _begin(self, place: Place, command: Command) -> Inside:
        """Start the command; once more, if what should have started it was killed before it did."""
        for take in (self._take, Inside):
            inside = take(place)
            try:
                if inside.begin(command.argv, command.environment(self.policy), command.workdir):
                    return inside
            except BaseException:
                inside.remove()
                raise
            inside.remove()
        raise SandboxFault(
            "what starts commands was killed twice before it had started this one",
            fix="see what kills processes here (too little memory? `dmesg` tells), then try again",
        )

    def _serve(self, inside: Inside, command: Command) -> Outcome:
        tree, limits = inside.tree, command.limits
        watcher = None if inside.group else TreeWatcher(tree.init, limits, tree.kill)
        disk = DiskWatcher(self._workspace.changes, limits.disk_mb, tree.kill)

        def tick() -> None:
            disk.tick()
            if watcher:
                watcher.tick()

        done = inside.running.wait(
            stdin=command.stdin,
            timeout_s=command.timeout_s,
            keep=limits.output_bytes,
            kill=tree.kill,
            tick=tick if watcher or self._workspace.changes else None,
        )
        code = _code_of(inside, done.stderr)
        if inside.group:
            oom, peak = code != 0 and inside.group.oom_killed(), inside.group.peak_mb()
        else:
            assert watcher is not None
            oom, peak = watcher.verdict(done.max_rss_mb, failed=code != 0)
        return Outcome(code, replace(done, max_rss_mb=peak), oom_killed=oom, disk_full=disk.over)

    def _take(self, place: Place) -> Inside:
        """Return the one that was made ahead if it fits, else a new one."""
        with self._lock:
            waiting, self._waiting = self._waiting, None
        if waiting and waiting.fits(place):
            return waiting
        if waiting:
            _throw_away(waiting)
        return Inside(place)

    def _make_next(self, place: Place) -> None:
        """Make one ahead where more commands can be expected.

        The second command makes a third likely, while many forks live for one command alone.
        """
        with self._lock:
            self._commands += 1
            if self._closed or self._waiting or self._commands < _SEVERAL:
                return
            with contextlib.suppress(SandboxFault, OSError):  # the next command reports the fault
                self._waiting = Inside(place)

    def _stop(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, None
        if waiting:
            _throw_away(waiting)


def _throw_away(waiting: Inside) -> None:
    waiting.discard()
    waiting.remove()


def _code_of(inside: Inside, stderr: bytes) -> int:
    """The command's exit code, -n for signal n.

    Raises:
        SandboxFault: bubblewrap failed before the command.
    """
    code = inside.exit_code()
    if code is not None:
        return code
    if inside.tree.killed:
        return -signal.SIGKILL
    reason = stderr.decode(errors="replace").strip().rpartition("\n")[2]
    raise SandboxFault(
        f"bubblewrap could not set up the sandbox: {reason or 'no reason given'}",
        fix="see `agent sandbox status`; is a directory of the policy's `readable` gone?",
    )


def owner_of(root: Path) -> tuple[int, int] | None:
    """User and group of commands when we run as root: the workspace's owner. None: commands run as we do."""
    found = root.stat()
    return (found.st_uid, found.st_gid) if os.geteuid() == 0 and found.st_uid != 0 else None


@lru_cache(maxsize=1)
def why_not() -> Problem | None:
    """Return None if bubblewrap works here, else the problem. It is tried for real, once per process."""
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
    """Advice that names the kernel setting which forbids namespaces."""
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
