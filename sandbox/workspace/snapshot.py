"""Copies one state of a directory once, as the lower layer of all its forks.

In: a directory. Out: a `Snapshot`, whose tree never changes. A fork then costs a mount, and a check
whether the directory is still as it was copied: every file's name, inode and change time, which the kernel sets at
any change of content, mode or owner and no program can set back.

Not covered: a write through a shared memory map that was begun before the copy, until the kernel notices it.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from forklock.sandbox.linux import mounts
from forklock.sandbox.linux.private import Shared, make_private, remove_tree
from forklock.sandbox.workspace.copying import copy_tree, like, make_mount_points
from forklock.sandbox.workspace.diff import Seen

_TICK_NS = 12_000_000
"""Change times are as coarse as the kernel's clock tick (10 ms at most): a file that changed less than this
ago can change again without a trace."""


@dataclass(frozen=True, slots=True)
class State:
    """The files of a directory by their stats."""

    digest: bytes
    newest_ns: int
    """The latest change time."""
    linked: bool
    """Whether files have several names. An overlay would separate them at the first write."""


@dataclass(frozen=True)
class Snapshot:
    """A copy, `tree`, which nobody may change."""

    shared: Shared
    state: State | None
    """None: it may differ from what a look would find, and serves only those who have it."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _seen: Seen = field(default_factory=dict, compare=False)

    @property
    def tree(self) -> Path:
        return self.shared.folder / "tree"

    def seen(self, look: Callable[[Path], Seen]) -> Seen:
        """What `look(tree)` saw at the first call. Through an overlay, files that did not change have the tree's
        inodes and times, so that it spares each fork reading them."""
        with self._lock:
            if not self._seen:
                self._seen.update(look(self.tree))
        return self._seen

    def mount(self, private: Path, root: Path) -> None:
        """Show the tree at `root`, an absent directory, and keep the changes in `private` (`upper`, which may
        hold some already).

        Raises:
            OSError: the kernel refuses; what was made is removed.
        """
        upper, work = private / "upper", private / "work"
        try:
            if not upper.exists():
                like(self.tree, upper)
            work.mkdir()
            root.mkdir()
            mounts.overlay(self.tree, upper, work, root)
        except OSError:
            for folder in (root, work, upper):
                remove_tree(folder)
            raise


class Latest:
    """Keeps the snapshot of a directory's present state as long as that state lasts. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: Snapshot | None = None

    def of(self, root: Path, parent: Path, *, lend: Path | None, environments: list[str]) -> Snapshot | None:
        """Retained for the caller, who releases it. None where files have several names.

        Raises:
            SandboxFault: disk full, or a file cannot be read.
        """
        state = settled(root, environments)
        with self._lock:
            kept = self._kept
            if state.linked:
                return None
            if kept is None or kept.state is None or kept.state.digest != state.digest:
                self._drop()
                kept = self._kept = _take(root, parent, state, lend, environments)
            kept.shared.retain()
            return kept

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._kept is not None:
            self._kept.shared.release()
            self._kept = None


def _take(root: Path, parent: Path, state: State, lend: Path | None, environments: list[str]) -> Snapshot:
    folder = make_private(parent)
    try:
        copy_tree(root, folder / "tree", leave=(".forklock", *environments), lend=lend)
        make_mount_points(folder / "tree", environments)
    except BaseException:
        remove_tree(folder)
        raise
    return Snapshot(Shared(folder), state if _is_settled(state) else None)


def settled(root: Path, environments: list[str]) -> State:
    """Read the state of `root`, after a short wait if a file has just changed."""
    state = look(root, environments)
    wait = state.newest_ns + _TICK_NS - time.time_ns()
    if 0 < wait <= _TICK_NS:
        time.sleep(wait / 1e9)
        state = look(root, environments)
    return state


def _is_settled(state: State) -> bool:
    # Times without anything below a millisecond come from a file system that counts in seconds or so.
    coarse = state.newest_ns % 1_000_000 == 0
    return state.newest_ns + (2_000_000_000 if coarse else _TICK_NS) <= time.time_ns()


def look(root: Path, environments: list[str]) -> State:
    """Return everything that a copy would copy, by its stats; no file is read and no link followed."""
    leave = {str(root / name) for name in (".forklock", *environments)} | {str(root / ".git" / "objects")}
    seen: list[object] = [root.stat()[:6]]
    newest, linked = 0, False
    names: set[int] = set()
    queue = [str(root)]
    while queue:
        folder = queue.pop()
        seen.append(folder)
        try:
            for name, is_folder, found in _entries(folder):
                place = f"{folder}/{name}"
                if place in leave:
                    continue
                changed = found.st_ctime_ns
                seen += (name, found.st_ino, changed)
                if changed > newest:
                    newest = changed
                if is_folder:
                    queue.append(place)
                elif found.st_nlink > 1:
                    linked = linked or found.st_ino in names
                    names.add(found.st_ino)
        except OSError:  # gone meanwhile, or not ours to read: the copy will tell
            seen.append(time.time_ns())
    digest = hashlib.blake2b(repr(seen).encode(errors="surrogateescape")).digest()
    return State(digest, newest, linked)


def _entries(folder: str) -> Iterator[tuple[str, bool, os.stat_result]]:
    """By the directory's descriptor, which spares the kernel each file's path."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with os.scandir(handle) as entries:
            for entry in entries:
                yield entry.name, entry.is_dir(follow_symlinks=False), entry.stat(follow_symlinks=False)
    finally:
        os.close(handle)


@lru_cache(maxsize=64)
def layers_work(parent: Path) -> bool:
    """Return whether overlays work in `parent`. It is tried for real, once per process."""
    private = make_private(parent)
    shown = private / "shown"
    try:
        tree = private / "tree"
        (tree / "folder").mkdir(parents=True)
        (tree / "kept").write_text("")
        (tree / "gone").write_text("")
        Snapshot(Shared(private), None).mount(private, shown)
        (shown / "gone").unlink()
        (shown / "folder").rename(shown / "renamed")
        (shown / "renamed" / "new").write_text("")
        same = (shown / "kept").stat().st_ino == (tree / "kept").stat().st_ino
    except OSError:
        return False
    else:
        return same and (tree / "gone").exists()
    finally:
        mounts.release(shown)
        remove_tree(private)
