"""Which paths of a workspace may be touched.

Comes in: a root folder and a path that a model wrote. Goes out: a host path that is surely inside, or `EditRefused`.
"""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath

from forklock.tools.contract import EditRefused

FORBIDDEN_PARTS = frozenset({".git", ".forklock"})


def resolve(root: Path, path: str) -> Path:
    """The host path of a workspace path, symlinks followed.

    Raises:
        EditRefused: absolute, climbing, through a link that leaves the workspace, or inside `.git` or
            `.forklock`, or not a regular file.
    """
    pure = PurePosixPath(path)
    if not path or "\0" in path or "\\" in path or pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise EditRefused(
            f"{path!r} is not a path inside the workspace: write it relative to the root, with '/'."
        )
    base = root.resolve()
    try:
        target = (base / pure).resolve()
        mode = target.stat().st_mode if target.exists() else None
    except (OSError, RuntimeError, ValueError) as error:
        raise EditRefused(f"{path!r} cannot be used: {error}.") from error
    if not target.is_relative_to(base) or target == base:
        raise EditRefused(f"{path!r} leads out of the workspace through a link.")
    parts = (*pure.parts, *target.relative_to(base).parts)
    if any(part.casefold() in FORBIDDEN_PARTS for part in parts):
        raise EditRefused(f"{path!r} belongs to git or to the harness and cannot be edited.")
    if mode is not None and not stat.S_ISREG(mode):
        raise EditRefused(f"{path!r} is not a regular file.")
    return target
