"""Finds where a workspace's own modules and projects begin: one package, `src`, or many in a monorepo.

In: a root. Out: folders that imports start from; project files of TypeScript. It reads only names of files, and
pytest's `pythonpath`. Not covered: paths that programs put together (`sys.path`); a server does not know what is
imported through such a path, and answers say so.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DEPTH = 6
MOST = 64
"""Folders that imports start from."""
MOST_FOLDERS = 5_000
_SKIP = frozenset({"node_modules", "__pycache__", "site-packages", "target", "build", "dist", "venv", "env"})
_PACKAGED = frozenset({"pyproject.toml", "setup.py", "setup.cfg"})


def import_roots(root: Path) -> list[Path]:
    """Folders that Python's imports start from, the root first; [] where a server's own choice is right."""
    found: dict[Path, None] = {}
    for folder, folders, names in _folders(root):
        if folder != root and _PACKAGED & set(names):
            found[folder / "src" if "src" in folders else folder] = None
        if "__init__.py" in names and not (folder.parent / "__init__.py").is_file() and folder != root:
            found[folder.parent] = None
    for path in _pythonpath(root):
        found[path] = None
    usual = [root, *(root / name for name in ("src", "python") if (root / name).is_dir())]
    if (root / "tests").is_dir() and not (root / "tests" / "__init__.py").is_file():
        usual.append(root / "tests")
    new = [path for path in found if path not in usual]
    return [*usual, *new][:MOST] if new and not _own_roots(root) else []


def script_projects(root: Path) -> list[Path]:
    """Project files of TypeScript and JavaScript."""
    return [
        folder / name
        for folder, _, names in _folders(root)
        for name in sorted(names)
        if name in ("jsconfig.json", "tsconfig.json")
    ]


def _folders(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    for count, (where, folders, names) in enumerate(os.walk(root)):
        folder = Path(where)
        if count > MOST_FOLDERS or "pyvenv.cfg" in names:
            folders.clear()
            continue
        folders[:] = sorted(f for f in folders if f not in _SKIP and not f.startswith("."))
        yield folder, list(folders), names
        if len(folder.relative_to(root).parts) >= DEPTH:
            folders.clear()


def _pythonpath(root: Path) -> Iterator[Path]:
    """The folders inside the workspace that pytest is told to put on the path."""
    options = _table(root / "pyproject.toml", "tool", "pytest", "ini_options").get("pythonpath", ())
    for word in [options] if isinstance(options, str) else options:
        folder = root / str(word)
        if folder.is_dir() and folder.resolve().is_relative_to(root):
            yield folder.resolve()


def _own_roots(root: Path) -> bool:
    """Whether the repository itself says where imports start."""
    own = _table(root / "ty.toml", "environment") | _table(
        root / "pyproject.toml", "tool", "ty", "environment"
    )
    return "root" in own


def _table(file: Path, *names: str) -> dict[str, Any]:
    try:
        found: Any = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    for name in names:
        found = found.get(name, {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}
