"""Finds the files of a workspace that git would track, without git.

In: a folder that a repo or a program filled. Out: each regular file and link with its stats. Links are not followed,
pipes, sockets and devices are no content, and `.git` at any depth is git's own; what is in a nested repository or a
submodule counts like the rest. Ignored files count where the repository tracks them. Bounded in time.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from forklock.sandbox.contract import SandboxFault
from forklock.sandbox.git.ignored import MAX_RULES_BYTES, Ignore, Rules
from forklock.sandbox.git.repository import is_gits, rules_at_top, tracked_names
from forklock.sandbox.linux.nofollow import Walk, open_regular, read_all

SCAN_S = 60.0
"""Seconds (wall clock) in which all files are found and read."""
OURS = ".forklock"


class Deadline:
    """A point in time after which work on a workspace fails."""

    def __init__(self, seconds: float = SCAN_S) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def check(self, doing: str) -> None:
        """Raises SandboxFault: the time is over."""
        if time.monotonic() > self._end:
            raise SandboxFault(
                f"{doing} took over {self._seconds:.0f} seconds",
                fix="let .gitignore name what is not source (data, build results), or make its rules simpler",
            )


class Always:
    """Names of files that count though a rule ignores them, and the folders that hold any."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = frozenset(names)
        folders = {name.rpartition("/")[0] for name in self.names}
        self.folders = folders | {above for folder in folders for above in _folders_of(folder)}


class Scan:
    """Walks a folder."""

    def __init__(
        self, root: Path, always: Always, top: Ignore, left: Collection[str], deadline: Deadline
    ) -> None:
        self._root = root
        self._always = always.names
        self._holds = always.folders
        self._top = top
        self._left = frozenset(left) | {OURS}
        self._deadline = deadline

    def files(self) -> Iterator[tuple[str, int, str, os.stat_result]]:
        """Yield each file: its path, the descriptor of its folder (until the next one), its last step, its stats.

        Raises:
            SandboxFault: a folder cannot be read, lies too deep, or the time is over.
        """
        rules: dict[str, Ignore | None] = {}
        for path, fd, entries in Walk(self._root):
            self._deadline.check("looking through the workspace")
            here = self._rules_of(path, fd, any(name == ".gitignore" for name, _ in entries), rules)
            kept = []
            before = f"{path}/" if path else ""
            for name, found in entries:
                place = before + name
                if is_gits(name) or place in self._left:
                    continue
                if stat.S_ISDIR(found.st_mode):
                    if self._enters(place, here, rules):
                        kept.append((name, found))
                elif _is_content(found.st_mode) and self._counts(place, here):
                    yield place, fd, name, found
            entries[:] = kept

    def _rules_of(
        self, path: str, fd: int, has_rules: bool, rules: dict[str, Ignore | None]
    ) -> Ignore | None:
        """Return the rules of a folder; None if everything in it that is not tracked is ignored."""
        here = rules.pop(path) if path else self._top
        if here is None or not has_rules:
            return here
        return Ignore(Rules(_rules_text(fd, path), path), here)

    def _counts(self, place: str, here: Ignore | None) -> bool:
        return place in self._always or (here is not None and not here.ignores(place, is_folder=False))

    def _enters(self, place: str, here: Ignore | None, rules: dict[str, Ignore | None]) -> bool:
        ignored = here is None or here.ignores(place, is_folder=True)
        if ignored and place not in self._holds:
            return False
        rules[place] = None if ignored else here
        return True


def _rules_text(folder: int, path: str) -> bytes:
    """Return the text of a `.gitignore`; "" if it is no regular file. Git does not follow links there either."""
    try:
        fd = open_regular(folder, ".gitignore")
    except OSError:
        return b""
    try:
        text = read_all(fd, MAX_RULES_BYTES)
    finally:
        os.close(fd)
    if text is None:
        place = f"{path}/.gitignore" if path else ".gitignore"
        raise SandboxFault(f"{place} is larger than {MAX_RULES_BYTES >> 20} MiB", fix="make it smaller")
    return text


def _is_content(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _folders_of(name: str) -> Iterator[str]:
    at = name.find("/")
    while at > 0:
        yield name[:at]
        at = name.find("/", at + 1)


def list_files(root: Path, left: Collection[str] = (), seconds: float = SCAN_S) -> list[str]:
    """Return the files that git tracks or does not ignore, sorted. `left`: top-level entries that are left out.

    Raises:
        SandboxFault: see `Scan.files`.
    """
    scan = Scan(root, Always(tracked_names(root)), rules_at_top(root), left, Deadline(seconds))
    return sorted(place for place, _, _, _ in scan.files())
