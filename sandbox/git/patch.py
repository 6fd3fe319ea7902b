"""Applies a diff to a work tree: all of it or nothing; nothing in the tree influences how.

In: a directory, a git diff. Out: the changed directory. git works on copies of the files that the diff names, in a
folder of ours; then we write what came of it: beside each file first, then by renames, which are taken back where one
fails. No link is followed; nothing in `.git` or `.forklock` is written, and a diff makes no link that leads out of
the tree.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from forklock.sandbox.contract import SandboxFault
from forklock.sandbox.git.objects import LINK, git_mode
from forklock.sandbox.git.repository import is_gits
from forklock.sandbox.git.run import apply_in, make_git_dir
from forklock.sandbox.git.tree import OURS
from forklock.sandbox.linux.nofollow import folder_of, open_regular, read_all, steps_of
from forklock.sandbox.linux.private import scratch

_MOST_BYTES = 256 << 20
"""Largest file, in bytes."""
_OTHER = re.compile(rb"(?m)^(?:rename|copy) (?:from|to) (.+)$")
_ESCAPES = {
    b"a": b"\a", b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r", b'"': b'"', b"\\": b"\\",
}  # fmt: skip

_State = tuple[int, bytes] | None
"""Mode and content of a file, or link and where it leads; None where there is none."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A file that a diff changes, and digests of its state (mode and content) before and after; "" for no file."""

    name: str
    before: str
    after: str


def apply_diff(
    root: Path, diff: bytes, *, check_only: bool = False, may_lead_out: bool = False, reverse: bool = False
) -> list[Changed]:
    """Apply a git diff to `root` and return the files that it changes.

    Args:
        check_only: find out whether it applies, and write nothing.
        may_lead_out: links that lead out of `root` are made, too.
        reverse: take the diff back.

    Raises:
        SandboxFault: it does not apply, or may not; nothing was changed.
    """
    with scratch() as ours:
        git_dir, copy = ours / "git", ours / "tree"
        make_git_dir(git_dir)
        copy.mkdir()
        way = ("--reverse",) if reverse else ()
        names = _named(diff, way, git_dir, copy)
        before = {name: _state(root, name) for name in names}
        for name, state in before.items():
            _write_plain(copy, name, state)
        apply_in(copy, git_dir, way, diff)
        changes = [
            _Change(name, before[name], after)
            for name in names
            if (after := _state(copy, name)) != before[name]
        ]
    for change in changes:
        _refuse_through_links(root, change, changes)
        if not may_lead_out:
            _refuse_link_out(change)
    if not check_only:
        _write_all(root, changes)
    return [Changed(one.name, _digest(one.before), _digest(one.after)) for one in changes]


def state_digest(root: Path, name: str) -> str:
    """Return the digest of a file's present state, as in `Changed`.

    Raises:
        SandboxFault: it cannot be read.
    """
    return _digest(_state(root, name))


def _digest(state: _State) -> str:
    return "" if state is None else f"{state[0]:o}:{hashlib.sha256(state[1]).hexdigest()}"


def _named(diff: bytes, way: Sequence[str], git_dir: Path, copy: Path) -> list[str]:
    """Return every path that a diff is about.

    Raises:
        SandboxFault: one is not inside the tree, or is git's or the harness's.
    """
    lines = apply_in(copy, git_dir, (*way, "--numstat", "-z"), diff).split(b"\0")[:-1]
    raw = [line.split(b"\t", 2)[-1] for line in lines] + [_unquoted(name) for name in _OTHER.findall(diff)]
    names = list(dict.fromkeys(os.fsdecode(name) for name in raw))
    for name in names:
        try:
            steps = steps_of(name)
        except ValueError:
            raise _refused(name, "leads out of the tree") from None
        if any(is_gits(step) for step in steps) or steps[0] == OURS:
            raise _refused(name, "belongs to git or to the harness")
    return names


def _unquoted(name: bytes) -> bytes:
    """Return a path that git wrote in quotes because of unusual characters."""
    if not (name.startswith(b'"') and name.endswith(b'"') and len(name) > 1):
        return name

    def plain(match: re.Match[bytes]) -> bytes:
        found = match[1]
        return bytes([int(found, 8) & 255]) if found[:1].isdigit() else _ESCAPES.get(found, found)

    return re.sub(rb"\\([0-7]{3}|.)", plain, name[1:-1])


def _refused(name: str, why: str) -> SandboxFault:
    return SandboxFault(f"the diff is refused: {name!r} {why}", fix="look at it before you use any of it")


def _refuse_link_out(change: _Change) -> None:
    if change.after is None or change.after[0] != LINK:
        return
    target = os.fsdecode(change.after[1])
    end = os.path.normpath(os.path.join(os.path.dirname(change.name), target))
    if os.path.isabs(target) or end == ".." or end.startswith("../"):
        raise _refused(change.name, f"is a link that leads out of the tree, to {target!r}")


def _state(root: Path, name: str) -> _State:
    """Return what is there. A folder counts as nothing; behind a link there is nothing.

    Raises:
        SandboxFault: something that is no file, or cannot be read.
    """
    try:
        with folder_of(root, name) as (folder, last):
            found = os.stat(last, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                return None
            if stat.S_ISLNK(found.st_mode):
                return LINK, os.readlink(os.fsencode(last), dir_fd=folder)
            fd = open_regular(folder, last)
            try:
                data = read_all(fd, _MOST_BYTES)
            finally:
                os.close(fd)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SandboxFault(f"{name} cannot be read: {error}", fix="see what it is") from error
    if data is None:
        raise _refused(name, f"is larger than {_MOST_BYTES >> 20} MiB")
    return git_mode(found.st_mode), data


def _refuse_through_links(root: Path, change: _Change, changes: Iterable[_Change]) -> None:
    """Refuse a link in place of a folder on the way, unless the diff itself removes it."""
    gone = {one.name for one in changes if one.after is None}
    for way in _upwards(change.name):
        if change.after is not None and way not in gone and (root / way).is_symlink():
            raise _refused(change.name, f"goes through a link, {way!r}")


def _write_plain(root: Path, name: str, state: _State) -> None:
    """Write into a folder of ours."""
    if state is None:
        return
    place = root / name
    place.parent.mkdir(parents=True, exist_ok=True)
    if state[0] == LINK:
        os.symlink(state[1], os.fsencode(place))
    else:
        place.write_bytes(state[1])
        place.chmod(state[0] & 0o777)


@dataclass(frozen=True, slots=True)
class _Change:
    name: str
    before: _State
    after: _State


@dataclass(slots=True)
class _Step:
    """One file on its way: the new one lies beside it as `part`, the old one as `kept`."""

    change: _Change
    part: str | None = None
    kept: str | None = None
    placed: bool = False


def _write_all(root: Path, changes: Iterable[_Change]) -> None:
    """Raises SandboxFault: one cannot be written; all is as it was."""
    steps = [_Step(change) for change in changes]
    made: list[str] = []
    try:
        for step in steps:
            if step.change.before is not None:
                _set_aside(root, step)
        for step in steps:
            if step.change.after is not None:
                made += _missing_folders(root, step.change.name)
                _place(root, step)
    except (OSError, ValueError) as error:
        for step in reversed(steps):
            _take_back(root, step)
        for folder in reversed(made):
            with contextlib.suppress(OSError), folder_of(root, folder) as (above, last):
                os.rmdir(last, dir_fd=above)
        where = next((step.change.name for step in steps if not step.placed), "")
        raise SandboxFault(
            f"{where} cannot be written, and nothing was changed: {error}",
            fix="see whether its folder is a link, or may not be written",
        ) from error
    for step in steps:
        _forget_old(root, step)


def _set_aside(root: Path, step: _Step) -> None:
    """Move the old file aside, and check that it is still what the diff was applied to."""
    if _state(root, step.change.name) != step.change.before:
        raise OSError("it changed meanwhile")
    kept = f".forklock-{secrets.token_hex(6)}"
    with folder_of(root, step.change.name) as (folder, last):
        os.rename(last, kept, src_dir_fd=folder, dst_dir_fd=folder)
    step.kept = kept


def _missing_folders(root: Path, name: str) -> list[str]:
    steps = steps_of(name)
    ways = ["/".join(steps[:count]) for count in range(1, len(steps))]
    return [way for way in ways if not os.path.lexists(root / way)]


def _place(root: Path, step: _Step) -> None:
    mode, data = step.change.after or (0, b"")
    part = f".forklock-{secrets.token_hex(6)}"
    with folder_of(root, step.change.name, make=True) as (folder, last):
        above = os.fstat(folder)
        old = os.stat(step.kept, dir_fd=folder, follow_symlinks=False) if step.kept else None
        step.part = part
        if mode == LINK:
            os.symlink(data, os.fsencode(part), dir_fd=folder)
        else:
            _write_file(folder, part, data, mode, old)
        if os.geteuid() == 0:
            whose = old or above
            os.chown(part, whose.st_uid, whose.st_gid, dir_fd=folder, follow_symlinks=False)
        with contextlib.suppress(OSError):  # where a folder was, git leaves an empty one
            os.rmdir(last, dir_fd=folder)
        _name(folder, part, last)
        step.placed = True
        step.part = None


def _name(folder: int, part: str, last: str) -> None:
    """Rename a file, but never over another one."""
    try:
        os.link(part, last, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        with contextlib.suppress(FileNotFoundError):
            os.stat(last, dir_fd=folder, follow_symlinks=False)
            raise FileExistsError(last) from None
        os.rename(part, last, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        os.unlink(part, dir_fd=folder)


def _write_file(folder: int, name: str, data: bytes, mode: int, old: os.stat_result | None) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=folder)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        bits = (
            stat.S_IMODE(old.st_mode)
            if old and stat.S_ISREG(old.st_mode)
            else stat.S_IMODE(os.fstat(fd).st_mode)
        )
        readers = (bits & 0o444) >> 2
        os.fchmod(fd, (bits | readers if mode & 0o100 else bits & ~0o111) & 0o777)
    finally:
        os.close(fd)


def _take_back(root: Path, step: _Step) -> None:
    with contextlib.suppress(OSError, ValueError), folder_of(root, step.change.name) as (folder, last):
        if step.part:
            with contextlib.suppress(OSError):
                os.unlink(step.part, dir_fd=folder)
        if step.placed:
            os.unlink(last, dir_fd=folder)
        if step.kept:
            os.rename(step.kept, last, src_dir_fd=folder, dst_dir_fd=folder)


def _forget_old(root: Path, step: _Step) -> None:
    """Remove what was set aside, and the folders that are empty without it."""
    name = step.change.name
    with contextlib.suppress(OSError):
        if step.kept:
            with folder_of(root, name) as (folder, _):
                os.unlink(step.kept, dir_fd=folder)
        if step.change.after is None:
            for way in _upwards(name):
                with folder_of(root, way) as (above, last):
                    os.rmdir(last, dir_fd=above)


def _upwards(name: str) -> Iterator[str]:
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name
