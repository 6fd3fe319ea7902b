"""Inspects paths that a repo may have made, and reads small texts. Nothing here raises, blocks or reads much.

If a path cannot be inspected (no permission, a loop of links, a NUL in it), it counts as missing.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

_MAX_BYTES = 1_000_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


def real(path: Path) -> Path:
    """Return the path without links, as far as they can be resolved."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):
        return path


def exists(path: Path) -> bool:
    """Return whether something is there, links followed."""
    return _mode(path, follow=True) is not None


def is_file(path: Path) -> bool:
    """Return whether a regular file is there, links followed."""
    return stat.S_ISREG(_mode(path, follow=True) or 0)


def is_folder(path: Path) -> bool:
    """Return whether a folder is there, links followed."""
    return stat.S_ISDIR(_mode(path, follow=True) or 0)


def is_real_file(path: Path) -> bool:
    """Return whether a regular file is there that is no link."""
    return stat.S_ISREG(_mode(path, follow=False) or 0)


def is_real_folder(path: Path) -> bool:
    """Return whether a folder is there that is no link."""
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
    """Return a name of an environment or a toolchain if it is no path, else ""."""
    found = _NAME.fullmatch(text.strip())
    return found[0] if found and ".." not in found[0] else ""


def user_home() -> Path:
    """Return the user's home folder; for a user without one, a path that does not exist."""
    return Path(os.path.expanduser("~")).absolute()  # noqa: PTH111  (Path.home raises)
