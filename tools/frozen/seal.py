"""Records the state of all that is frozen in a tree, to compare with a later one.

In: a root and a `Frozen` set. Out: a seal, which is an `Entry` for each path; two seals show what was changed. Links
are never followed, and only regular files are read. A test file that was written while tests ran and then put back is
found by its inode's change time, which no program sets.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from forklock.tools.frozen.frozen import Frozen
from forklock.tools.frozen.runner_files import is_built, is_injected, is_settings
from forklock.tools.languages.known import language_of

MAX_BYTES = 64 * 1024 * 1024
_Sign = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """The state of one path."""

    kind: Literal["whole", "part"]
    content: str
    """Digest of the frozen bytes or parts; of a link where it leads."""
    sign: _Sign
    """Inode, size, times: differs after any write."""


@dataclass(slots=True)
class Sealer:
    """Takes seals of trees that hold mostly the same files: what was read once is not read again."""

    frozen: Frozen
    _known: dict[tuple[str, _Sign], str] = field(default_factory=dict)
    _kinds: dict[str, Literal["whole", "part"] | None] = field(default_factory=dict)

    def take(self, root: Path) -> dict[str, Entry]:
        """By path. Reads what is frozen and was not read before."""
        return dict(self._entries(root))

    def _entries(self, root: Path) -> Iterator[tuple[str, Entry]]:
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            try:
                with os.scandir(root / folder) as scan:
                    entries = sorted(scan, key=lambda entry: entry.name)
            except OSError:
                continue
            for entry in entries:
                path = f"{folder}/{entry.name}".lstrip("/")
                if entry.is_dir(follow_symlinks=False):
                    if self._entered(path):
                        waiting.append(path)
                    continue
                if path not in self._kinds:
                    self._kinds[path] = self._kind(path)
                kind = self._kinds[path]
                if kind is not None:
                    yield path, self._entry(Path(entry.path), path, kind)

    def _entered(self, path: str) -> bool:
        pure = PurePosixPath(path)
        if pure.name in {".git", ".forklock"} or pure.name.startswith(".forklock-report-"):
            return False
        return pure.name == "__pycache__" or not is_built(path)

    def _kind(self, path: str) -> Literal["whole", "part"] | None:
        pure = PurePosixPath(path)
        if pure.parent.name == "__pycache__":  # compiled from what is frozen: it would run in its place
            source = pure.parent.parent / f"{pure.name.partition('.')[0]}.py"
            return "whole" if self.frozen.holds(source.as_posix()) else None
        if self.frozen.holds(path) is not None or self.frozen.displaced(path) is not None:
            return "whole"
        return "part" if is_settings(path) or path in self.frozen.parts else None

    def _entry(self, file: Path, path: str, kind: Literal["whole", "part"]) -> Entry:
        try:
            found = file.lstat()
        except OSError:
            return Entry(kind, "unreadable", ())
        sign = (found.st_ino, found.st_size, found.st_mode, found.st_mtime_ns, found.st_ctime_ns)
        known = self._known.get((path, sign))
        if known is None:
            known = self._known[path, sign] = self._content(file, path, kind, found)
        return Entry(kind, known, sign)

    def _content(self, file: Path, path: str, kind: str, found: os.stat_result) -> str:
        runs = found.st_mode & 0o111
        try:
            if stat.S_ISLNK(found.st_mode):
                return f"link to {os.readlink(file)}"  # noqa: PTH115
            if not stat.S_ISREG(found.st_mode):
                return f"no regular file ({stat.S_IFMT(found.st_mode):o})"
            if found.st_size > MAX_BYTES:
                return f"{found.st_size} bytes, {found.st_mtime_ns}"
            with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as source:
                data = source.read(MAX_BYTES + 1)
        except OSError as error:
            return f"unreadable: {error.errno}"
        if kind == "part":
            return repr(self.frozen.parts_of(path, data))
        return f"{bool(runs)} {hashlib.sha256(data).hexdigest()}"


def broken_seals(before: dict[str, Entry], after: dict[str, Entry]) -> dict[str, str]:
    """What an edit changed of all that is frozen: reasons by path."""
    found = {}
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old is None and new is not None:
            if new.content not in _NOTHING:
                found[path] = "was made"
        elif new is None and old is not None:
            if old.content not in _NOTHING:
                found[path] = "was removed"
        elif old is not None and new is not None and old.content != new.content:
            found[path] = "was changed" if old.kind == "whole" else "has changed where it judges"
    return found


_NOTHING = frozenset({"()", "None"})
"""Parts of a file that has none."""


def broken_in_use(frozen: Frozen, before: dict[str, Entry], after: dict[str, Entry]) -> dict[str, str]:
    """What was changed while the tests ran. New files in the tests' own folders are allowed, unless they say how the
    next tests are run."""
    found = {
        path: what
        for path, what in broken_seals(before, after).items()
        if what != "was made" or is_injected(path) or path.endswith(".pyc")
        or frozen.displaced(path)
    }  # fmt: skip
    for path, old in before.items():
        new = after.get(path)
        if (
            new is not None
            and old.kind == "whole"
            and new.sign != old.sign
            and language_of(path).kept_by_runs
            and path not in found
        ):
            found[path] = "was written while the tests ran"
    return found
