"""Tells which tracked files differ from the last commit, as `git status` does, without git in the work tree.

In: a repository. Out: paths. A file is read where its size and time are not those that git's index has. What git
itself would have written differently counts as the same: line ends, `$Id$`, and a file that a filter of the user's
(such as git LFS) stands for. Not covered: what such a filter, other than git LFS, would make of an edited file: it
counts as unchanged.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from forklock.sandbox.contract import SandboxFault
from forklock.sandbox.git.ignored import parse
from forklock.sandbox.git.index import GITLINK, Entry
from forklock.sandbox.git.objects import LINK, git_mode, object_id
from forklock.sandbox.git.repository import Repository, open_repository
from forklock.sandbox.git.run import user_filters
from forklock.sandbox.git.tree import Deadline
from forklock.sandbox.history.history import open_history
from forklock.sandbox.linux.nofollow import folder_of, open_regular, read_inside

_MOST_BYTES = 1 << 30
"""Largest file that is read, in bytes."""
_ATTRIBUTES_BYTES = 1 << 20
_IDENT = re.compile(rb"\$Id:[^$\n]*\$")


def changed_files(root: Path) -> list[str]:
    """Return the tracked files that differ from the last commit, sorted; submodules are left out.

    Raises:
        IndexNotRead: git's index is damaged, or of a kind that is not known here.
        SandboxFault: the last commit cannot be read, or it takes too long.
    """
    repository = open_repository(root)
    if repository is None:
        raise SandboxFault(f"{root} is no git repository", fix="name a work tree")
    entries = [entry for entry in repository.tracked() if entry.mode != GITLINK]
    found = {entry.name for entry in entries if entry.stage}
    found.update(_in_work_tree(repository, [entry for entry in entries if not entry.stage]))
    found.update(_staged(repository, entries))
    return sorted(found)


def _in_work_tree(repository: Repository, entries: Iterable[Entry]) -> Iterator[str]:
    deadline = Deadline()
    written = repository.index_time()
    algorithm = "sha256" if repository.oid_bytes == 32 else "sha1"
    filtered: _Filtered | None = None
    for entry in entries:
        if entry.skipped:
            continue
        deadline.check("comparing the work tree with git's index")
        found = _stat(repository.root, entry.name)
        if found is None or _kind(found.st_mode) != _kind(entry.mode) or _mode_differs(entry, found):
            yield entry.name
        elif not _untouched(entry, found, written) and not _same(repository.root, entry, algorithm):
            filtered = filtered or _Filtered(repository.root, repository)
            if not filtered.stands_for(entry, algorithm):
                yield entry.name


def _stat(root: Path, name: str) -> os.stat_result | None:
    try:
        with folder_of(root, name) as (folder, last):
            return os.stat(last, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None


def _kind(mode: int) -> int:
    return stat.S_IFMT(mode)


def _mode_differs(entry: Entry, found: os.stat_result) -> bool:
    return entry.mode != LINK and git_mode(found.st_mode) != entry.mode


def _untouched(entry: Entry, found: os.stat_result, written: tuple[int, int]) -> bool:
    """Return whether size and time are still those in the index, and older than the index."""
    seconds, nanoseconds = divmod(found.st_mtime_ns, 10**9)
    same_time = seconds & 0xFFFFFFFF == entry.mtime[0] and entry.mtime[1] in (0, nanoseconds)
    return same_time and found.st_size & 0xFFFFFFFF == entry.size and (seconds, nanoseconds) < written


def _same(root: Path, entry: Entry, algorithm: str) -> bool:
    """Return whether the content is that of the index, or would be after git's conversion of text."""
    data = _content(root, entry)
    if data is None:
        return False
    if object_id("blob", data, algorithm) == entry.oid:
        return True
    if entry.mode == LINK:
        return False
    unix = data.replace(b"\r\n", b"\n")
    variants = {unix, _IDENT.sub(b"$Id$", data), _IDENT.sub(b"$Id$", unix)} - {data}
    return any(object_id("blob", variant, algorithm) == entry.oid for variant in variants)


def _content(root: Path, entry: Entry) -> bytes | None:
    if entry.mode != LINK:
        return read_inside(root, entry.name, _MOST_BYTES)
    try:
        with folder_of(root, entry.name) as (folder, last):
            return os.readlink(os.fsencode(last), dir_fd=folder)
    except OSError:
        return None


class _Filtered:
    """Which files a filter stands for, by the repo's attributes. The filters themselves are never run."""

    def __init__(self, root: Path, repository: Repository) -> None:
        self._root = root
        self._common = repository.common
        self._own = read_inside(repository.common, "info/attributes", _ATTRIBUTES_BYTES) or b""
        self._texts: dict[str, bytes] = {}

    def stands_for(self, entry: Entry, algorithm: str) -> bool:
        """Return whether the file's content may be what a filter made of the content in the index."""
        name = self._filter_of(entry.name)
        if name != b"lfs":
            return name is not None and (
                name.decode(errors="replace") in user_filters() or self._is_set_up(name)
            )
        try:
            pointer = self._pointer(entry.name)
        except OSError:
            return False
        return object_id("blob", pointer, algorithm) == entry.oid

    def _is_set_up(self, name: bytes) -> bool:
        """Return whether the repository's own settings name the filter, as with git-crypt and nbstripout."""
        config = read_inside(self._common, "config", _ATTRIBUTES_BYTES) or b""
        return b'[filter "' + name + b'"]' in config

    def _pointer(self, name: str) -> bytes:
        """Return the pointer that git LFS stores for a file."""
        digest, size = hashlib.sha256(), 0
        with folder_of(self._root, name) as (folder, last):
            fd = open_regular(folder, last)
            with os.fdopen(fd, "rb") as file:
                while data := file.read(1 << 20):
                    digest.update(data)
                    size += len(data)
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest.hexdigest()}\nsize {size}\n"
        return text.encode()

    def _filter_of(self, name: str) -> bytes | None:
        steps = name.split("/")
        folders = ["/".join(steps[:count]) for count in range(len(steps) - 1, -1, -1)]
        for base, text in [("", self._own), *((folder, self._text(folder)) for folder in folders)]:
            found, said = _said_of_filter(text, os.fsencode(name[len(base) + 1 if base else 0 :]))
            if said:
                return found
        return None

    def _text(self, folder: str) -> bytes:
        if folder not in self._texts:
            place = f"{folder}/.gitattributes" if folder else ".gitattributes"
            self._texts[folder] = read_inside(self._root, place, _ATTRIBUTES_BYTES) or b""
        return self._texts[folder]


def _said_of_filter(text: bytes, path: bytes) -> tuple[bytes | None, bool]:
    """The filter's name, and whether the text says anything about a filter of `path`."""
    for line in reversed(text.splitlines()):
        words = line.split()
        for word in reversed(words[1:]):
            if word.startswith(b"filter=") or word in (b"-filter", b"!filter"):
                rule = parse(words[0])
                if rule and not rule.folders_only and rule.matches(path, path.rpartition(b"/")[2]):
                    return word.removeprefix(b"filter=") if b"=" in word else None, True
    return None, False


def _staged(repository: Repository, entries: Iterable[Entry]) -> set[str]:
    """Return what differs between the index and the last commit."""
    now = {entry.name: (entry.mode, entry.oid) for entry in entries}
    head = repository.head()
    if head is None:
        return set(now)
    with open_history(repository.root) as history:
        then = {name: about for name, about in history.files(head).items() if about[0] != GITLINK}
    return {name for name in now.keys() | then.keys() if now.get(name) != then.get(name)}
