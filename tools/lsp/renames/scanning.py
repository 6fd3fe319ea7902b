"""Every text of a workspace that may name a definition, whether git ignores it or not (room `tools/`).

In: a root. Out: paths and texts that hold a word. Links are not followed. Not covered: environments, what packages
install, unpacked builds that git does not track, and files over 1 MB.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tools.index.files import all_files, read_regular

MOST_FILES = 20_000
_SKIPPED = frozenset(
    {"node_modules", "__pycache__", "site-packages", "target", "build", "dist", ".git", ".forklock", ".tox", ".nox",
     ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".venv", ".cache", ".eggs"}
)  # fmt: skip
_LOCKS = frozenset({"package-lock.json", "pnpm-lock.yaml", "go.sum"})


def texts_with(root: Path, name: str) -> Iterator[tuple[str, str]]:
    """(path, text) of every file that holds this name, sorted."""
    for path in sorted({*_walk(root), *all_files(root)}):
        if not _locks(path) and (text := read_regular(root / path)) is not None and name in text:
            yield path, text


def _locks(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name in _LOCKS or name.endswith((".lock", ".map", ".min.js"))


def _walk(root: Path) -> Iterator[str]:
    count = 0
    for folder, folders, names in os.walk(root):
        if "pyvenv.cfg" in names:
            folders.clear()
            continue
        folders[:] = sorted(f for f in folders if f not in _SKIPPED and not f.endswith(".egg-info"))
        inner = Path(folder).relative_to(root)
        for name in sorted(names):
            count += 1
            if count > MOST_FILES:
                return
            yield (inner / name).as_posix()
