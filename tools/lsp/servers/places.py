"""Where installed servers lie, and the cache folders in which servers keep what they derive of a workspace.

The folders follow the rule of `forklock.models.paths` (`FORKLOCK_HOME`, else the platform's folders), which this
room may not
import. A cache folder holds a link to what it is about, and is removed when that is gone. Not covered: how large cache
folders grow.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import platformdirs

from forklock.tools.contract import ToolFault


def _home() -> Path | None:
    home = os.environ.get("FORKLOCK_HOME", "").strip()
    return Path(home).expanduser().absolute() if home else None


def servers_dir() -> Path:
    """Folder of installed servers; also an npm prefix, so `node_modules/` lies in it."""
    return (_home() or platformdirs.user_data_path("forklock", appauthor=False)) / "servers"


def indexes_dir() -> Path:
    """Folder for what servers write about a workspace and would otherwise write into it."""
    home = _home()
    cache = home / "cache" if home else platformdirs.user_cache_path("forklock", appauthor=False)
    return cache / "indexes"


def folder_of(server: str, about: Path) -> Path:
    """The cache folder of a server for a workspace, or for a file that stands for it. It may not exist."""
    return indexes_dir() / server / hashlib.sha256(os.fsencode(about)).hexdigest()[:16]


def made(server: str, about: Path, link: str = "workspace") -> Path | None:
    """Make that folder, with a link to `about` in it. Returns None where no cache can be written."""
    folder = folder_of(server, about)
    _prune(folder.parent, link)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        inside = folder / link
        if not inside.is_symlink() or inside.readlink() != about:
            inside.unlink(missing_ok=True)
            inside.symlink_to(about)
    except OSError:
        return None
    return folder


def _prune(folder: Path, link: str) -> None:
    for kept in folder.glob("*"):
        if (kept / link).is_symlink() and not (kept / link).exists():
            shutil.rmtree(kept, ignore_errors=True)


def the_one(folder: Path, pattern: str) -> Path:
    """The first file of unpacked packages that matches. Raises ToolFault where there is none."""
    found = sorted(folder.glob(pattern))
    if not found:
        raise ToolFault(f"the packages hold no {pattern}", fix="report this, with your system's name")
    return found[0]
