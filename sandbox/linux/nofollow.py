"""Reads and writes below a folder without following a link, and without waiting for anything but a disk.

In: a folder, and names in it that a repo or a program chose. Out: content of regular files, entries with their stats,
and files replaced whole. Each step of a path is opened from the one before, so that no link leads out, also while a
program exchanges folders for links. Pipes, sockets and devices are never opened.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from forklock.sandbox.contract import SandboxFault

MAX_DEPTH = 250
"""Levels of folders. Each takes a descriptor while its tree is walked."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def steps_of(name: str) -> list[str]:
    """Return the parts of a relative path.

    Raises:
        ValueError: it is absolute, climbs, or has an empty part.
    """
    steps = name.split("/")
    if "\0" in name or any(step in ("", ".", "..") for step in steps):
        raise ValueError(f"not a path inside a folder: {name!r}")
    return steps


@contextlib.contextmanager
def folder_of(root: Path | int, name: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """Open the folder that holds `name`; return its descriptor and the last step. `make`: create missing folders.

    Raises:
        OSError: a step is missing, or is no folder (a link is none).
        ValueError: the name leaves the folder.
    """
    *way, last = steps_of(name)
    here = os.dup(root) if isinstance(root, int) else os.open(root, _FOLDER & ~os.O_NOFOLLOW)
    try:
        for step in way:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(step, dir_fd=here)
            inner = os.open(step, _FOLDER, dir_fd=here)
            os.close(here)
            here = inner
        yield here, last
    finally:
        os.close(here)


def open_regular(folder: int | None, name: str | Path) -> int:
    """Open a regular file for reading.

    Raises:
        OSError: it is missing, is no regular file, or cannot be read.
    """
    if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        raise OSError(f"not a regular file: {name}")
    fd = os.open(name, _FILE, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(fd).st_mode):  # exchanged meanwhile
        os.close(fd)
        raise OSError(f"not a regular file: {name}")
    return fd


def read_all(fd: int, limit: int) -> bytes | None:
    """Return the content from the start; None if it is longer than `limit` bytes."""
    parts, size = [], 0
    while data := os.pread(fd, min(1 << 20, limit + 1 - size), size):
        parts.append(data)
        size += len(data)
        if size > limit:
            return None
    return b"".join(parts)


def read_inside(root: Path | int, name: str, limit: int) -> bytes | None:
    """Return the content of a regular file below `root`; None if there is none, or if it is longer.

    Raises:
        ValueError: the name leaves the folder.
    """
    try:
        with folder_of(root, name) as (folder, last):
            fd = open_regular(folder, last)
            try:
                return read_all(fd, limit)
            finally:
                os.close(fd)
    except OSError:
        return None


Entries = list[tuple[str, os.stat_result]]


class Walk:
    """Walks a tree without following a link. Each step is a folder: its path ("" for the top), descriptor and entries.
    Remove the folders from `entries` that are not to be entered, before the next step."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __iter__(self) -> Iterator[tuple[str, int, Entries]]:
        """Raises SandboxFault: a folder cannot be read, or lies too deep."""
        top = _opened(None, str(self._root), str(self._root))
        none: Iterator[str] = iter(())
        stack = [(top, "", none)]
        try:
            entries = _entries(top, str(self._root))
            yield "", top, entries
            stack[0] = (top, "", _folders(entries))
            while stack:
                here, path, folders = stack[-1]
                name = next(folders, None)
                if name is None:
                    os.close(stack.pop()[0])
                    continue
                inner = f"{path}/{name}" if path else name
                if len(stack) > MAX_DEPTH or len(inner) > 4000:
                    raise SandboxFault(
                        f"folders are more than {MAX_DEPTH} deep in the workspace: {inner[:60]}…",
                        fix="remove them",
                    )
                try:
                    fd = _opened(here, name, inner)
                except (FileNotFoundError, NotADirectoryError):  # gone or exchanged meanwhile
                    continue
                stack.append((fd, inner, none))
                entries = _entries(fd, inner)
                yield inner, fd, entries
                stack[-1] = (fd, inner, _folders(entries))
        finally:
            for fd, _, _ in stack:
                os.close(fd)


def _opened(folder: int | None, name: str, path: str) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise
        if error.errno == errno.ELOOP:  # a link by now
            raise NotADirectoryError(path) from error
        raise _unreadable(path, error) from error


def _entries(fd: int, path: str) -> Entries:
    found: Entries = []
    try:
        with os.scandir(fd) as entries:
            for entry in entries:
                try:
                    found.append((entry.name, entry.stat(follow_symlinks=False)))
                except FileNotFoundError:  # gone meanwhile
                    continue
    except OSError as error:
        raise _unreadable(path, error) from error
    return found


def _folders(entries: Entries) -> Iterator[str]:
    return iter([name for name, found in entries if stat.S_ISDIR(found.st_mode)])


def _unreadable(path: str, error: OSError) -> SandboxFault:
    return SandboxFault(
        f"{path} cannot be read: {error.strerror}",
        fix="make it readable, or move it out of the workspace",
    )


def remove_inside(parent: int | None, name: str | Path) -> None:
    """Remove a tree, even if a program made its folders unwritable. No link is followed. Only the modes of our own
    folders are changed, through their descriptors. What cannot be removed stays."""
    with contextlib.suppress(OSError):
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=parent)
            return
    for _ in range(2):  # a second time where a program added something meanwhile
        _empty(parent, name)
        try:
            os.rmdir(name, dir_fd=parent)
        except FileNotFoundError:
            return
        except OSError:
            continue
        return


def _empty(parent: int | None, name: str | Path) -> None:
    """Goes down one folder at a time with two descriptors, however deep: inner trees are moved up to be emptied."""
    try:
        top = _entered(parent, name)
    except OSError:
        return
    try:
        while names := _cleared(top):
            left = len(names)
            for inner in names:
                left -= _lifted(top, inner)
            if left == len(names):
                return
    finally:
        os.close(top)


def _cleared(folder: int) -> list[str]:
    """Remove what is no folder, and folders that are empty; names of those that are not."""
    kept = []
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    for name in names:
        try:
            if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                try:
                    os.rmdir(name, dir_fd=folder)
                except OSError:
                    kept.append(name)
            else:
                os.unlink(name, dir_fd=folder)
        except OSError:
            continue
    return kept


def _lifted(top: int, name: str) -> bool:
    """Clear a folder and move the folders in it up to `top`. Return whether it is gone."""
    try:
        inner = _entered(top, name)
    except OSError:
        return False
    try:
        for deeper in _cleared(inner):
            with contextlib.suppress(OSError):
                os.close(_entered(inner, deeper))  # its `..` changes: that needs the right to write in it
                os.rename(deeper, f".{secrets.token_hex(8)}", src_dir_fd=inner, dst_dir_fd=top)
    finally:
        os.close(inner)
    try:
        os.rmdir(name, dir_fd=top)
    except OSError:
        return False
    return True


def _entered(parent: int | None, name: str | Path) -> int:
    """Open a folder, and give its owner all rights in it."""
    try:
        fd = os.open(name, _FOLDER, dir_fd=parent)
    except PermissionError:
        path = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.chmod(f"/proc/self/fd/{path}", 0o700)  # the very folder, whatever its path leads to now
            return os.open(f"/proc/self/fd/{path}", _FOLDER & ~os.O_NOFOLLOW)
        finally:
            os.close(path)
    with contextlib.suppress(OSError):
        found = os.fstat(fd)
        if found.st_uid == os.geteuid() != 0 and found.st_mode & 0o700 != 0o700:  # root needs no mode
            os.fchmod(fd, 0o700)
    return fd
