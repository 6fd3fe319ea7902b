"""Copies a tree with modes, times, links and owners. Git's objects are borrowed or hard-linked; no link is followed.

In: a directory. Out: a copy that costs little where the file system shares blocks between files (reflinks).
Also copies of an overlay's upper layer. Nothing in here runs a command of the repo.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from forklock.sandbox.contract import SandboxFault
from forklock.sandbox.git.index import MAX_BYTES
from forklock.sandbox.git.repository import Repository, open_repository
from forklock.sandbox.git.run import make_git_dir
from forklock.sandbox.git.tree import OURS
from forklock.sandbox.interpreters.environments import environment_names
from forklock.sandbox.interpreters.looks import is_real_folder
from forklock.sandbox.linux.nofollow import MAX_DEPTH, read_inside
from forklock.sandbox.linux.private import remove_tree

_COPY_S = 900.0
_FICLONE = 0x40049409


def copy_tree(source: Path, target: Path, *, leave: tuple[str, ...] = (), lend: Path | None = None) -> None:
    """Copy a tree with modes, times and symlinks, without following any. The paths in `leave`, relative to `source`,
    are not copied; git's objects are borrowed from `lend` if given. GNU `cp` copies at the speed of the file system; a
    Python walk is the fallback.

    Raises:
        SandboxFault: something could not be copied.
    """
    like(source, target)
    names = [entry.name for entry in os.scandir(source) if entry.name not in leave]
    parted = {name: below for name in names if name != ".git" and (below := _below(name, leave))}
    _copy([source / name for name in names if name != ".git" and name not in parted], target)
    for name, below in parted.items():
        if is_real_folder(source / name):
            copy_tree(source / name, target / name, leave=below)
        else:
            _copy([source / name], target)
    if ".git" in names:
        _copy_git(source / ".git", target / ".git", lend)


def _below(name: str, leave: tuple[str, ...]) -> tuple[str, ...]:
    """Return the paths in `leave` that lie below a top-level entry, relative to it."""
    return tuple(path.removeprefix(f"{name}/") for path in leave if path.startswith(f"{name}/"))


def make_mount_points(root: Path, names: list[str]) -> None:
    """Make the directories in a copy at which backends mount environments of the original."""
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)


CACHES = (".tox", ".nox", ".mypy_cache", ".ruff_cache", ".pytest_cache")
"""Top-level entries that tools can make again and that no test needs."""


def copy_workspace(root: Path, target: Path) -> tuple[str, ...]:
    """Copy a workspace so that a sandbox on the copy shows what one on `root` does: ignored files and submodules, too.
    Where `.git` is a file (linked work trees, submodules) the copy has a git folder of its own. Returns the entries of
    the top that stay behind: virtual environments, which are mounted instead, and caches.

    Raises:
        SandboxFault: something could not be copied.
    """
    left = [name for name in (*environment_names(root), *CACHES) if is_real_folder(root / name)]
    repository = open_repository(root)
    is_linked = repository is not None and repository.git_dir != root / ".git"
    copy_tree(root, target, leave=(OURS, *left, *([".git"] if is_linked else [])))
    if repository and is_linked:
        _own_git(repository, target / ".git")
    return tuple(left)


def _own_git(repository: Repository, target: Path) -> None:
    """Make a git folder with the commit, the index and the objects of a linked work tree."""
    try:
        sha256 = repository.oid_bytes == 32
        make_git_dir(target, sha256=sha256)
        extension = "[extensions]\n\tobjectFormat = sha256\n" if sha256 else ""
        config = f"[core]\n\trepositoryformatversion = {int(sha256)}\n\tbare = false\n{extension}"
        (target / "config").write_text(config)
        (target / "info" / "attributes").unlink()
        (target / "info" / "exclude").write_bytes(repository.own_excludes())
        head = repository.head()
        if head:
            (target / "HEAD").write_text(f"{head}\n")
        index = read_inside(repository.git_dir, "index", MAX_BYTES)
        if index:
            (target / "index").write_bytes(index)
        remove_tree(target / "objects")
    except OSError as error:
        raise _copy_fault(str(error)) from error
    objects = repository.common / "objects"
    if not _cp(["--link"], [objects], target):
        _copy([objects], target)


def _copy_git(source: Path, target: Path, lend: Path | None) -> None:
    """Copy a git folder. Objects never change in place, so they are borrowed or hard-linked."""
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
    """Return sockets, pipes and devices, which are not copied: reading a pipe would block."""
    kinds = ((name, (Path(folder) / name).lstat().st_mode) for name in names)
    return {n for n, m in kinds if not (stat.S_ISREG(m) or stat.S_ISDIR(m) or stat.S_ISLNK(m))}


def _cp(options: list[str], sources: list[Path], target: Path) -> bool:
    """Copy by `cp`. Return False if this machine's `cp` cannot do it; nothing is copied then.

    Raises:
        SandboxFault: it can, and failed.
    """
    command = ["cp", "--archive", *options, "--target-directory", str(target), "--"]
    env = {"PATH": os.defpath, "LC_ALL": "C"}
    try:
        words = [*command, *map(str, sources)]
        done = subprocess.run(words, capture_output=True, check=False, env=env, timeout=_COPY_S)
    except subprocess.TimeoutExpired:
        raise _copy_fault(f"it took over {_COPY_S:.0f} seconds") from None
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


def like(model: Path, folder: Path) -> None:
    """Make `folder` with the mode, times and owner of `model`."""
    folder.mkdir()
    shutil.copystat(model, folder)
    found = model.stat()
    if os.geteuid() == 0:
        os.chown(folder, found.st_uid, found.st_gid)
        folder.chmod(stat.S_IMODE(found.st_mode))  # a change of owner takes set-id bits off


def copy_changes(upper: Path, target: Path, leave: frozenset[str]) -> None:
    """Copy an overlay's upper layer, whiteouts and the kernel's own marks included, while it may be in use.
    Entries of the top named in `leave` stay behind; what vanishes meanwhile is not there.

    Raises:
        SandboxFault: disk full, or something cannot be read.
    """
    try:
        like(upper, target)
        _copy_folder(str(upper), str(target), leave, {})
    except OSError as error:
        raise SandboxFault(
            f"the workspace's changes could not be copied: {error}", fix="see that TMPDIR has room"
        ) from error


def _copy_folder(
    source: str, target: str, leave: frozenset[str], names: dict[int, str], depth: int = 0
) -> None:
    if depth > MAX_DEPTH:
        raise SandboxFault(f"folders are more than {MAX_DEPTH} deep in the workspace", fix="remove them")
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.name in leave:
                continue
            place = f"{target}/{entry.name}"
            try:
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    like(Path(entry.path), Path(place))
                    _copy_folder(entry.path, place, frozenset(), names, depth + 1)
                    shutil.copystat(entry.path, place)
                else:
                    _copy_entry(entry.path, place, found, names)
            except FileNotFoundError:
                continue


def _copy_entry(source: str, place: str, found: os.stat_result, names: dict[int, str]) -> None:
    if found.st_nlink > 1 and found.st_ino in names:
        os.link(names[found.st_ino], place)
        return
    if stat.S_ISREG(found.st_mode):
        _copy_content(source, place)
    elif stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(source), place)  # noqa: PTH115, PTH211
    else:  # a whiteout is a device with the number 0
        os.mknod(place, found.st_mode, found.st_rdev)
    os.chown(place, found.st_uid, found.st_gid, follow_symlinks=False)
    shutil.copystat(source, place, follow_symlinks=False)
    names[found.st_ino] = place


def _copy_content(source: str, place: str) -> None:
    """Copy a file's content; share the blocks if the file system can."""
    with open(source, "rb") as old, open(place, "xb") as new:  # noqa: PTH123
        try:
            while os.copy_file_range(old.fileno(), new.fileno(), 1 << 30):
                pass
        except OSError:
            shutil.copyfile(source, place)


def shares_blocks(place: Path) -> bool:
    """Return whether files in `place` can be copied by sharing their blocks. It is tried for real."""
    with tempfile.TemporaryFile(dir=place) as old, tempfile.TemporaryFile(dir=place) as new:
        old.write(b"x")
        old.flush()
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError:
            return False
        return True
