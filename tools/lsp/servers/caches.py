"""Folders in Forklock's cache where servers keep what they derive of a workspace, one for each (room `tools/`).

In: a server's name, a workspace, or a file that stands for it. Out: a folder, which exists, with a link to what it is
about. Folders about what is gone are removed. Not covered: how large they grow.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from tools.lsp.servers.places import indexes_dir


def folder_of(server: str, about: Path) -> Path:
    """Where it is; nothing is made."""
    return indexes_dir() / server / hashlib.sha256(os.fsencode(about)).hexdigest()[:16]


def made(server: str, about: Path, link: str = "workspace") -> Path | None:
    """The folder, with a link to `about` in it; None where there is no cache to write to."""
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
