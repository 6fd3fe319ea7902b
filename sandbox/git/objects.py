"""Writes git objects, and keeps the content of files, without git.

In: contents. Out: their object ids, loose objects in a git folder of ours, and a store from which a content can be
had again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from forklock.sandbox.files.atomic import write_atomic

Kind = Literal["blob", "tree", "commit"]

LINK, FILE, PROGRAM, FOLDER = 0o120000, 0o100644, 0o100755, 0o040000
_BLOCK = 1 << 16


def git_mode(mode: int) -> int:
    """Return a file's mode as git keeps it."""
    if stat.S_ISLNK(mode):
        return LINK
    return PROGRAM if mode & stat.S_IXUSR else FILE


def object_id(kind: Kind, data: bytes, algorithm: str = "sha1") -> str:
    digest = hashlib.new(algorithm, b"%s %d\0" % (kind.encode(), len(data)), usedforsecurity=False)
    digest.update(data)
    return digest.hexdigest()


def write_loose(objects: Path, kind: Kind, data: bytes) -> str:
    """Write an object into a git folder's `objects` and return its id. An existing one is kept."""
    oid = object_id(kind, data)
    place = objects / oid[:2] / oid[2:]
    if not place.exists():
        place.parent.mkdir(exist_ok=True)
        write_atomic(place, zlib.compress(b"%s %d\0" % (kind.encode(), len(data)) + data, 1), durable=False)
    return oid


def write_trees(objects: Path, files: Mapping[str, tuple[int, str]]) -> str:
    """Write the trees for files by path (mode and blob id), and return the top's id."""
    folders: dict[bytes, dict[bytes, tuple[int, str]]] = {b"": {}}
    for path, entry in files.items():
        folder, _, name = os.fsencode(path).rpartition(b"/")
        folders.setdefault(folder, {})[name] = entry
        while folder not in (b"",) and folder.rpartition(b"/")[0] not in folders:
            folder = folder.rpartition(b"/")[0]
            folders[folder] = {}
    for folder in sorted(folders, key=lambda path: path.count(b"/") if path else -1, reverse=True):
        oid = write_loose(objects, "tree", _tree(folders[folder]))
        above, _, name = folder.rpartition(b"/")
        if folder:
            folders[above][name] = (FOLDER, oid)
    return oid


def _tree(entries: Mapping[bytes, tuple[int, str]]) -> bytes:
    ordered = sorted(entries.items(), key=lambda item: item[0] + b"/" * (item[1][0] == FOLDER))
    return b"".join(b"%o %s\0" % (mode, name) + bytes.fromhex(oid) for name, (mode, oid) in ordered)


class Contents:
    """Stores the contents of many files in one, each content once. Thread-safe for readers."""

    def __init__(self, file: Path) -> None:
        self._fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._places: dict[str, tuple[int, int]] = {}
        self._end = 0

    def add(self, oid: str, data: bytes) -> None:
        """Raises OSError: the disk is full."""
        if oid in self._places:
            return
        self._places[oid] = (self._end, len(data))
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, self._end)
            self._end += written
            view = view[written:]

    def get(self, oid: str) -> bytes:
        start, size = self._places[oid]
        parts = []
        while size:
            data = os.pread(self._fd, size, start)
            if not data:
                raise OSError("the store of contents was cut off")
            parts.append(data)
            start += len(data)
            size -= len(data)
        return b"".join(parts)

    def close(self) -> None:
        """Close it; a second time does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            self.close()


def large_id(fd: int, size: int, check: Callable[[], None]) -> str:
    """What tells a large file's content: a digest of the blocks that hold anything, with their places. Holes are not
    read. `check` is called for each block, and ends it by raising."""
    digest = hashlib.blake2b(str(size).encode(), digest_size=20)
    at = 0
    while at < size:
        try:
            begin = os.lseek(fd, at, os.SEEK_DATA)
            end = os.lseek(fd, begin, os.SEEK_HOLE)
        except OSError:  # nothing but a hole follows
            break
        for at in range(begin // _BLOCK * _BLOCK, end, _BLOCK):
            check()
            data = os.pread(fd, _BLOCK, at)
            if data.count(0) != len(data):
                digest.update(at.to_bytes(8, "big") + data)
        at = -(-end // _BLOCK) * _BLOCK
    return f"large-{digest.hexdigest()}"
