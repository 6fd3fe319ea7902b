"""Puts files, links and folders in their place in one step, so that a kill leaves the old one or the new one.

In: a path and its content, or something finished that lies beside its place. Out: the path holds it. This is the only
module that renames (`tests/test_one_way.py`); exceptions are the modules that work by directory descriptors.
A kill in the middle of a write may leave a temporary file `.NAME.….tmp` beside the path; nothing reads it.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from pathlib import Path

_NAME_BYTES = 200
"""Bytes of a name that a temporary name repeats; file systems take 255."""


def write_atomic(
    path: Path, content: str | bytes, *, durable: bool = True, like: os.stat_result | None = None
) -> None:
    """Replace the content of `path` as a whole or not at all.

    Args:
        content: text is written as UTF-8.
        durable: on disk when this returns; False where losing it in a power failure costs time only.
        like: gives the new file this mode and, for root, this owner; None takes the umask's.

    Raises:
        OSError: it cannot be written; the old content stays.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = temporary_beside(path)
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666
    )
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(data)
            if like is not None:
                if os.geteuid() == 0:
                    os.fchown(out.fileno(), like.st_uid, like.st_gid)
                os.fchmod(out.fileno(), stat.S_IMODE(like.st_mode))
        put_in_place(temporary, path, durable=durable)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def put_in_place(source: Path, target: Path, *, durable: bool = True) -> None:
    """Rename a finished file or folder to its place on the same file system. A file at `target` is replaced.

    Args:
        durable: a file's content and the new name are on disk when this returns. Of a folder only the name is.

    Raises:
        OSError: `target` is a folder that is not empty, or lies on another file system.
    """
    if durable and source.is_file() and not source.is_symlink():
        sync(source)
    os.replace(source, target)  # noqa: PTH105 - the one place that renames
    if durable:
        sync(target.parent)


def put_folder_in_place(source: Path, target: Path) -> None:
    """Put a finished folder where an older one may be. A kill in between leaves no folder there, never half of one."""
    shutil.rmtree(target, ignore_errors=True)
    put_in_place(source, target)


def replace_link(path: Path, target: str) -> None:
    """Let the symbolic link `path` point to `target`."""
    temporary = temporary_beside(path)
    temporary.symlink_to(target)
    try:
        put_in_place(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def temporary_beside(path: Path) -> Path:
    """Return a hidden name in the same folder that nobody else uses."""
    name = os.fsdecode(os.fsencode(path.name)[:_NAME_BYTES])
    return path.with_name(f".{name}.{secrets.token_hex(6)}.tmp")


def sync(path: Path) -> None:
    """Bring a file's content, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that syncs no folders
            raise
    finally:
        os.close(descriptor)
