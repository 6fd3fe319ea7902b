"""Where ty puts the stubs of Python's own modules that it unpacks, so that an answer can show them (room `tools/`).

In: a workspace. Out: a folder of Forklock's cache, the environment by which ty uses it. What lies in it was written by
a server that reads a repository: it is read as text, and without following links out of it (`Asker.foreign`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tools.lsp.servers import caches


def writes(root: Path) -> tuple[Path, ...]:
    """None where there is no cache to write to: then the stubs are in the server's own scratch, which nobody else
    sees."""
    folder = caches.made("ty", root)
    return (folder,) if folder else ()


def environment(root: Path) -> Mapping[str, str]:
    folder = next(iter(writes(root)), None)
    return {"XDG_CACHE_HOME": str(folder)} if folder else {}
