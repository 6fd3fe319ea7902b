"""Makes control groups, which limit the memory and the processes of a whole process tree.

In: limits. Out: a `Group` that a process can enter, that reports whether the kernel killed for memory, and that can be
killed as a whole. v1 and v2 are recognised by their mounts. If neither is writable, `make_group` returns None, and the
backend falls back to rlimits and a watcher.

v2 is used if we may write to an ancestor of our own group that passes memory and pids on to its children:
root on a systemd machine, a user under `systemd-run --user`, a terminal started by the desktop session.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from forklock.sandbox.linux.private import start_ticks

_PREFIX = "forklock-"
_counter = itertools.count()


@dataclass(frozen=True, slots=True)
class Parents:
    """The directories in which groups can be made. On v2 the two are the same."""

    version: int
    memory: Path
    pids: Path


@dataclass(frozen=True, slots=True)
class Group:
    version: int
    memory: Path
    pids: Path

    def doors(self) -> list[str]:
        """Files that a process of one thread writes `0` to, to enter. To move another process costs 5 ms and more:
        the kernel waits until no process forks or ends. v1's `tasks` spares one's own move that; v2 does not."""
        name = "cgroup.procs" if self.version == 2 else "tasks"
        return sorted({str(folder / name) for folder in (self.memory, self.pids)})

    def oom_killed(self) -> bool:
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        return _fields(self.memory / name).get("oom_kill", 0) > 0

    def peak_mb(self) -> float | None:
        """Peak memory of the tree, page cache of its files included; MiB."""
        name = "memory.peak" if self.version == 2 else "memory.max_usage_in_bytes"
        try:
            return int((self.memory / name).read_text()) / 2**20
        except (OSError, ValueError):  # v2 before Linux 5.19
            return None

    def members(self) -> list[int]:
        try:
            return [int(line) for line in (self.pids / "cgroup.procs").read_text().split()]
        except OSError:
            return []

    def remove(self) -> None:
        """Kill what is left and remove the group. Never raises; a group that stays is reaped later."""
        for attempt in range(50):
            for pid in self.members():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if _rmdir(self.memory) and (self.pids == self.memory or _rmdir(self.pids)):
                return
            time.sleep(0.001 * (attempt + 1))


def make_group(*, memory_mb: int, processes: int) -> Group | None:
    """Make a group with these limits; return None if no control group can be made."""
    parents = writable_parents()
    if parents is None:
        return None
    name = f"{_PREFIX}{_ours()}-{next(_counter)}"
    group = Group(parents.version, parents.memory / name, parents.pids / name)
    try:
        for folder in {group.memory, group.pids}:
            folder.mkdir()
        _limit(group, memory_mb * 2**20, processes)
    except OSError:
        group.remove()
        return None
    return group


def _limit(group: Group, memory: int, processes: int) -> None:
    (group.pids / "pids.max").write_text(str(processes))
    if group.version == 2:
        (group.memory / "memory.max").write_text(str(memory))
        with contextlib.suppress(OSError):  # no swap accounting
            (group.memory / "memory.swap.max").write_text("0")
        with contextlib.suppress(OSError):
            (group.memory / "memory.oom.group").write_text("1")
    else:
        (group.memory / "memory.limit_in_bytes").write_text(str(memory))
        with contextlib.suppress(OSError):
            (group.memory / "memory.memsw.limit_in_bytes").write_text(str(memory))


@lru_cache(maxsize=1)
def writable_parents() -> Parents | None:
    """Return where groups can be made. It is tried for real, once per process."""
    parents = find_parents(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())
    if parents is None:
        return None
    _reap_orphans(parents)
    probe = f"{_PREFIX}{_ours()}-probe"
    group = Group(parents.version, parents.memory / probe, parents.pids / probe)
    try:
        for folder in {group.memory, group.pids}:
            folder.mkdir()
        _limit(group, 2**30, 64)
    except OSError:
        return None
    finally:
        group.remove()
    return parents


def find_parents(mountinfo: str, own: str) -> Parents | None:
    """Read the kernel's tables: v1 with memory and pids if mounted, else v2. Writes nothing."""
    mounts = _mounts(mountinfo)
    paths = {line.split(":")[1]: line.split(":", 2)[2] for line in own.splitlines() if line.count(":") >= 2}
    v1 = {
        name: _within(mounts[name], paths[name])
        for name in ("memory", "pids")
        if name in mounts and name in paths
    }
    if len(v1) == 2 and all(os.access(folder, os.W_OK) for folder in v1.values()):
        return Parents(1, v1["memory"], v1["pids"])
    if "" in mounts and "" in paths:
        folder = _delegated(mounts[""][1], _within(mounts[""], paths[""]))
        if folder is not None:
            return Parents(2, folder, folder)
    return None


def _mounts(mountinfo: str) -> dict[str, tuple[str, Path]]:
    """Controller name ("" for v2) to (root of the mount, mount point)."""
    found: dict[str, tuple[str, Path]] = {}
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ")[:3]
        root, point = left.split(" ")[3:5]
        if kind == "cgroup2":
            found[""] = (root, Path(point))
        elif kind == "cgroup":
            found |= {name: (root, Path(point)) for name in options.split(",") if name in ("memory", "pids")}
    return found


def _within(mount: tuple[str, Path], own: str) -> Path:
    root, point = mount
    inside = own.removeprefix(root) if root != "/" and own.startswith(root) else own
    folder = point / inside.lstrip("/")
    return folder if folder.is_dir() else point


def _delegated(top: Path, own: Path) -> Path | None:
    """Return the nearest group at or above `own` that we may write to and that passes memory and pids on."""
    for folder in (own, *own.parents):
        handed = folder / "cgroup.subtree_control"
        writable = os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK)
        if writable and handed.exists() and {"memory", "pids"} <= set(handed.read_text().split()):
            return folder
        if folder == top:
            return None
    return None


def _reap_orphans(parents: Parents) -> None:
    """Remove groups whose maker is dead (killed before it could clean up). Makers in other name spaces of process ids
    may live."""
    for folder in {parents.memory, parents.pids}:
        for orphan in folder.glob(f"{_PREFIX}*"):
            pid, ticks, space, *_ = [*orphan.name.removeprefix(_PREFIX).split("-"), "", ""]
            if pid.isdigit() and space == _pid_space() and start_ticks(int(pid)) != ticks:
                Group(parents.version, orphan, orphan).remove()


def _ours() -> str:
    """Names this process: pid, start, name space of its pid."""
    return f"{os.getpid()}-{start_ticks(os.getpid())}-{_pid_space()}"


def _pid_space() -> str:
    return str(Path("/proc/self/ns/pid").stat().st_ino)


def _fields(path: Path) -> dict[str, int]:
    try:
        return {key: int(value) for key, value in (line.split() for line in path.read_text().splitlines())}
    except (OSError, ValueError):
        return {}


def _rmdir(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
