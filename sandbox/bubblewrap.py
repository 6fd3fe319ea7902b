"""The bubblewrap backend: one namespace set per command, a few milliseconds each.

In: commands. Out: results. Each command gets its own user, pid, mount, network, ipc, uts and cgroup
namespaces, an empty read-only root with `/usr` and a handful of `/etc` files in it, private `/proc`, `/dev`
and `/tmp`, the workspace at its own path and no capabilities. Its end is the end of its pid namespace, so
nothing survives it. Limits: control groups where writable, else rlimits and a watcher (`limits.py`).

Not covered: how much all files of a workspace that is no layer may grow together, and kernel bugs.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from sandbox.accounted import start_accounted
from sandbox.bubblewrap_view import environment, git_read_only, uid_inside, view
from sandbox.cgroups import Group, make_group
from sandbox.contract import ExecResult, Limits, Policy, Sandbox, SandboxFault, Talk
from sandbox.limits import (
    DiskWatcher,
    MemoryWatcher,
    command_env,
    command_with_limits,
    rlimits,
    write_accounts,
)
from sandbox.process import Finished
from sandbox.seccomp import filter_descriptor
from sandbox.workspace import Workspace, use

# Process 1 of the namespace. It outlives the command by an instant, so that a signal that the command
# sends itself has its default effect, and what it says about the command's death goes nowhere.
_INIT = 'exec 3>&2 2>/dev/null; (exec "$@" 2>&3 3>&-); exit $?'


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
        if not argv:
            raise ValueError("argv is empty")
        if self._closed:
            raise SandboxFault("the sandbox is closed", fix="open it again")
        limits = limits or self.policy.limits
        around = 3  # bubblewrap, and two shells
        group = make_group(memory_mb=limits.memory_mb, processes=limits.processes + around)
        try:
            return self._run(
                [
                    *self._view,
                    *git_read_only(self._workspace),
                    *environment(command_env(self.policy, env)),
                    "--chdir",
                    self._workspace.resolve(cwd),
                ],
                argv,
                group,
                stdin,
                limits,
                limits.wall_s if timeout_s is None else timeout_s,
            )
        finally:
            if group:
                group.remove()

    def _run(
        self,
        view: list[str],
        argv: Sequence[str],
        group: Group | None,
        stdin: bytes | Talk,
        limits: Limits,
        timeout_s: float,
    ) -> ExecResult:
        with _Channel() as channel:
            if group is None:
                argv = command_with_limits(argv, limits)
            running = start_accounted(
                [bwrap_program(), *view, *channel.options, "--", "/bin/sh", "-c", _INIT, "sh", *argv],
                env={"PATH": os.defpath},
                pass_fds=channel.theirs,
                owner=self._owner,
                enter=group.doors() if group else (),
                rlimits=rlimits(limits) if group else None,
            )
            tree = _Tree(channel.first_process())
            watcher = None if group else MemoryWatcher(tree.init, limits.memory_mb, tree.kill)
            disk = DiskWatcher(self._workspace.changes, limits.disk_mb, tree.kill)

            def tick() -> None:
                disk.tick()
                if watcher:
                    watcher.tick()

            done = running.wait(
                stdin=stdin,
                timeout_s=timeout_s,
                keep=limits.output_bytes,
                kill=tree.kill,
                tick=tick if watcher or self._workspace.changes else None,
            )
            result = _result(done, tree, channel.exit_code(), group, watcher)
            return replace(result, disk_full=disk.over)

    def fork(self) -> BubblewrapSandbox:
        return use(self._workspace.fork(), lambda fork: BubblewrapSandbox(fork, self.policy))

    def diff(self) -> str:
        return self._workspace.diff()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._workspace.close()


def bwrap_program() -> str:
    """Its path, if it is there."""
    return shutil.which("bwrap") or "bwrap"


def _result(
    done: Finished, tree: _Tree, exit_code: int | None, group: Group | None, watcher: MemoryWatcher | None
) -> ExecResult:
    if exit_code is None and not tree.killed:
        reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise SandboxFault(
            f"bubblewrap could not set up the sandbox: {reason or 'no reason given'}",
            fix="see `agent sandbox status`; is a directory of the policy's `readable` gone?",
        )
    code = 128 + signal.SIGKILL if exit_code is None else exit_code
    failed = code != 0
    if group:
        oom, peak = group.oom_killed(), group.peak_mb()
    else:
        assert watcher is not None
        oom, peak = watcher.verdict(done.max_rss_mb, failed=failed)
    # A shell's convention is all that crosses the namespace: 128+n means signal n.
    by_signal = code - 128 if 128 < code <= 128 + signal.NSIG else None
    return ExecResult(
        exit_code=None if by_signal else code,
        signal=by_signal,
        timed_out=done.timed_out and not oom,
        oom_killed=oom,
        stdout=done.stdout,
        stderr=done.stderr,
        truncated=done.truncated,
        wall_s=done.wall_s,
        cpu_s=done.cpu_s,
        max_rss_mb=peak,
    )


class _Channel:
    """bubblewrap's status pipe, and the system-call filter.

    The command never sees them: bubblewrap closes them before it starts it.
    """

    def __init__(self) -> None:
        self._status, status_theirs = os.pipe()
        self.theirs = [status_theirs]
        self.options = ["--json-status-fd", str(status_theirs)]
        filter_ = filter_descriptor()
        if filter_ is not None:
            self.theirs.append(filter_)
            self.options += ["--seccomp", str(filter_)]
        self._text = b""

    def __enter__(self) -> _Channel:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_theirs()
        os.close(self._status)

    def _close_theirs(self) -> None:
        while self.theirs:
            os.close(self.theirs.pop())

    def first_process(self) -> int | None:
        """Host id of the namespace's process 1; None when bubblewrap failed before it."""
        self._close_theirs()
        while b"\n" not in self._text:
            data = os.read(self._status, 4096)
            if not data:
                return None
            self._text += data
        pid: int | None = json.loads(self._text.split(b"\n")[0]).get("child-pid")
        return pid

    def exit_code(self) -> int | None:
        """As bubblewrap reports it, to be asked when the processes are gone; None when the command was never
        started, or all was killed."""
        while data := os.read(self._status, 4096):
            self._text += data
        said = {
            key: value for line in self._text.split(b"\n") if line for key, value in json.loads(line).items()
        }
        code: int | None = said.get("exit-code")
        return code


class _Tree:
    """The processes of one command, as seen from outside."""

    def __init__(self, init: int | None) -> None:
        """`init`: host id of process 1."""
        self.killed = False
        self.init = init
        self._handle: int | None = None
        if init is not None:
            with contextlib.suppress(ProcessLookupError):
                self._handle = os.pidfd_open(init)

    def kill(self) -> None:
        """Kill process 1 of the namespace: the kernel kills all others before it reports its end."""
        self.killed = True
        if self._handle is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def __del__(self) -> None:
        if self._handle is not None:
            os.close(self._handle)


def owner_of(root: Path) -> tuple[int, int] | None:
    """Whom commands become, if not ourselves: for a root caller the workspace's owner, so that files stay theirs."""
    found = root.stat()
    return (found.st_uid, found.st_gid) if os.geteuid() == 0 and found.st_uid != 0 else None


@lru_cache(maxsize=1)
def why_not() -> tuple[str, str] | None:
    """None when bubblewrap works here; else what is wrong and the fix. Tried for real, once."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed", "`sudo apt install bubblewrap` (or dnf, pacman)"
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
