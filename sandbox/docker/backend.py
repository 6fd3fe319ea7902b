"""The docker backend: one container per sandbox, started at the first command, that takes many.

In: commands. Out: results. The container has no network, a read-only root, a private /tmp, no capabilities,
the workspace owner's uid, and the workspace mounted with `.git` read-only. Inside, `supervisor.py` gives
each command a warden that kills everything the command started. A container that was soiled (time-out,
out of memory, a killed warden) takes no further command, is thrown away with the last one in it, and the next
command gets a new one.

Memory and processes are bounded per container: commands that run at once share them. Commands with
other limits of this kind get a container of their own. Not covered: engines on another machine, where
neither the workspace nor a socket can be mounted.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sandbox.contract import ExecResult, Limits, Policy, Sandbox, SandboxFault, Talk
from sandbox.docker.engine import (
    DEFAULT_IMAGE,
    Bind,
    Container,
    ContainerGone,
    sees_our_mounts,
    start_container,
    why_not,
)
from sandbox.linux.limits import DiskWatcher, check_words, command_env, rlimits
from sandbox.linux.process import Pump, Streams
from sandbox.linux.seccomp import filter_program
from sandbox.workspace.workspace import Workspace, use

_PATIENCE_S = 2.0
_MEMORY_EVENTS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
"""By version 2 and 1 of control groups."""
_KILLS = re.compile(rb"^oom_kill [1-9]", re.MULTILINE)
_FITS = """import os, sys
given = os.environ.get("VIRTUAL_ENV")
sys.exit(bool(given) and not os.path.isdir("%s/lib/python%d.%d" % (given, *sys.version_info[:2])))
"""
"""Whether an environment's packages are for the interpreter that its links lead to in the image."""
_Key = tuple[int, int, bool]
_runs: dict[tuple[str, str], bool] = {}
"""Whether the interpreter that a PATH begins with runs in an image: another libc, and it does not."""


class DockerSandbox(Sandbox):
    """See the module."""

    backend = "docker"

    def __init__(self, workspace: Workspace, policy: Policy) -> None:
        problem = why_not()
        if problem:
            raise SandboxFault(problem[0], fix=problem[1])
        self._workspace = workspace
        self.root = workspace.root
        self.policy = policy
        self._containers: dict[_Key, Container] = {}
        """Those that take commands."""
        self._users: dict[Container, int] = {}
        """How many commands are in each one that is there."""
        self._lock = threading.Lock()
        self._closed = False

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
        inside = self._workspace.resolve(cwd)
        timeout_s = limits.wall_s if timeout_s is None else timeout_s
        try:
            return self._exec(argv, stdin, env, inside, timeout_s, limits)
        except ContainerGone:  # nothing was run: a new one takes it
            return self._exec(argv, stdin, env, inside, timeout_s, limits)

    def _exec(
        self,
        argv: Sequence[str],
        stdin: bytes | Talk,
        env: Mapping[str, str] | None,
        inside: str,
        timeout_s: float,
        limits: Limits,
    ) -> ExecResult:
        container = self._enter(limits)
        again = False
        try:
            policy = self._usable(container)
            request = _request(argv, command_env(policy, env), inside, limits)
            answer, result = _run(container, request, stdin, limits, timeout_s, self._workspace.changes)
            again = bool(answer.get("clean")) and not result.timed_out and not answer.get("oom_kills")
            if not answer and not result.timed_out and not result.disk_full:
                result = replace(result, oom_killed=self._ran_out_of_memory(container))
        finally:
            self._leave(container, again)
        return result

    def _enter(self, limits: Limits) -> Container:
        key = (limits.memory_mb, limits.processes, _has_git(self._workspace))
        with self._lock:
            if self._closed:
                raise SandboxFault("the sandbox is closed", fix="open it again")
            found = self._containers.get(key)
            if found is None:
                owner = self.root.stat()
                found = self._containers[key] = start_container(
                    image=self.policy.image or DEFAULT_IMAGE,
                    user=(owner.st_uid, owner.st_gid),
                    binds=_binds(self._workspace, self.policy),
                    limits=limits,
                    network=self.policy.network,
                    parent=self._workspace.parent,
                )
            self._users[found] = self._users.get(found, 0) + 1
            return found

    def _usable(self, container: Container) -> Policy:
        """The policy, without the mounted interpreter on its PATH if that does not run in this image."""
        path = self.policy.env.get("PATH", "")
        shown = (*self.policy.readable, Path(self.workdir))
        mounted = [p for p in path.split(":") if any(Path(p).is_relative_to(r) for r in shown)]
        if not mounted:
            return self.policy
        key = (self.policy.image or DEFAULT_IMAGE, path)
        if key not in _runs:
            trial = _request(["python", "-c", _FITS], command_env(self.policy, None), self.workdir, Limits())
            _runs[key] = _run(container, trial, b"", Limits(), 20.0)[1].ok
        if _runs[key]:
            return self.policy
        rest = ":".join(p for p in path.split(":") if p not in mounted)
        env = {k: v for k, v in self.policy.env.items() if k != "VIRTUAL_ENV"}
        return replace(self.policy, env={**env, "PATH": rest})

    def _ran_out_of_memory(self, container: Container) -> bool:
        """Asked where a warden left no report: memory that is no process's, such as a file in memory, outlives the
        command by an instant, and then the kernel takes what watched over it, too."""
        question = _request(["cat", *_MEMORY_EVENTS], command_env(self.policy, None), "/", Limits())
        try:
            _, told = _run(container, question, b"", Limits(), 5.0)
        except SandboxFault:  # process 1 is gone as well
            return container.oom_killed()
        return told.oom_killed or _KILLS.search(told.stdout) is not None

    def _leave(self, container: Container, again: bool) -> None:
        """A command has ended. Unless the container is to be used `again`, it is thrown away, though not under others
        that run in it."""
        with self._lock:
            self._users[container] -= 1
            if not again:
                self._containers = {k: c for k, c in self._containers.items() if c is not container}
            if self._users[container] or container in self._containers.values():
                return
            del self._users[container]
        container.close()

    def fork(self) -> DockerSandbox:
        fork = self._workspace.fork(layered=sees_our_mounts())
        return use(fork, lambda workspace: DockerSandbox(workspace, self.policy))

    def diff(self) -> str:
        return self._workspace.diff()

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            containers = list(self._users)
            self._containers.clear()
        for container in containers:
            container.close()
        self._workspace.close()


def _request(argv: Sequence[str], env: Mapping[str, str], cwd: str, limits: Limits) -> dict[str, object]:
    return {
        "argv": list(argv),
        "env": dict(env),
        "cwd": cwd,
        "rlimits": rlimits(limits),
        "filter": filter_program().hex(),
    }


def _run(
    container: Container,
    request: Mapping[str, object],
    stdin: bytes | Talk,
    limits: Limits,
    timeout_s: float,
    changes: Path | None = None,
) -> tuple[dict[str, object], ExecResult]:
    """One command in `container`: the supervisor's report ({} when there was none) and the result."""
    streams = Streams()
    report_ours, report_theirs = os.pipe()
    leash_theirs, leash_ours = os.pipe()
    theirs = (*streams.theirs, report_theirs, leash_theirs)
    pump = Pump(streams.ours, os.dup(report_ours), stdin, limits.output_bytes)
    leash = _Leash(leash_ours, container)
    disk = DiskWatcher(changes, limits.disk_mb, leash.kill)

    def tick() -> None:
        leash.tick()
        disk.tick()

    try:
        try:
            container.send(request, theirs)
        finally:
            for fd in theirs:
                os.close(fd)
        timed_out = pump.serve(streams.made + timeout_s, leash.kill, tick)
        answer: dict[str, object] = json.loads(os.read(report_ours, 1 << 16) or b"{}")
    finally:
        leash.close()
        pump.close()
        os.close(report_ours)
    if not answer and container.closed and not leash.gave_up:
        raise SandboxFault(
            "the container was removed while the command ran",
            fix="run it again, or alone: what ran beside it stopped its warden",
        )
    result = _result(answer, pump, timed_out=timed_out, wall_s=time.monotonic() - streams.made)
    return answer, replace(result, disk_full=disk.over)


def _result(answer: Mapping[str, object], pump: Pump, *, timed_out: bool, wall_s: float) -> ExecResult:
    # No report: the warden was killed, by the command or with the container. Its tree dies too.
    status = answer.get("status")
    code = os.waitstatus_to_exitcode(status) if isinstance(status, int) else -9
    kills, cpu, rss = answer.get("oom_kills"), answer.get("cpu_s"), answer.get("max_rss_mb")
    oom = isinstance(kills, int) and kills > 0 and code != 0
    return ExecResult(
        exit_code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        timed_out=timed_out and not oom,
        oom_killed=oom,
        stdout=pump.out.value(),
        stderr=pump.err.value(),
        truncated=pump.out.truncated or pump.err.truncated,
        wall_s=wall_s,
        cpu_s=cpu if isinstance(cpu, float) else None,
        max_rss_mb=rss if isinstance(rss, float) else None,
    )


class _Leash:
    """Kills a command: first by letting go of its warden's pipe, then, as a command can stop its warden, with the whole
    container."""

    def __init__(self, fd: int, container: Container) -> None:
        self._fd: int | None = fd
        self._container = container
        self._patience = 0.0
        self.gave_up = False

    def kill(self) -> None:
        self.close()
        self._patience = time.monotonic() + _PATIENCE_S

    def tick(self) -> None:
        if self._patience and time.monotonic() > self._patience:
            self._patience = 0.0
            self.gave_up = True
            self._container.close()

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _has_git(workspace: Workspace) -> bool:
    git = workspace.root / ".git"
    return git.exists() and not git.is_symlink()


def _binds(workspace: Workspace, policy: Policy) -> list[Bind]:
    binds = []
    for path in policy.readable:
        real = path.resolve()
        binds += [Bind(real, place) for place in dict.fromkeys([str(path.absolute()), str(real)])]
    for place in dict.fromkeys([str(workspace.root), workspace.workdir]):
        binds.append(Bind(workspace.root, place, writable=True))
        binds += [Bind(Path(workspace.workdir, name), f"{place}/{name}") for name in workspace.environments]
        if _has_git(workspace):
            binds.append(Bind(Path(workspace.root / ".git"), f"{place}/.git"))
    if workspace.is_copy and workspace.objects:
        binds.append(Bind(workspace.origin / ".git" / "objects", str(workspace.objects)))
    return list({bind.target: bind for bind in binds}.values())
