"""Reads a git repository as plain files, so that no git process runs under its configuration.

In: a folder. Out: the work tree's top, the commit that is checked out, which files are tracked, which are ignored.
All of it is a repo's word: names are checked, links are not followed, and a `.git` file leads only to a folder that
leads back. Objects (what a commit holds) are read elsewhere, in a sandbox (`forklock.sandbox.history.history`).
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from forklock.sandbox.contract import SandboxFault
from forklock.sandbox.git.ignored import MAX_RULES_BYTES, Ignore
from forklock.sandbox.git.index import MAX_BYTES, Entry, IndexNotRead, read_index
from forklock.sandbox.git.run import user_excludes
from forklock.sandbox.linux.nofollow import read_inside, steps_of

_OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SMALL = 1 << 16
"""Bytes of HEAD, a ref or a `.git` file, at most."""
_PACKED = 64 << 20
_SYMBOLIC_STEPS = 5


@dataclass(frozen=True, slots=True)
class Repository:
    """A work tree whose git folder was found."""

    root: Path
    git_dir: Path
    """HEAD and index of this work tree."""
    common: Path
    """Objects, refs and settings: those of the main work tree."""

    def head(self) -> str | None:
        """Return the commit id, None before the first commit.

        Raises:
            SandboxFault: it is kept in a way that is not known here.
        """
        return self.resolve("HEAD")

    def resolve(self, name: str) -> str | None:
        """Return the object id of a ref's full name or of an id; None if there is none."""
        for _ in range(_SYMBOLIC_STEPS):
            if _OID.fullmatch(name):
                return name
            said = self._ref(name)
            if said is None:
                return None
            if said == "ref: refs/heads/.invalid":
                raise SandboxFault(
                    f"{self.root} keeps its refs in the reftable format, which cannot be read here",
                    fix="`git refs migrate --ref-format=files`",
                )
            name = said.removeprefix("ref:").strip()
        return None

    def _ref(self, name: str) -> str | None:
        try:
            steps_of(name)
        except ValueError:
            return None
        for folder in dict.fromkeys([self.git_dir, self.common]):
            data = read_inside(folder, name, _SMALL)
            if data:
                return data.decode(errors="replace").strip()
        packed = read_inside(self.common, "packed-refs", _PACKED) or b""
        found = re.search(rb"(?m)^([0-9a-f]{40,64}) " + re.escape(name.encode()) + rb"$", packed)
        return found[1].decode() if found else None

    @property
    def oid_bytes(self) -> int:
        config = read_inside(self.common, "config", MAX_RULES_BYTES) or b""
        return 32 if re.search(rb"(?im)^\s*objectformat\s*=\s*\"?sha256\b", config) else 20

    def tracked(self) -> list[Entry]:
        """Return the index's entries inside the work tree, a conflict once.

        Raises:
            IndexNotRead: it is damaged, or of a kind that is not known here.
        """
        if not os.path.lexists(self.git_dir / "index"):
            return []
        data = read_inside(self.git_dir, "index", MAX_BYTES)
        if data is None:
            raise IndexNotRead("it is no file, or too large")
        return list(
            {one.name: one for one in read_index(data, self.oid_bytes) if _is_inside(one.name)}.values()
        )

    def own_excludes(self) -> bytes:
        return read_inside(self.common, "info/exclude", MAX_RULES_BYTES) or b""

    def index_time(self) -> tuple[int, int]:
        """Return when git wrote the index: seconds, nanoseconds."""
        try:
            return divmod((self.git_dir / "index").lstat().st_mtime_ns, 10**9)
        except OSError:
            return 0, 0


def _is_inside(name: str) -> bool:
    try:
        return not any(is_gits(step) for step in steps_of(name))
    except ValueError:
        return False


def is_gits(name: str) -> bool:
    """Return whether git takes a file or folder of this name for its own, and never tracks it."""
    return len(name) == 4 and name.lower() == ".git"


def find_root(folder: Path) -> Path | None:
    """Return the top of the work tree that `folder` is in; None outside of any, and in a repository's `.git`."""
    here = folder.resolve()
    for place in (here, *here.parents):
        if open_repository(place):
            return None if here.relative_to(place).parts[:1] == (".git",) else place
    return None


def open_repository(root: Path) -> Repository | None:
    """Return the repository whose work tree has its top at `root`; None if there is none, or if it is another work
    tree's."""
    place = root / ".git"
    try:
        kind = place.lstat().st_mode
    except OSError:
        return None
    if stat.S_ISDIR(kind):
        return Repository(root, place, place) if _is_git_dir(place) else None
    if not stat.S_ISREG(kind):
        return None
    text = (read_inside(root, ".git", _SMALL) or b"").decode(errors="surrogateescape")
    if not text.startswith("gitdir:"):
        return None
    git_dir = _path(root, text.removeprefix("gitdir:").strip("\n").strip(" "))
    if git_dir is None or not (git_dir / "HEAD").is_file() or not _leads_back(git_dir, root):
        return None
    common = (read_inside(git_dir, "commondir", _SMALL) or b"").decode(errors="surrogateescape").strip("\n")
    shared = _path(git_dir, common) if common else git_dir
    if shared is None or not (shared / "objects").is_dir() or (shared / "objects").is_symlink():
        return None
    if shared != git_dir and git_dir.parent != shared / "worktrees":
        return None
    return Repository(root, git_dir, shared)


def _is_git_dir(place: Path) -> bool:
    objects = place / "objects"
    return os.path.lexists(place / "HEAD") and objects.is_dir() and not objects.is_symlink()


def _path(base: Path, text: str) -> Path | None:
    try:
        return (base / text).resolve() if text and "\0" not in text else None
    except (OSError, RuntimeError):
        return None


def _leads_back(git_dir: Path, root: Path) -> bool:
    """Return whether a git folder names the work tree: a linked work tree's in `gitdir`, a submodule's in
    `core.worktree`. Otherwise a `.git` file in a downloaded tree could claim any repository of the user's."""
    back = (read_inside(git_dir, "gitdir", _SMALL) or b"").decode(errors="surrogateescape").strip("\n")
    if back:
        found = _path(git_dir, back)
        return found is not None and found.name == ".git" and found.parent == root.resolve()
    config = read_inside(git_dir, "config", MAX_RULES_BYTES) or b""
    named = re.search(rb"(?im)^\s*worktree\s*=\s*\"?([^\"\n]+?)\"?\s*$", config)
    found = _path(git_dir, named[1].decode(errors="surrogateescape")) if named else None
    return found is not None and found == root.resolve()


def tracked_names(root: Path) -> frozenset[str]:
    """Return the files that git tracks at `root`; none if the index cannot be read, so that all files are untracked."""
    repository = open_repository(root)
    try:
        return frozenset(entry.name for entry in repository.tracked()) if repository else frozenset()
    except IndexNotRead:
        return frozenset()


def rules_at_top(root: Path) -> Ignore:
    """Return the rules for all of a workspace: the repository's `info/exclude` and the user's own settings."""
    repository = open_repository(root)
    return Ignore.at_top(repository.own_excludes() if repository else b"", _users())


@lru_cache(maxsize=1)
def _users() -> bytes:
    return user_excludes()
