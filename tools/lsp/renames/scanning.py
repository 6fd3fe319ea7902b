"""Finds the texts of a workspace that hold a name, and the places where a program puts that name together.

Files that git ignores count; links are not followed. Not covered: environments, what packages install, unpacked builds
that git does not track, files over 1 MB, and names whose parts come from elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from forklock.tools.contract import Uncovered
from forklock.tools.index.files import all_files, read_regular
from forklock.tools.lsp.asking.answers import lines_of

MOST_FILES = 20_000
_SKIPPED = frozenset(
    {"node_modules", "__pycache__", "site-packages", "target", "build", "dist", ".git", ".forklock", ".tox", ".nox",
     ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".venv", ".cache", ".eggs"}
)  # fmt: skip
_LOCKS = frozenset({"package-lock.json", "pnpm-lock.yaml", "go.sum"})
_LOOKS_UP = re.compile(
    r"getattr|setattr|hasattr|delattr|globals\(|locals\(|vars\(|__dict__|import_module|attrgetter|methodcaller|patch|\w\["
)
_BEGINNING = re.compile(r"[\"'`](\w{2,})(?:[\"'`]\s*(?:\+|%|f[\"'])|\{|%s|%\(|\$\{)")
_END = re.compile(r"(?:\}|%s|\)s|\+\s*f?[\"'`])(\w{2,})[\"'`]")


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


def composed(path: str, text: str, name: str) -> Iterator[Uncovered]:
    """Places that put a name together which may be this one: a fixed part is a beginning or an end of the name, near
    a line that looks something up by a name. Examples: `getattr(self, "cmd_" + word)`, ``obj[`on${word}`]``."""
    looked_up = -9
    for number, line in enumerate(lines_of(text), 1):
        if _LOOKS_UP.search(line):
            looked_up = number
        if not ("{" in line or "+" in line or "%" in line):
            continue
        parts = [m[1] for m in _BEGINNING.finditer(line) if name.startswith(m[1]) and name != m[1]]
        parts += [m[1] for m in _END.finditer(line) if name.endswith(m[1]) and name != m[1]]
        near = (
            looked_up == number or _LOOKS_UP.search("".join(lines_of(text)[number : number + 5])) is not None
        )
        if parts and (near or number - looked_up <= 5):
            yield Uncovered(path, number, f"puts a name together with {parts[0]!r}", line.strip())
