"""Limits and environment of one command: the parts that all backends share.

In: `Limits`, `Policy`. Out: rlimits, or the argv that sets them and then becomes the command, the environment, and
watchers: of a tree's memory where no control group can bound it, and of what a fork's changes take on disk.
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
"""Of a tree, besides the command's own."""


def command_env(policy: Policy, extra: Mapping[str, str] | None) -> dict[str, str]:
    """A minimal environment, then the policy's, then the call's. Nothing of the caller's."""
    base = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "TMPDIR": "/tmp"}  # noqa: S108
    return {**base, **policy.env, **(extra or {})}


def check_words(argv: Sequence[str], env: Mapping[str, str]) -> None:
    """Refuse what no program can be given, alike in all backends.

    Raises:
        ValueError: no argv, a word that holds a NUL or cannot be encoded, a variable whose name is no name.
    """
    if not argv:
        raise ValueError("argv is empty")
    for word in (*argv, *env, *env.values()):
        if b"\0" in os.fsencode(word):
            raise ValueError(f"a command's words cannot hold a NUL: {word!r}")
    for name in env:
        if not name or "=" in name:
            raise ValueError(f"no name of a variable: {name!r}")


def rlimits(limits: Limits) -> dict[str, tuple[int, int]]:
    """What the kernel bounds for each process, as `resource` names it: (soft, hard)."""
    size = limits.file_mb << 20
    found = {"RLIMIT_CORE": (0, 0), "RLIMIT_NOFILE": _OPEN_FILES, "RLIMIT_FSIZE": (size, size)}
    if limits.cpu_s is not None:
        seconds = max(1, round(limits.cpu_s))
        found["RLIMIT_CPU"] = (seconds, seconds + 1)
    return found


def command_with_limits(
    argv: Sequence[str], limits: Limits, *, count: bool = True, prlimit: str = _PRLIMIT
) -> list[str]:
    """`argv` behind util-linux's `prlimit`, which exits with 127 or 126 where it cannot start it.

    For where no control group bounds memory and processes: bounds of each process, which are coarser, stand in.
    `count`: bound the processes too; off where the rlimit would count all processes of the user and not the
    command's own.
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
    """`passwd`, `group` and `hosts` for the ids inside: programs ask for their user's name and home."""
    users = f"agent:x:{uid}:{gid}::/tmp:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
    (folder / "passwd").write_text(users)
    (folder / "group").write_text(f"agent:x:{gid}:\nnogroup:x:65534:\n")
    (folder / "hosts").write_text("127.0.0.1 localhost sandbox\n::1 localhost\n")


class TreeWatcher:
    """Bounds the resident memory and the number of a tree's processes by looking at it: the fallback without control
    groups.

    A fast allocator can overshoot between two looks; `--data` of `command_with_limits` bounds each process. A fast
    forker can, too; `--nproc` stops it before, but not for the kernel's user 0.
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
        """(ended for memory, largest resident set of one process). A program that failed at nine tenths
        of the limit or more met the per-process bound."""
        peak = max(self._peak_mb, peak_mb or 0.0)
        return self._over or (failed and peak >= 0.9 * self._limit_mb), peak or None


class DiskWatcher:
    """Bounds what a directory holds on disk by looking at it: a program can overshoot between two looks.

    A look may cost a twentieth of the time at most, so that a large directory is looked at less often.
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
    """Of all files below `folder`; counting ends when there are more than `enough`."""
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
    """Processes below `init`, and itself; looking ends when there are more than `enough`."""
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
    """As `_resident_mb`, but a page that n processes share counts one nth for each. Takes the kernel longer."""
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
