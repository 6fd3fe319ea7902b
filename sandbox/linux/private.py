"""Makes private directories outside every workspace, locked and named after the process that made them.

In: a directory to make them in, which other users may write to. Out: private directories that others can tell to be
orphans when their maker is dead, their removal, and the count of those who share one. The lock tells, also across
process-id name spaces. A directory in which something is still mounted is left as it is: removing it would delete
through the mount. No link is followed, and root changes no modes: a directory in `/tmp` may be another user's trap.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import re
import shutil
import struct
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from forklock.sandbox.contract import SandboxFault
from forklock.sandbox.linux import mounts
from forklock.sandbox.linux.nofollow import remove_inside
from forklock.sandbox.linux.orphans import end_bubblewraps_of

_PREFIX = "forklock-"
_NAME = re.compile(rf"{_PREFIX}(\d+)-(\d+)-.+")


class Shared:
    """A private directory with several users. The last one removes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._users = 1
        self._lock = threading.Lock()

    def retain(self) -> None:
        """Add a user."""
        with self._lock:
            self._users += 1

    def release(self) -> None:
        """Remove a user."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
        remove_tree(self.folder)


def make_private(parent: Path, owner: int = 0) -> Path:
    """Make a directory that only we (for root: also `owner`) can enter, and only we can write to. It is named after
    us and locked as long as we live, so that others recognise it as an orphan when we are dead."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        pid = os.getpid()
        fresh = Path(
            tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=parent)
        )  # a name that reapers do not look for, until it is locked
        lock = os.open(fresh, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with contextlib.suppress(
            OSError
        ):  # a file system without locks: a reaper fails to lock it too, and keeps it
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.geteuid() == 0 and owner:  # commands will run as the owner
            _let_in(lock, owner)
        private = parent / f"{_PREFIX}{pid}-{start_ticks(pid)}-{fresh.name.removeprefix(f'.{_PREFIX}')}"
        fresh.rename(private)
    except OSError as error:
        raise SandboxFault(f"no directory for copies in {parent}: {error}", fix="set TMPDIR") from error
    with _guard:
        _locks[str(private)] = lock
    return private


_locks: dict[str, int] = {}
_guard = threading.Lock()
_ACCESS = "system.posix_acl_access"
_ACL = struct.Struct("<HHI")
_NOBODY = 0xFFFFFFFF


def _let_in(folder: int, owner: int) -> None:
    """Let a user through a directory of root's, by an access control list; where the file system has none, the user's
    group."""
    entries = [(1, 7, _NOBODY), (2, 1, owner), (4, 0, _NOBODY), (16, 1, _NOBODY), (32, 0, _NOBODY)]
    try:
        os.setxattr(folder, _ACCESS, struct.pack("<I", 2) + b"".join(_ACL.pack(*entry) for entry in entries))
    except OSError:
        os.fchown(folder, -1, pwd.getpwuid(owner).pw_gid)
        os.fchmod(folder, 0o710)


@contextlib.contextmanager
def scratch(owner: int = 0) -> Iterator[Path]:
    """Make a temporary directory for the block. If we are killed first, the next process that opens a workspace
    removes it. `owner`: for root, the user who may pass through it too.

    Raises:
        SandboxFault: it cannot be made.
    """
    folder = make_private(Path(tempfile.gettempdir()).resolve(), owner)
    try:
        yield folder
    finally:
        remove_tree(folder)


def reap_orphans(parent: Path) -> None:
    """Remove private directories in `parent` whose maker is dead, unmount what it had mounted anywhere, and end
    the processes that it started there."""
    for point in mounts.ours():
        with _orphan(point.parent) as orphaned:
            if orphaned:
                mounts.release(point)
    try:
        entries = sorted(parent.glob(f"{_PREFIX}*-*-*"))
    except OSError:
        return
    for entry in entries:
        with _orphan(entry) as orphaned:
            if orphaned:
                end_bubblewraps_of([entry])
                if not mounts.below(entry):
                    remove_tree(entry)


@contextlib.contextmanager
def _orphan(folder: Path) -> Iterator[bool]:
    """Yield whether a directory belongs to a dead process. If so, it is locked for the block."""
    found = _NAME.fullmatch(folder.name)
    if found is None or start_ticks(int(found[1])) == found[2]:
        yield False
        return
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # another user's, or gone
        yield False
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        free = os.geteuid() in (0, os.fstat(lock).st_uid)
    except OSError:
        free = False
    try:
        yield free
    finally:
        os.close(lock)


def remove_tree(path: Path) -> None:
    """Remove a tree, even if a program made its directories unwritable. No link is followed. Never raises."""
    with contextlib.suppress(RecursionError):  # it calls itself for each level
        shutil.rmtree(path, ignore_errors=True)
    if os.path.lexists(path):
        remove_inside(None, path)
    with _guard:
        lock = _locks.pop(str(path), None)
    if lock is not None:
        with contextlib.suppress(OSError):
            os.close(lock)


def start_ticks(pid: int) -> str:
    """Return the start time of a process, which identifies it together with its id; "" if it is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
