"""The directory that a sandbox works on: opened in place, or a private copy of another.

In: a directory. Out: forks of it that cost little (a layer over a shared snapshot where the kernel lets us,
else reflinks where the file system has them, else a copy; git's objects are borrowed), its diff, and its
removal. Forks of processes that died are removed when the next workspace is opened. Nothing in here runs a
command of the repo.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from forklock.sandbox.contract import SandboxFault
from forklock.sandbox.interpreters.environments import environment_links, environment_names
from forklock.sandbox.linux import mounts
from forklock.sandbox.linux.private import make_private, reap_orphans, remove_tree
from forklock.sandbox.workspace.copying import copy_changes, copy_tree, make_mount_points
from forklock.sandbox.workspace.diff import Baseline, Seen
from forklock.sandbox.workspace.snapshot import Latest, Snapshot, layers_work

_T = TypeVar("_T")
_SYSTEM = frozenset(
    Path("/", name)
    for name in ("", "bin", "boot", "dev", "etc", "home", "lib", "lib64", "mnt", "opt", "proc", "root", "run",
                 "sbin", "srv", "sys", "tmp", "usr", "usr/bin", "usr/lib", "var")
)  # fmt: skip


@dataclass(frozen=True)
class Workspace:
    """One directory, and where our private files about it lie."""

    root: Path
    workdir: str
    """The path at which commands see it: that of the opened workspace, also for copies, so that absolute paths in
    editable installs and build caches keep pointing at the code under test. Its virtual environments are used by
    `root` and the copies, read-only."""
    private: Path
    """A directory of ours outside the workspace: scratch of the diff, and the fork itself if this is one."""
    baseline: Baseline
    origin: Path
    """The opened workspace."""
    parent: Path
    """The directory in which copies are made."""
    environments: list[str]
    """Virtual environments, relative to `workdir`."""
    snapshot: Snapshot | None = None
    """The lower layer, if `root` is a mount; its changes are in `private / "upper"`."""
    _latest: Latest = field(default_factory=Latest)
    _seen: Seen = field(default_factory=dict, compare=False)
    """The files at the last diff, so that the next one reads only what changed since."""

    @property
    def is_copy(self) -> bool:
        return self.root != self.origin

    @property
    def changes(self) -> Path | None:
        """Where a layer keeps its changes; None for copies and what was opened in place."""
        return self.private / "upper" if self.snapshot else None

    @property
    def objects(self) -> Path | None:
        """A link outside every workspace to the origin's git objects; None if there are none. Copies borrow the objects
        through it, so that a repo's history is never copied. Inside a sandbox it must lead to the same place."""
        name = self.baseline.folder / "lent-objects"
        return name if name.is_symlink() else None

    def diff(self) -> str:
        if self.snapshot and not self._seen:
            self._seen.update(self.snapshot.seen(self.baseline.see))
        return self.baseline.diff(self.root, self._seen)

    def fork(self, *, layered: bool = True) -> Workspace:
        """Make a private copy of the present state, with the same baseline. `layered`: it may be a mount, since its
        user sees our mounts.

        Raises:
            SandboxFault: disk full, or a file cannot be read.
        """
        private = make_private(self.parent, self.root.stat().st_uid)
        root = private / "workspace"
        try:
            snapshot = self._layer(private, root) if layered and layers_work(self.parent) else None
            if snapshot is None:
                lend = None if self.is_copy else self.objects
                copy_tree(self.root, root, leave=(".forklock", *self.environments), lend=lend)
                make_mount_points(root, self.environments)
        except BaseException:
            remove_tree(private)
            raise
        self.baseline.shared.retain()
        return Workspace(
            root, self.workdir, private, self.baseline, self.origin, self.parent, self.environments,
            snapshot=snapshot,
        )  # fmt: skip

    def _layer(self, private: Path, root: Path) -> Snapshot | None:
        """Mount a fork at `root`; return the snapshot below it, retained. None if it has to be a copy."""
        if self.snapshot:  # a fork of a fork: the same snapshot, under a copy of the changes so far
            snapshot = self.snapshot
            snapshot.shared.retain()
        elif self.is_copy or not (
            found := self._latest.of(
                self.root, self.parent, lend=self.objects, environments=self.environments
            )
        ):
            return None
        else:
            snapshot = found
        try:
            if self.changes:
                leave = frozenset((".forklock", *self.environments))
                copy_changes(self.changes, private / "upper", leave)
            snapshot.mount(private, root)
        except BaseException as error:
            snapshot.shared.release()
            if isinstance(error, OSError):
                return None
            raise
        return snapshot

    def resolve(self, cwd: str) -> str:
        """Return `cwd` as commands see it.

        Raises:
            ValueError: it leaves the workspace, or is no directory in it.
        """
        target = (self.root / cwd).resolve()
        if not target.is_relative_to(self.root):
            raise ValueError(f"cwd leaves the workspace: {cwd}")
        if not target.is_dir():
            raise ValueError(f"cwd is not a directory of the workspace: {cwd}")
        return str(Path(self.workdir) / target.relative_to(self.root))

    def close(self) -> None:
        """Remove what we made. Call it once.

        Raises:
            SandboxFault: the fork stays mounted.
        """
        self._latest.close()
        if self.snapshot:
            mounts.release(self.root)
            self.snapshot.shared.release()
        remove_tree(self.private)
        self.baseline.shared.release()


def use(workspace: Workspace, make: Callable[[Workspace], _T]) -> _T:
    """Return `make(workspace)`; close the workspace if that fails."""
    try:
        return make(workspace)
    except BaseException:
        workspace.close()
        raise


def open_workspace(path: Path, *, parent: Path | None = None, shown_at: Path | None = None) -> Workspace:
    """Open `path` in place. Copies are made in `parent` (default: `TMPDIR`). `shown_at`: the directory that `path` is
    a copy of.

    Raises:
        SandboxFault: not a directory, git is missing, or a file cannot be read.
    """
    root = path.expanduser().resolve()
    if not root.is_dir():
        raise SandboxFault(f"the workspace is not a directory: {path}", fix="name an existing directory")
    if root in _SYSTEM or root == Path.home().resolve():
        raise SandboxFault(
            f"refused as a workspace: {root}", fix="name a project directory, not a system or home directory"
        )
    workdir = shown_at.expanduser().resolve() if shown_at else root
    environments = environment_names(workdir)
    if workdir != root:
        _stand_in(root, workdir, environments)
    parent = (parent or Path(tempfile.gettempdir())).resolve()
    reap_orphans(parent)
    private = make_private(parent, root.stat().st_uid)
    state = make_private(parent)
    try:
        baseline = Baseline.take(root, state, environments)
        objects = root / ".git" / "objects"
        if objects.is_dir() and not objects.is_symlink() and not (root / ".git").is_symlink():
            (state / "lent-objects").symlink_to(objects)
    except BaseException:
        remove_tree(private)
        remove_tree(state)
        raise
    return Workspace(root, str(workdir), private, baseline, root, parent, environments)


def _stand_in(copy: Path, original: Path, environments: list[str]) -> None:
    """Prepare a copy for the original's environments: mount points, and links to environments elsewhere."""
    make_mount_points(copy, environments)
    for name in environment_links(original):
        if not os.path.lexists(copy / name):
            (copy / name).symlink_to((original / name).readlink())
