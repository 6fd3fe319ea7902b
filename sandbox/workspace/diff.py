"""Records a workspace, and makes a git diff of how it differs now. Git never sees the tree.

In: a directory, a git repo or not. Out: a unified diff that `git apply` turns into the present state. We walk the
tree ourselves, without following links, and give git the contents of what differs; so no configuration, attribute,
filter, hook or nested repository of the tree has an effect. Ignore rules are read by us, too. Not covered:
empty directories (git has no name for them), and what lies in a `.git`, at any depth.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from forklock.sandbox.contract import SandboxFault
from forklock.sandbox.git.objects import (
    LINK,
    Contents,
    git_mode,
    large_id,
    object_id,
    write_loose,
    write_trees,
)
from forklock.sandbox.git.repository import rules_at_top, tracked_names
from forklock.sandbox.git.run import BYTES, TEXT, make_git_dir, run_git
from forklock.sandbox.git.tree import Always, Deadline, Scan
from forklock.sandbox.linux.nofollow import folder_of, open_regular, read_all, read_inside
from forklock.sandbox.linux.private import Shared

MAX_FILE_BYTES = 64 << 20
"""Largest file that can be part of a diff, in bytes. Of a larger one only whether it changed is known."""
MAX_CHANGED_BYTES = 256 << 20
"""Bytes of all old and new contents that one diff may hold."""
_TICK_NS = 12_000_000
_COARSE_NS = 2_000_000_000
"""A file that changed less than this ago can change again without a trace in its stats."""

_DIFF = (
    "diff-tree", "-p", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color",
    "--src-prefix=a/", "--dst-prefix=b/",
)  # fmt: skip

Stats = tuple[int, int, int, int, int]
Files = dict[str, tuple[int, str]]
"""By path: git's mode, and the id of the content."""
Seen = dict[str, tuple[Stats, str]]
"""Content ids of files by their stats: any change of a file changes those, so that it is read once."""


class Baseline:
    """The state of a directory at one moment, kept in a private directory that all its forks share."""

    def __init__(self, root: Path, folder: Path, environments: Sequence[str] = ()) -> None:
        self.shared = Shared(folder)
        self._left = tuple(environments)
        self._always = Always(tracked_names(root))
        """Files that count although a rule ignores them: they are tracked, or were there."""
        self._top = rules_at_top(root)
        self._contents = Contents(folder / "contents")
        self._files: Files = {}
        self._seen: Seen = {}

    @property
    def folder(self) -> Path:
        return self.shared.folder

    @classmethod
    def take(cls, root: Path, folder: Path, environments: Sequence[str] = ()) -> Baseline:
        """Record `root` as it is now. Reads every file that git does not ignore, and keeps its content.

        Args:
            environments: paths of virtual environments, which are no content.

        Raises:
            SandboxFault: a file cannot be read, the disk is full, or it takes too long.
        """
        with _disk_faults(folder):
            base = cls(root, folder, environments)
            for view, attributes in (("text", TEXT), ("bytes", BYTES)):
                make_git_dir(folder / view, attributes=attributes)
            base._files, base._seen = base._look(root, {}, keep=base._contents)
            base._always = Always(base._always.names | base._files.keys())
        return base

    def see(self, tree: Path) -> Seen:
        """Read a tree that never changes, so that `diff` can start from it."""
        return self._look(tree, self._seen, settled=True)[1]

    def changed(self, root: Path, seen: Seen | None = None) -> list[str]:
        """Return the paths that are new, gone or different, sorted. `seen`: what was read before; updated."""
        return self._changes(root, seen)[0]

    def diff(self, root: Path, seen: Seen | None = None, *, without: Collection[str] = ()) -> str:
        """Return a unified diff of `root` as it is now against the baseline. Files that are not UTF-8 appear as git's
        binary patches, so that the text is always valid.

        Args:
            seen: what was read of `root` before; updated.
            without: paths left out.

        Raises:
            SandboxFault: a file cannot be read, what changed is too large, or it takes too long.
        """
        names, files = self._changes(root, seen)
        chosen = [name for name in names if name not in without]
        if not chosen:
            return ""
        with _disk_faults(self.folder):
            pairs = self._contents_of(chosen, root, files)
            texts = [pair for pair in pairs if pair.is_text]
            return self._told(texts, "text") + self._told(
                [pair for pair in pairs if not pair.is_text], "bytes"
            )

    def as_at_first(self, path: str) -> bytes | None:
        """Content of a file, where a link led, or the names below a folder; None where nothing was, or a file that is
        too large."""
        entry = self._files.get(path)
        if entry:
            return None if _is_large(entry[1]) else self._contents.get(entry[1])
        inside = [name for name in self._files if name.startswith(f"{path}/")]
        return os.fsencode("\n".join(inside)) if inside else None

    def _changes(self, root: Path, seen: Seen | None) -> tuple[list[str], Files]:
        files, now = self._look(root, seen or self._seen)
        if seen is not None:
            seen.clear()
            seen.update(now)
        names = [
            name for name in files.keys() | self._files.keys() if files.get(name) != self._files.get(name)
        ]
        return sorted(names), files

    def _look(
        self, root: Path, known: Seen, *, keep: Contents | None = None, settled: bool = False
    ) -> tuple[Files, Seen]:
        """Return the files that are not ignored. `keep`: where contents go. `settled`: the files cannot change."""
        deadline = Deadline()
        files: Files = {}
        seen: Seen = {}
        for name, folder, last, found in Scan(root, self._always, self._top, self._left, deadline).files():
            stats = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_mode)
            before = known.get(name)
            if before is not None and before[0] == stats:
                files[name] = git_mode(found.st_mode), before[1]
                seen[name] = before
                continue
            looked_ns = time.time_ns()
            try:
                oid = _content_id(folder, last, found, keep, deadline)
            except (FileNotFoundError, IsADirectoryError):  # gone meanwhile
                continue
            except PermissionError as error:
                raise SandboxFault(
                    f"{name} cannot be read: {error.strerror}",
                    fix="make it readable, or let .gitignore name it",
                ) from error
            files[name] = git_mode(found.st_mode), oid
            if settled or _is_settled(found.st_ctime_ns, looked_ns):
                seen[name] = stats, oid
        return files, seen

    def _contents_of(self, names: Iterable[str], root: Path, files: Files) -> list[_Pair]:
        """Return the old and new contents of what changed.

        Raises:
            SandboxFault: too large.
        """
        pairs, total = [], 0
        for name in names:
            old, new = self._files.get(name), files.get(name)
            if any(entry and _is_large(entry[1]) for entry in (old, new)):
                raise SandboxFault(
                    f"{name} changed and is too large for a diff (over {MAX_FILE_BYTES >> 20} MiB)",
                    fix="remove it, or let .gitignore name it",
                )
            before = (old[0], self._contents.get(old[1])) if old else None
            after = _content(root, name, new[0]) if new else None
            pair = _Pair(name, before, after)
            total += sum(len(entry[1]) for entry in (before, after) if entry)
            if total > MAX_CHANGED_BYTES:
                raise SandboxFault(
                    f"the changes are too large for a diff (over {MAX_CHANGED_BYTES >> 20} MiB, {name} among them)",
                    fix="let .gitignore name what is not source",
                )
            pairs.append(pair)
        return pairs

    def _told(self, pairs: Iterable[_Pair], view: str) -> str:
        """Return git's diff between two trees that hold nothing but what changed."""
        git_dir = self.folder / view
        sides: tuple[Files, Files] = ({}, {})
        for pair in pairs:
            for side, entry in zip(sides, (pair.before, pair.after), strict=True):
                if entry:
                    side[pair.name] = entry[0], write_loose(git_dir / "objects", "blob", entry[1])
        if sides == ({}, {}):
            return ""
        trees = [write_trees(git_dir / "objects", side) for side in sides]
        raw = run_git([*_DIFF, *trees], git_dir=git_dir)
        try:
            return raw.decode()
        except UnicodeDecodeError:  # git cuts the line that it shows behind `@@` anywhere
            return re.sub(rb"(?m)^(@@ -[\d, +-]+ @@).*$", rb"\1", raw).decode()


@dataclass(frozen=True, slots=True)
class _Pair:
    """A file that changed: mode and content before and after; None if there is none."""

    name: str
    before: tuple[int, bytes] | None
    after: tuple[int, bytes] | None

    @property
    def is_text(self) -> bool:
        try:
            for entry in (self.before, self.after):
                if entry:
                    entry[1].decode()
        except UnicodeDecodeError:
            return False
        return True


def _is_large(oid: str) -> bool:
    return oid.startswith("large-")


def _is_settled(changed_ns: int, looked_ns: int) -> bool:
    # Times without anything below a millisecond come from a file system that counts in seconds or so.
    return changed_ns + (_TICK_NS if changed_ns % 1_000_000 else _COARSE_NS) <= looked_ns


def _content_id(
    folder: int, name: str, found: os.stat_result, keep: Contents | None, deadline: Deadline
) -> str:
    if stat.S_ISLNK(found.st_mode):
        data = os.readlink(os.fsencode(name), dir_fd=folder)
    else:
        fd = open_regular(folder, name)
        try:
            deadline.check("reading the workspace")
            size = os.fstat(fd).st_size
            read = read_all(fd, MAX_FILE_BYTES) if size <= MAX_FILE_BYTES else None
            if read is None:
                return large_id(fd, size, lambda: deadline.check("reading the workspace"))
            data = read
        finally:
            os.close(fd)
    oid = object_id("blob", data)
    if keep is not None:
        keep.add(oid, data)
    return oid


def _content(root: Path, name: str, mode: int) -> tuple[int, bytes] | None:
    """Return the content as it is now; None if it has vanished meanwhile."""
    if mode != LINK:
        data = read_inside(root, name, MAX_FILE_BYTES)
        return None if data is None else (mode, data)
    try:
        with folder_of(root, name) as (folder, last):
            return mode, os.readlink(os.fsencode(last), dir_fd=folder)
    except OSError:
        return None


@contextlib.contextmanager
def _disk_faults(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SandboxFault(
            f"what the workspace was cannot be kept in {folder.parent}: {error.strerror or error}",
            fix="see that TMPDIR has room, or set TMPDIR to a larger file system",
        ) from error
