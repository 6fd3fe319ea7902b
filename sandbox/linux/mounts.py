"""Makes overlay mounts: a writable layer over a tree that never changes.

In: directories of ours. Out: a mount that shows `lower` with the changes that `upper` holds. The kernel allows
it to whoever may administer mounts (root, or the owner of a user and mount namespace); it is tried for real,
once per place. A mount is unmounted before anything below it is removed, and one that stays is an error.

Not covered: mounts that only other mount namespaces see.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
from pathlib import Path

from forklock.sandbox.contract import SandboxFault

_NOSUID, _NODEV, _DETACH = 2, 4, 2
# Renaming a directory of the lower layer works; data is always copied up whole; nothing is flushed to disk, of
# which an unmount would otherwise flush everything.
_OPTIONS = "redirect_dir=on,metacopy=off,index=off,xino=auto,volatile"
_UNSAFE = re.compile(r"[,:\\]")
"""Characters that mean something in the mount's options."""


def overlay(lower: Path, upper: Path, work: Path, target: Path) -> None:
    """Mount an overlay. All four are existing directories, the last three empty or ours.

    Raises:
        OSError: the kernel refuses (no right, a file system that cannot carry a layer, an old kernel).
    """
    layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
    if any(_UNSAFE.search(str(path)) for path in (lower, upper, work)) or len(layers) > 3500:
        raise OSError(errno.EINVAL, "the path cannot be a mount option")
    data = os.fsencode(f"{layers},{_OPTIONS}")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(_source().encode(), os.fsencode(target), b"overlay", _NOSUID | _NODEV, data) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(target))


def release(target: Path) -> None:
    """Unmount. If a process still works in it, the mount leaves our view at once and ends with that process.

    Raises:
        SandboxFault: it stays mounted.
    """
    if _unmount(target, 0) in (0, errno.EINVAL, errno.ENOENT) or _unmount(target, _DETACH) == 0:
        return
    if target in below(target.parent):
        raise SandboxFault(f"a fork stays mounted at {target}", fix=f"`sudo umount --lazy {target}`")


def _unmount(target: Path, flags: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    return 0 if libc.umount2(os.fsencode(target), flags) == 0 else ctypes.get_errno()


def below(folder: Path) -> list[Path]:
    """Return the mount points below `folder` that this process sees, innermost first."""
    real = str(folder.resolve())
    found = [point for point, _, _ in _table() if point.startswith(f"{real}/")]
    return [Path(point) for point in sorted(found, key=len, reverse=True)]


def ours() -> list[Path]:
    """Return the overlays that processes of this pid namespace mounted. Whether others live cannot be seen."""
    return [Path(point) for point, kind, source in _table() if (kind, source) == ("overlay", _source())]


def _table() -> list[tuple[str, str, str]]:
    """(mount point, file system, source) of every mount."""
    found = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
            left, _, right = line.partition(" - ")
            kind, source = right.split(" ")[:2]
            found.append((_plain(left.split(" ")[4]), kind, source))
    return found


def _plain(text: str) -> str:
    """The kernel writes space, tab, newline and backslash as octal."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _source() -> str:
    return f"forklock-{Path('/proc/self/ns/pid').stat().st_ino}"
