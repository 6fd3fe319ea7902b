"""Keeps the workspace's source files, as they are and as they were at the baseline.

In: a root and file suffixes. Out: texts, what changed since the last call, and which files differ from the baseline.
A file is read again only when its stat changed. Not covered: files over 1 MB in the baseline.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from lsprotocol.types import FileChangeType

from forklock.tools.contract import EditRefused
from forklock.tools.files import read_document

MAX_BASELINE_BYTES = 1_000_000
_SKIP = frozenset({"node_modules", "__pycache__", "site-packages", "target"})
_CONFIG = frozenset(
    {"pyproject.toml", "ruff.toml", ".ruff.toml", "ty.toml", "pyrightconfig.json", "tsconfig.json", "jsconfig.json",
     "go.mod", "Cargo.toml", "compile_commands.json", "compile_flags.txt"}
)  # fmt: skip

_Stat = tuple[int, int, int]


class Sources:
    """The source files of one workspace."""

    def __init__(self, root: Path, suffixes: frozenset[str]) -> None:
        self.root = root
        self._suffixes = suffixes
        self._stats: dict[Path, _Stat] = {}
        self._texts: dict[Path, tuple[_Stat, str]] = {}
        self._baseline: dict[Path, str] = {}
        self._differing: set[Path] = set()
        self._untold: dict[Path, FileChangeType] = {}
        self._touched: dict[Path, None] = {}
        self.set_baseline()
        self._untold.clear()  # servers find by themselves what was there before them
        self._touched.clear()

    # --- now -------------------------------------------------------------------------------------

    def read(self, path: Path) -> str | None:
        """The text on disk, without BOM; None where there is no such text file."""
        stat = _stat(path)
        self._note(path, stat)
        if stat is None:
            self._texts.pop(path, None)
            return None
        held = self._texts.get(path)
        if held is None or held[0] != stat:
            try:
                text = read_document(path, path.name).text.removeprefix("\ufeff")
            except EditRefused:
                return None
            held = self._texts[path] = (stat, text)
        return held[1]

    def once(self) -> Callable[[Path], str | None]:
        """A version of `read` that looks at each file once."""
        seen: dict[Path, str | None] = {}

        def text(path: Path) -> str | None:
            if path not in seen:
                seen[path] = self.read(path)
            return seen[path]

        return text

    @property
    def changed(self) -> bool:
        """Whether `take_changes` has something to report."""
        return bool(self._untold)

    def files(self) -> list[Path]:
        """Source files known so far, sorted."""
        return sorted(p for p in self._stats if p.suffix in self._suffixes)

    def sync(self, paths: Iterable[Path] | None) -> None:
        """Look again at these paths (a folder stands for what is in it), or at everything."""
        named = set(paths) if paths is not None else {self.root}
        folders = [p for p in named if p.is_dir()]
        found = {f for folder in folders for f in self._walk(folder)}
        known = {f for f in self._stats if any(f.is_relative_to(p) for p in named)}
        for path in sorted((named - set(folders)) | found | known):
            self._note(path, _stat(path))

    def take_changes(self) -> dict[Path, FileChangeType]:
        """What changed on disk since the last call."""
        untold, self._untold = self._untold, {}
        return untold

    def _note(self, path: Path, stat: _Stat | None) -> None:
        old = self._stats.get(path)
        if stat == old or not path.is_relative_to(self.root):
            return
        if stat is None:
            del self._stats[path]
            self._untold[path] = FileChangeType.Deleted
        else:
            self._stats[path] = stat
            self._untold[path] = FileChangeType.Changed if old else FileChangeType.Created
        self._differing.add(path)
        self._touched.pop(path, None)
        self._touched[path] = None

    def touched(self) -> list[Path]:
        """Files that changed since the servers were started, the last first."""
        return [path for path in reversed(self._touched) if path in self._stats]

    def mentioning(self, word: str) -> Iterator[Path]:
        """Source files that hold this word."""
        pattern = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
        for path in self.files():
            text = self.read(path)
            if text is not None and word in text and pattern.search(text):
                yield path

    # --- then ------------------------------------------------------------------------------------

    def set_baseline(self) -> None:
        """Make what is on disk at this moment the baseline."""
        self.sync(None)
        self._differing.clear()
        small = (p for p in self.files() if self._stats[p][1] <= MAX_BASELINE_BYTES)
        self._baseline = {p: text for p in small if (text := self.read(p)) is not None}

    def baseline(self, path: Path) -> str | None:
        """The text at the baseline; None for a file that was not there."""
        if path in self._baseline:
            return self._baseline[path]
        return None if path in self._differing else self.read(path)

    def differing(self) -> dict[Path, str]:
        """Source files that differ from the baseline, with their text there ("" for new ones)."""
        return {
            p: self._baseline.get(p, "")
            for p in sorted(self._differing)
            if p.suffix in self._suffixes and self._baseline.get(p) != self.read(p)
        }

    def vanished(self) -> list[Path]:
        """Files of the baseline that were deleted. Servers resolve no import to a document that has no file."""
        return [p for p in sorted(self._differing) if p in self._baseline and self.read(p) is None]

    def _walk(self, folder: Path) -> Iterator[Path]:
        for where, folders, files in os.walk(folder):
            here = Path(where)
            folders[:] = sorted(f for f in folders if f not in _SKIP and not f.startswith("."))
            if "pyvenv.cfg" in files:
                folders.clear()
                continue
            for name in files:
                path = here / name
                if (path.suffix in self._suffixes or name in _CONFIG) and not path.is_symlink():
                    yield path


def _stat(path: Path) -> _Stat | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)
