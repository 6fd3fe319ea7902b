"""Copies of a tree: modes, times, links and owners kept, git's objects borrowed or linked, none followed.

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

from sandbox.contract import SandboxFault
from sandbox.linux.private import remove_tree

_FICLONE = 0x40049409


def copy_tree(source: Path, target: Path, *, leave: tuple[str, ...] = (), lend: Path | None = None) -> None:
    """Copy a tree with modes, times and symlinks, without following any. Entries of the top named in `leave`
    stay behind; git's objects are borrowed from `lend` if given. GNU `cp` does it at the speed of the file
    system; a Python walk stands in for it.

    Raises:
        SandboxFault: something could not be copied.
    """
    like(source, target)
    names = [entry.name for entry in os.scandir(source) if entry.name not in leave]
    plain = [name for name in names if name != ".git"]
    _copy([source / name for name in plain], target)
    if ".git" in names:
        _copy_git(source / ".git", target / ".git", lend)


def make_mount_points(root: Path, names: list[str]) -> None:
    """Make the directories in a copy at which backends mount environments of the original."""
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)


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


def _copy_folder(source: str, target: str, leave: frozenset[str], names: dict[int, str]) -> None:
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.name in leave:
                continue
            place = f"{target}/{entry.name}"
            try:
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    like(Path(entry.path), Path(place))
                    _copy_folder(entry.path, place, frozenset(), names)
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
    """Shares the blocks where the file system can."""
    with open(source, "rb") as old, open(place, "xb") as new:  # noqa: PTH123
        try:
            while os.copy_file_range(old.fileno(), new.fileno(), 1 << 30):
                pass
        except OSError:
            shutil.copyfile(source, place)


def shares_blocks(place: Path) -> bool:
    """Whether files in `place` can be copied without their data; tried for real."""
    with tempfile.TemporaryFile(dir=place) as old, tempfile.TemporaryFile(dir=place) as new:
        old.write(b"x")
        old.flush()
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError:
            return False
        return True
