"""Applies the limits and makes the environment of one command, for all backends.

In: `Limits`, `Policy`. Out: rlimits, or an argv that sets them and then becomes the command; the environment; and
watchers for a tree's memory where no control group bounds it, and for the disk space of a fork's changes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from forklock.sandbox.contract import Limits, Policy

_PRLIMIT = "/usr/bin/prlimit"
_OPEN_FILES = (1024, 4096)
_PROCESSES_SPARED = 8
"""Processes of a tree that are not the command's own."""


def command_env(policy: Policy, extra: Mapping[str, str] | None) -> dict[str, str]:
    """Return a minimal environment, overlaid by the policy's and then the call's. Nothing of our own is inherited."""
    base = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "TMPDIR": "/tmp"}  # noqa: S108
    return {**base, **policy.env, **(extra or {})}


def check_words(argv: Sequence[str], env: Mapping[str, str]) -> None:
    """Reject what no program can be given, in the same way for all backends.

    Raises:
        ValueError: argv is empty, a word holds a NUL or cannot be encoded, or a variable's name is invalid.
    """
    if not argv:
        raise ValueError("argv is empty")
    for word in (*argv, *env, *env.values()):
        if b"\0" in os.fsencode(word):
            raise ValueError(f"a command's words cannot hold a NUL: {word!r}")
    for name in env:
        if not name or "=" in name:
            raise ValueError(f"not a variable's name: {name!r}")


def rlimits(limits: Limits) -> dict[str, tuple[int, int]]:
    """Return the limits that the kernel keeps for each process: (soft, hard), by their names in `resource`."""
    size = limits.file_mb << 20
    found = {"RLIMIT_CORE": (0, 0), "RLIMIT_NOFILE": _OPEN_FILES, "RLIMIT_FSIZE": (size, size)}
    if limits.cpu_s is not None:
        seconds = max(1, round(limits.cpu_s))
        found["RLIMIT_CPU"] = (seconds, seconds + 1)
    return found


def command_with_limits(
    argv: Sequence[str], limits: Limits, *, count: bool = True, prlimit: str = _PRLIMIT
) -> list[str]:
    """Return `argv` behind util-linux's `prlimit`, which exits with 127 or 126 if it cannot start the command.

    It is for machines without control groups: limits for each process are coarser, but better than none.
    `count`: limit the number of processes too. Turn it off if the rlimit would count all processes of the user.
    """
    options = [
        f"--{name.removeprefix('RLIMIT_').lower()}={soft}:{hard}"
        for name, (soft, hard) in rlimits(limits).items()
    ]
    options.append(f"--data={limits.memory_mb << 20}")
    if count:
        options.append(f"--nproc={limits.processes}")
    return [prlimit, *options, "--", *argv]


def write_accounts(folder: Path, uid: int, gid: int) -> None:
    """Write `passwd`, `group` and `hosts` for the ids inside, since programs look up their user's name and home."""
    users = f"agent:x:{uid}:{gid}::/tmp:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
    (folder / "passwd").write_text(users)
    (folder / "group").write_text(f"agent:x:{gid}:\nnogroup:x:65534:\n")
    (folder / "hosts").write_text("127.0.0.1 localhost sandbox\n::1 localhost\n")


class TreeWatcher:
    """Limits a tree's resident memory and number of processes by polling: the fallback without control groups.

    A fast allocator can overshoot between two polls; `--data` of `command_with_limits` still bounds each process. So
    can a fast forker; `--nproc` stops it earlier, but not for the kernel's user 0.
    """

    def __init__(self, init: int | None, limits: Limits, kill: Callable[[], None]) -> None:
        self._init = init
        self._limit_mb = limits.memory_mb
        self._processes = limits.processes + _PROCESSES_SPARED
        self._kill = kill
        self._peak_mb = 0.0
        self._over = False

    def tick(self) -> None:
        found = _descendants(self._init, self._processes) if self._init else []
        if len(found) > self._processes:
            self._kill()
            return
        sizes = [_resident_mb(pid) for pid in found]
        self._peak_mb = max(self._peak_mb, max(sizes, default=0.0))
        if sum(sizes) > self._limit_mb and not self._over and sum(map(_share_mb, found)) > self._limit_mb:
            self._over = True
            self._kill()

    def verdict(self, peak_mb: float | None, *, failed: bool) -> tuple[bool, float | None]:
        """Return (killed for memory, largest resident set of one process). A program that failed at nine tenths of
        the limit or more counts as one that met the per-process bound."""
        peak = max(self._peak_mb, peak_mb or 0.0)
        return self._over or (failed and peak >= 0.9 * self._limit_mb), peak or None


class DiskWatcher:
    """Limits what a directory holds on disk by polling; a program can overshoot between two polls.

    Polling takes a twentieth of the time at most, so a large directory is polled less often.
    """

    def __init__(self, folder: Path | None, limit_mb: int, kill: Callable[[], None]) -> None:
        self._folder = folder
        self._limit = limit_mb << 20
        self._kill = kill
        self._next = time.monotonic() + 0.2
        self.over = False

    def tick(self) -> None:
        began = time.monotonic()
        if self._folder is None or self.over or began < self._next:
            return
        if _bytes_on_disk(str(self._folder), self._limit) > self._limit:
            self.over = True
            self._kill()
        self._next = time.monotonic() + max(0.5, 20 * (time.monotonic() - began))


def _bytes_on_disk(folder: str, enough: int) -> int:
    """Add up the sizes of all files below `folder`; stop when they are more than `enough`."""
    total, queue = 0, [folder]
    seen: set[int] = set()
    while queue and total <= enough:
        try:
            with os.scandir(queue.pop()) as entries:
                for entry in entries:
                    found = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        queue.append(entry.path)
                    elif found.st_nlink > 1 and found.st_ino in seen:
                        continue
                    seen.add(found.st_ino)
                    total += found.st_blocks * 512
        except OSError:  # gone meanwhile
            continue
    return total


def _descendants(init: int, enough: int) -> list[int]:
    """Return `init` and the processes below it; stop when they are more than `enough`."""
    found: list[int] = []
    queue = [init]
    while queue and len(found) <= enough:
        pid = queue.pop()
        found.append(pid)
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                queue += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def _share_mb(pid: int) -> float:
    """Return what `_resident_mb` does, but split shared pages among their processes. It is slower."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    except (OSError, ValueError, StopIteration):
        return _resident_mb(pid)


def _resident_mb(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, ValueError, IndexError):
        return 0.0
