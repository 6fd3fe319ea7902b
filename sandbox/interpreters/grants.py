"""Decides what of the host a sandbox may read for an environment: only what the environment needs.

In: an environment's prefix, the workspace. Out: paths to mount read-only: the environment's own parts, and of the
Python that it was made from the program, its standard library, its shared library and its headers. A repo can make
`.venv`, or its `bin/python`, a link to anywhere, and `pyvenv.cfg` say anything. So only what has
the shape of an environment or of an installed Python is granted, part by part; never a home folder, nothing of `/etc`
or `/proc`, nothing in another user's home.
"""

from __future__ import annotations

import os
import pwd
import re
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from forklock.sandbox.interpreters.environments import looks_like_environment, standard_libraries
from forklock.sandbox.interpreters.looks import exists, is_folder, is_real_file, read_small, real, user_home

_SYSTEM = (Path("/usr"), Path("/bin"), Path("/lib"))
"""Directories that every sandbox shows without a grant."""
_NEVER = tuple(Path("/", name) for name in ("boot", "dev", "etc", "proc", "run", "sys"))
_PRIVATE = frozenset({".ssh", ".gnupg", ".aws", ".azure", ".docker", ".kube", ".password-store"})
_NO_ENVIRONMENTS = frozenset({".local", ".cargo", ".rustup"})
"""Folders that hold much else; they are never granted as a whole."""
_PROGRAM = re.compile(r"(python|pypy)[\d.]*t?")
_HOME_KEY = re.compile(r"^\s*home\s*=\s*(/\S.*?)\s*$", re.MULTILINE)
_MAX_LINKS = 40


def grants(prefix: Path, workspace: Path) -> list[Path]:
    """Return the paths to grant for an environment. What lies in the workspace or in the system's own directories is
    visible already."""
    found = list(_interpreter(prefix / "bin" / "python", workspace))
    if is_real_file(prefix / "pyvenv.cfg") and not (prefix / "bin" / "python").is_symlink():
        found += _homes(prefix)
    found += _parts(prefix, workspace)
    return outermost(path for path in found if may_grant(path, workspace))


def _parts(prefix: Path, workspace: Path) -> list[Path]:
    """Return the parts of an environment that its interpreter and its programs read."""
    place = real(prefix)
    if not looks_like_environment(place) or is_private(place, workspace) or place.name in _NO_ENVIRONMENTS:
        return []
    names = ["bin", *(str(found.relative_to(prefix)) for found in sorted(prefix.glob("lib/python3*")))]
    if is_folder(prefix / "conda-meta"):
        names = ["bin", "lib", "include", "share", "ssl"]
    names += ["pyvenv.cfg", *(["lib64"] if (prefix / "lib64").is_symlink() else [])]
    return [prefix / name for name in names if exists(prefix / name)]


def outermost(paths: Iterable[Path]) -> list[Path]:
    """Return the paths without duplicates, and without those that lie in another one."""
    kept = list(dict.fromkeys(paths))
    return [path for path in kept if not any(path != other and path.is_relative_to(other) for other in kept)]


def may_grant(path: Path, workspace: Path) -> bool:
    """Return whether a path, its links followed, is neither visible already nor private."""
    if any(path.is_relative_to(parent) for parent in (*_SYSTEM, workspace)):
        return False
    return not any(is_private(one, workspace) for one in (path, real(path)))


def is_private(path: Path, workspace: Path) -> bool:
    """Return whether a path holds, or lies in, private data of this or another user."""
    if any(path.is_relative_to(folder) for folder in _NEVER) or path in (Path("/"), Path("/home")):
        return True
    own = {user_home(), real(user_home()), *_homes_of(os.getuid(), ours=True)}
    if any(home.is_relative_to(path) for home in own) or _PRIVATE & set(path.parts):
        return True
    others = set(_homes_of(os.getuid(), ours=False))
    if path.is_relative_to("/home"):
        others.add(Path(*path.parts[:3]))
    used = {home for home in others if any(one.is_relative_to(home) for one in (workspace, Path(sys.prefix)))}
    return any(path.is_relative_to(home) or home.is_relative_to(path) for home in others - used - own)


@lru_cache(maxsize=4)
def _homes_of(uid: int, *, ours: bool) -> frozenset[Path]:
    """Return home folders: of this user, or of all others."""
    people = (entry for entry in pwd.getpwall() if entry.pw_uid == 0 or 1000 <= entry.pw_uid < 65000)
    return frozenset(
        Path(entry.pw_dir) for entry in people
        if (entry.pw_uid == uid) is ours and len(Path(entry.pw_dir).parts) > 1 and Path(entry.pw_dir).is_absolute()
    )  # fmt: skip


def _interpreter(python: Path, workspace: Path) -> Iterator[Path]:
    """Return what the links on the way to the real interpreter need (pyenv, uv and asdf chain them)."""
    for _ in range(_MAX_LINKS):
        try:
            if not python.is_symlink():
                return
            named = python.parent / python.readlink()
            python = real(named.parent) / named.name
        except (OSError, RuntimeError, ValueError):
            return
        for one in dict.fromkeys([Path(os.path.normpath(named)), python]):
            if not one.is_relative_to(workspace):
                yield from _program(one)


def _program(python: Path) -> list[Path]:
    """Return one interpreter: a link, or a program with what belongs to it. Nothing if it is neither."""
    if not _PROGRAM.fullmatch(python.name) or python.parent.name != "bin":
        return []
    home = python.parent.parent
    libraries = standard_libraries(home)
    if not libraries or not exists(python):
        return [python] if python.is_symlink() else []
    names = [library.name for library in libraries]
    shared = [file for name in names for file in home.glob(f"lib/lib{name}*.so*")]
    shared += home.glob("lib/libpython3.so")
    headers = [home / "include" / name for name in names if is_folder(home / "include" / name)]
    return [python, *libraries, *shared, *headers]


def _homes(prefix: Path) -> list[Path]:
    """The same for an interpreter that was copied into its environment, which finds its library by `pyvenv.cfg`."""
    told = _HOME_KEY.search(read_small(prefix / "pyvenv.cfg"))
    if told is None or "\0" in told[1]:
        return []
    home = Path(os.path.normpath(told[1]))
    programs = [home / name for name in ("python3", "python")]
    return [path for program in programs if exists(program) for path in _program(program)]
