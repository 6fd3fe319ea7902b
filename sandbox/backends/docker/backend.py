"""The docker backend: one container per sandbox, started at the first command, which runs all commands.

In: commands. Out: results. The container has no network, a read-only root, a private /tmp, no capabilities,
the workspace owner's uid, and the workspace mounted with `.git` read-only. Inside, `supervisor.py` gives
each command a warden that kills everything the command started. A container after a timeout, out of memory
or a killed warden takes no further command. It is removed with the last command in it, and the next command gets a
new one.

Memory and processes are bounded per container: commands that run at once share them. Commands with
other limits of this kind get a container of their own. Not covered: engines on another machine, where
neither the workspace nor a socket can be mounted.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

from forklock.sandbox.backends.base import Backend, Command, Outcome, Problem, refuse
from forklock.sandbox.backends.docker.container import Bind, Container, ContainerGone, start_container
from forklock.sandbox.contract import Limits, Policy, SandboxFault
from forklock.sandbox.images import engine
from forklock.sandbox.images.engine import DEFAULT_IMAGE, has_image, sees_our_mounts
from forklock.sandbox.linux.limits import DiskWatcher, rlimits
from forklock.sandbox.linux.pump import Ended, Pump, Streams
from forklock.sandbox.linux.seccomp import filter_program
from forklock.sandbox.workspace.workspace import Workspace

_PATIENCE_S = 2.0
_MEMORY_EVENTS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
"""Files that count kills for memory, in version 2 and version 1 of control groups."""
_QUESTIONS = 3
"""How often a container is asked for its memory events, where what asks is killed."""
_KILLS = re.compile(rb"^oom_kill [1-9]", re.MULTILINE)
_FITS = """import os, sys
given = os.environ.get("VIRTUAL_ENV")
sys.exit(bool(given) and not os.path.isdir("%s/lib/python%d.%d" % (given, *sys.version_info[:2])))
"""
"""Tests whether an environment's packages are for the interpreter that its links lead to in the image."""
_Key = tuple[int, int, bool]
_runs: dict[tuple[str, str], bool] = {}
"""Whether the interpreter that a PATH begins with runs in an image. With another libc it does not."""


class DockerSandbox(Backend):
    """See the module."""

    backend = "docker"

    def __init__(self, workspace: Workspace, policy: Policy) -> None:
        refuse(engine.why_not())
        super().__init__(workspace, policy)
        self._containers: dict[_Key, Container] = {}
        """The containers that take commands."""
        self._users: dict[Container, int] = {}
        """The number of commands in each container."""

    @classmethod
    def problem(cls, image: str | None = None) -> Problem | None:
        problem = engine.why_not()
        name = image or DEFAULT_IMAGE
        if problem is None and not has_image(name):
            fix = f"`docker pull {image}`" if image else "`agent sandbox build`"
            return f"the engine answers, but the image {name} is missing", fix
        return problem

    @classmethod
    def note(cls) -> str:
        return f"image {DEFAULT_IMAGE}"

    @classmethod
    def opened(cls, workspace: Workspace, policy: Policy) -> Self:
        """Open it in the image that was built for the repo, if there is one and the policy names no other."""
        from forklock.sandbox.images.build import image_policy, repo_image

        image = repo_image(workspace.root) if policy.image is None and engine.why_not() is None else None
        return cls(workspace, image_policy(image, policy, workspace.workdir) if image else policy)

    def _run(self, command: Command) -> Outcome:
        try:
            return self._run_once(command)
        except ContainerGone:  # nothing was run: a new container takes the command
            return self._run_once(command)

    def _run_once(self, command: Command) -> Outcome:
        container = self._enter(command.limits)
        again = False
        try:
            policy = self._usable(container)
            answer, outcome = _run_in(container, command, policy, self._workspace.changes)
            again = bool(answer.get("clean")) and not outcome.done.timed_out and not answer.get("oom_kills")
            if not answer and not outcome.done.timed_out and not outcome.disk_full:
                outcome = replace(outcome, oom_killed=self._ran_out_of_memory(container))
        finally:
            self._leave(container, again)
        return outcome

    def _enter(self, limits: Limits) -> Container:
        key = (limits.memory_mb, limits.processes, _has_git(self._workspace))
        with self._lock:
            self._refuse_closed()
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
        """Return the policy, without a mounted interpreter on its PATH that does not run in this image."""
        path = self.policy.env.get("PATH", "")
        shown = (*self.policy.readable, Path(self.workdir))
        mounted = [p for p in path.split(":") if any(Path(p).is_relative_to(r) for r in shown)]
        if not mounted:
            return self.policy
        key = (self.policy.image or DEFAULT_IMAGE, path)
        if key not in _runs:
            trial = Command(("python", "-c", _FITS), {}, self.workdir, timeout_s=20.0)
            _runs[key] = _run_in(container, trial, self.policy)[1].result().ok
        if _runs[key]:
            return self.policy
        rest = ":".join(p for p in path.split(":") if p not in mounted)
        env = {k: v for k, v in self.policy.env.items() if k != "VIRTUAL_ENV"}
        return replace(self.policy, env={**env, "PATH": rest})

    def _ran_out_of_memory(self, container: Container) -> bool:
        """Look for a kill for memory, after a warden that left no report.

        tmpfs memory is freed slightly after the command exits, and the kernel may kill the warden for it.
        """
        for _ in range(_QUESTIONS):
            try:
                question = Command(("cat", *_MEMORY_EVENTS), {}, "/", timeout_s=5.0)
                answer, outcome = _run_in(container, question, self.policy)
            except SandboxFault:  # process 1 is gone as well
                break
            if outcome.oom_killed or _KILLS.search(outcome.done.stdout):
                return True
            if answer:
                return False
            time.sleep(0.1)  # killed as well: the memory of the first command is not free yet
        return container.oom_killed()

    def _leave(self, container: Container, again: bool) -> None:
        """Note that a command has ended. Unless the container is to be used `again`, it is removed with the last
        command that runs in it."""
        with self._lock:
            self._users[container] -= 1
            if not again:
                self._containers = {k: c for k, c in self._containers.items() if c is not container}
            if self._users[container] or container in self._containers.values():
                return
            del self._users[container]
        container.close()

    def _layers_are_visible(self) -> bool:
        return sees_our_mounts()

    def _stop(self) -> None:
        with self._lock:
            containers = list(self._users)
            self._containers.clear()
        for container in containers:
            container.close()


def _request(command: Command, policy: Policy) -> dict[str, object]:
    return {
        "argv": list(command.argv),
        "env": command.environment(policy),
        "cwd": command.workdir,
        "rlimits": rlimits(command.limits),
        "filter": filter_program().hex(),
    }


def _run_in(
    container: Container, command: Command, policy: Policy, changes: Path | None = None
) -> tuple[dict[str, object], Outcome]:
    """Run one command in `container`: the supervisor's report ({} if there was none) and the outcome."""
    streams = Streams()
    report_ours, report_theirs = os.pipe()
    leash_theirs, leash_ours = os.pipe()
    theirs = (*streams.theirs, report_theirs, leash_theirs)
    pump = Pump(streams.ours, os.dup(report_ours), command.stdin, command.limits.output_bytes)
    leash = _Leash(leash_ours, container)
    disk = DiskWatcher(changes, command.limits.disk_mb, leash.kill)

    def tick() -> None:
        leash.tick()
        disk.tick()

    try:
        try:
            container.send(_request(command, policy), theirs)
        finally:
            for fd in theirs:
                os.close(fd)
        timed_out = pump.serve(streams.made + command.timeout_s, leash.kill, tick)
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
    done = pump.finished(_ended(answer), timed_out=timed_out, since=streams.made)
    kills, code = answer.get("oom_kills"), os.waitstatus_to_exitcode(done.status)
    oom = isinstance(kills, int) and kills > 0 and code != 0
    return answer, Outcome(code, done, oom_killed=oom, disk_full=disk.over)


def _ended(answer: Mapping[str, object]) -> Ended:
    """What the warden reported. Without a report it was killed, by the command or with the container, and its tree
    with it."""
    status, cpu, rss = answer.get("status"), answer.get("cpu_s"), answer.get("max_rss_mb")
    return Ended(
        status if isinstance(status, int) else signal.SIGKILL,
        cpu if isinstance(cpu, float) else None,
        rss if isinstance(rss, float) else None,
    )


class _Leash:
    """Kills a command: first by closing its warden's pipe, then, since a command can stop its warden, by removing the
    whole container."""

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
