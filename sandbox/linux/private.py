"""Directories of ours outside every workspace, named after the process that made them.

In: a directory to make them in. Out: private directories that others can tell to be orphans when their maker
is dead, their removal, and the count of those who share one. A directory in which something is still mounted
is left as it is: removing it would delete through the mount.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from sandbox.contract import SandboxFault
from sandbox.linux import mounts
from sandbox.linux.orphans import end_bubblewraps_of

_PREFIX = "forklock-"
_NAME = re.compile(rf"{_PREFIX}(\d+)-(\d+)-")


class Shared:
    """A private directory with several users. The last one removes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._users = 1
        self._lock = threading.Lock()

    def retain(self) -> None:
        """One more user."""
        with self._lock:
            self._users += 1

    def release(self) -> None:
        """One fewer."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
        remove_tree(self.folder)


def make_private(parent: Path, owner: int = 0) -> Path:
    """A directory that only we (for root: only `owner`) can enter, named after us so that others can
    tell when we are dead."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        name = f"{_PREFIX}{os.getpid()}-{start_ticks(os.getpid())}-"
        private = Path(tempfile.mkdtemp(prefix=name, dir=parent))
        if os.geteuid() == 0 and owner:  # commands will run as the owner
            os.chown(private, owner, -1)
    except OSError as error:
        raise SandboxFault(f"no directory for copies in {parent}: {error}", fix="set TMPDIR") from error
    return private


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A temporary directory that goes with the block; where we are killed first, whoever opens a workspace after us
    removes it.

    Raises:
        SandboxFault: it cannot be made.
    """
    folder = make_private(Path(tempfile.gettempdir()).resolve())
    try:
        yield folder
    finally:
        remove_tree(folder)


def reap_orphans(parent: Path) -> None:
    """Remove private directories in `parent` whose maker is dead, and what it had mounted, wherever; and end what was
    started with them and lives."""
    for point in mounts.ours():
        if _is_orphan(point.parent):
            mounts.release(point)
    with contextlib.suppress(OSError):
        orphans = [entry for entry in parent.glob(f"{_PREFIX}*-*-*") if _is_orphan(entry) and _is_own(entry)]
        if orphans:
            end_bubblewraps_of(orphans)
        for entry in orphans:
            if not mounts.below(entry):
                remove_tree(entry)


def _is_own(entry: Path) -> bool:
    return entry.is_dir() and not entry.is_symlink() and os.getuid() in (0, entry.lstat().st_uid)


def _is_orphan(folder: Path) -> bool:
    found = _NAME.match(folder.name)
    return found is not None and start_ticks(int(found[1])) != found[2]


def remove_tree(path: Path) -> None:
    """Remove a tree, also one whose directories a program made unwritable. Never raises."""
    shutil.rmtree(path, ignore_errors=True)
    if not path.exists():
        return
    for folder, _, _ in os.walk(path):
        with contextlib.suppress(OSError):
            Path(folder).chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)


def start_ticks(pid: int) -> str:
    """Start time of a process, which with its id names it for good; "" when it is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
