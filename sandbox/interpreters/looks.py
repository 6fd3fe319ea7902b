"""Looks at paths that a repo may have made: what is there, and small texts. Nothing here raises, blocks or reads much.

In: a path. Out: facts. Where a path cannot be looked at (no right to, a loop of links, a NUL in it) nothing is there.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

_MAX_BYTES = 1_000_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


def real(path: Path) -> Path:
    """The path without links; as far as that can be told."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):
        return path


def exists(path: Path) -> bool:
    """Whether something is there, links followed."""
    return _mode(path, follow=True) is not None


def is_file(path: Path) -> bool:
    """Whether a regular file is there, links followed."""
    return stat.S_ISREG(_mode(path, follow=True) or 0)


def is_folder(path: Path) -> bool:
    """Whether a folder is there, links followed."""
    return stat.S_ISDIR(_mode(path, follow=True) or 0)


def is_real_file(path: Path) -> bool:
    """Whether a regular file is there, and no link."""
    return stat.S_ISREG(_mode(path, follow=False) or 0)


def is_real_folder(path: Path) -> bool:
    """Whether a folder is there, and no link."""
    return stat.S_ISDIR(_mode(path, follow=False) or 0)


def _mode(path: Path, *, follow: bool) -> int | None:
    try:
        return path.stat(follow_symlinks=follow).st_mode
    except (OSError, ValueError):
        return None


def read_small(file: Path) -> str:
    """Read a settings file: "" unless it is a regular file of a sane size. A link is not followed."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return ""
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        return ""
    with os.fdopen(handle, "rb") as source:
        data = source.read(_MAX_BYTES + 1)
    return data.decode("utf-8", "replace") if len(data) <= _MAX_BYTES else ""


def plain_name(text: str) -> str:
    """A name of an environment or a toolchain that is surely no path; "" for all else."""
    found = _NAME.fullmatch(text.strip())
    return found[0] if found and ".." not in found[0] else ""


def user_home() -> Path:
    """The user's home folder; a path that is not there for a user without one."""
    return Path(os.path.expanduser("~")).absolute()  # noqa: PTH111  (Path.home raises)
