"""The directory that a sandbox works on: opened in place, or a private copy of another.

In: a directory. Out: copies of it that cost little (reflinks where the file system has them, hard links
for git's immutable objects), its diff, and its removal. Copies of processes that died are removed when
the next workspace is opened. Nothing in here runs a command of the repo.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sandbox.baseline import Baseline, environment_names
from sandbox.contract import SandboxFault

_PREFIX = "forklock-"
_SYSTEM = frozenset(
    Path("/", name)
    for name in ("", "bin", "boot", "dev", "etc", "home", "lib", "lib64", "mnt", "opt", "proc", "root", "run",
                 "sbin", "srv", "sys", "tmp", "usr", "usr/bin", "usr/lib", "var")
)  # fmt: skip


@dataclass(frozen=True)
class Workspace:
    """One directory, and where its private things lie."""

    root: Path
    workdir: str
    """Where commands see it: the path of the workspace that was opened, for copies too, so that absolute
    paths in editable installs and build caches keep pointing at the code under test."""
    private: Path
    """Ours, outside the workspace: scratch of the diff, and the copy itself if this is one."""
    baseline: Baseline
    origin: Path
    """The opened workspace. Its virtual environments serve the copies, read-only."""
    parent: Path
    """Directory in which copies are made."""

    @property
    def is_copy(self) -> bool:
        return self.root != self.origin

    @property
    def objects(self) -> Path | None:
        """A name of the origin's git objects outside every workspace, None without any. Copies borrow them
        by it, so that a repo's history is never copied; inside a sandbox it must lead to the same place."""
        name = self.baseline.folder / "lent-objects"
        return name if name.is_symlink() else None

    @property
    def environments(self) -> list[str]:
        return environment_names(self.origin)

    def diff(self) -> str:
        return self.baseline.diff(self.root, self.private)

    def fork(self) -> Workspace:
        """A private copy as it is now, with the same baseline.

        Raises:
            SandboxFault: disk full, or a file cannot be read.
        """
        private = make_private(self.parent, self.root.stat().st_uid)
        root = private / "workspace"
        try:
            lend = None if self.is_copy else self.objects
            copy_tree(self.root, root, leave=(".forklock", *self.environments), lend=lend)
            for name in self.environments:
                (root / name).mkdir()  # where backends mount the origin's
        except BaseException:
            remove_tree(private)
            raise
        self.baseline.retain()
        return Workspace(root, self.workdir, private, self.baseline, self.origin, self.parent)

    def resolve(self, cwd: str) -> str:
        """`cwd` as commands see it.

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
        """Remove what is ours. Call once."""
        remove_tree(self.private)
        self.baseline.release()


def open_workspace(path: Path, *, parent: Path | None = None) -> Workspace:
    """Open `path` in place. Copies are made in `parent` (default: `TMPDIR`).

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
    parent = (parent or Path(tempfile.gettempdir())).resolve()
    reap_orphans(parent)
    private = make_private(parent, root.stat().st_uid)
    state = make_private(parent)
    try:
        baseline = Baseline.take(root, state)
        objects = root / ".git" / "objects"
        if objects.is_dir() and not objects.is_symlink() and not (root / ".git").is_symlink():
            (state / "lent-objects").symlink_to(objects)
    except BaseException:
        remove_tree(private)
        remove_tree(state)
        raise
    return Workspace(root, str(root), private, baseline, root, parent)


def make_private(parent: Path, owner: int = 0) -> Path:
    """A directory that only we (for root: only `owner`) can enter, named after us so that others can
    tell when we are dead."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        name = f"{_PREFIX}{os.getpid()}-{start_ticks(os.getpid())}-"
        private = Path(tempfile.mkdtemp(prefix=name, dir=parent))
        if os.geteuid() == 0 and owner:  # commands will run as the owner
            os.chown(private, owner, -1)
    except OSError as error:
        raise SandboxFault(f"no directory for copies in {parent}: {error}", fix="set TMPDIR") from error
    return private


def copy_tree(source: Path, target: Path, *, leave: tuple[str, ...] = (), lend: Path | None = None) -> None:
    """Copy a tree with modes, times and symlinks, without following any. Entries of the top named in `leave`
    stay behind; git's objects are borrowed from `lend` if given. GNU `cp` does it at the speed of the file
    system; a Python walk stands in for it.

    Raises:
        SandboxFault: something could not be copied.
    """
    target.mkdir()
    shutil.copystat(source, target)
    if os.geteuid() == 0:
        os.chown(target, source.stat().st_uid, source.stat().st_gid)
    names = [entry.name for entry in os.scandir(source) if entry.name not in leave]
    plain = [name for name in names if name != ".git"]
    _copy([source / name for name in plain], target)
    if ".git" in names:
        _copy_git(source / ".git", target / ".git", lend)


def _copy_git(source: Path, target: Path, lend: Path | None) -> None:
    """Objects never change in place, so borrowing or a hard link is as good as a copy; the rest is copied."""
    if source.is_symlink() or not source.is_dir():
        _copy([source], target.parent)
        return
    target.mkdir()
    names = [entry.name for entry in os.scandir(source)]
    _copy([source / name for name in names if name != "objects"], target)
    if lend and "objects" in names:
        (target / "objects" / "info").mkdir(parents=True)
        (target / "objects" / "pack").mkdir()
        (target / "objects" / "info" / "alternates").write_text(f"{lend}\n")
    elif "objects" in names and not _cp(["--link"], [source / "objects"], target):
        _copy([source / "objects"], target)


def _copy(sources: list[Path], target: Path) -> None:
    if sources and not _cp(["--reflink=auto"], sources, target):
        for source in sources:
            _copy_slowly(source, target / source.name)


def _copy_slowly(source: Path, place: Path) -> None:
    try:
        if source.is_symlink() or source.is_file():
            shutil.copy2(source, place, follow_symlinks=False)
        elif source.is_dir():
            shutil.copytree(source, place, symlinks=True, ignore=_special_files)
    except (OSError, shutil.Error) as error:
        raise _copy_fault(str(error)) from error


def _special_files(folder: str, names: list[str]) -> set[str]:
    """Sockets, pipes and devices: not content, and reading a pipe would block."""
    kinds = ((name, (Path(folder) / name).lstat().st_mode) for name in names)
    return {n for n, m in kinds if not (stat.S_ISREG(m) or stat.S_ISDIR(m) or stat.S_ISLNK(m))}


def _cp(options: list[str], sources: list[Path], target: Path) -> bool:
    """False when this machine's `cp` cannot do it, with nothing copied.

    Raises:
        SandboxFault: it can, and failed.
    """
    command = ["cp", "--archive", *options, "--target-directory", str(target), "--"]
    env = {"PATH": os.defpath, "LC_ALL": "C"}
    try:
        done = subprocess.run([*command, *map(str, sources)], capture_output=True, check=False, env=env)
    except OSError:  # no cp, or more top-level entries than an argument list holds
        return False
    if done.returncode == 0:
        return True
    reason = done.stderr.decode(errors="replace")
    if "unrecognized option" in reason or "cross-device" in reason:  # not GNU; a link across file systems
        for source in sources:
            remove_tree(target / source.name)
        return False
    raise _copy_fault(reason.strip().splitlines()[0] if reason else "cp failed")


def _copy_fault(reason: str) -> SandboxFault:
    return SandboxFault(
        f"the workspace could not be copied: {reason}",
        fix="see that all files can be read and that TMPDIR has room, or set TMPDIR to a larger file system",
    )


def reap_orphans(parent: Path) -> None:
    """Remove private directories in `parent` whose maker is dead."""
    with contextlib.suppress(OSError):
        for entry in list(parent.glob(f"{_PREFIX}*-*-*")):
            pid, ticks = entry.name.removeprefix(_PREFIX).split("-")[:2]
            ours = entry.is_dir() and not entry.is_symlink() and os.getuid() in (0, entry.lstat().st_uid)
            if pid.isdigit() and ours and start_ticks(int(pid)) != ticks:
                remove_tree(entry)


def remove_tree(path: Path) -> None:
    """Remove a tree, also one whose directories a program made unwritable. Never raises."""
    shutil.rmtree(path, ignore_errors=True)
    if not path.exists():
        return
    for folder, _, _ in os.walk(path):
        with contextlib.suppress(OSError):
            Path(folder).chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)


def start_ticks(pid: int) -> str:
    """Start time of a process, which with its id names it for good; "" when it is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
