"""Finds the Python environment that a repo's tests run in. Nothing of the repo is executed.

In: a workspace, and the folder in it where the user stands. Out: a `Found`: an environment of the repo's own; else one
that the user's tools, or Forklock, keep for it elsewhere (Poetry, Pipenv, Hatch, PDM, pyenv); else the active one; else
a Python on the user's PATH that has pytest; else nothing, and the managed environment steps in
(`forklock.sandbox.interpreters.managed`). The environment that Forklock lives in is taken only where it is the
repo's own.

A repo's files can name a folder outside of it. That folder is taken only if it has the shape of an environment; what of
it is then granted decides `forklock.sandbox.interpreters.grants`.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from forklock.sandbox.interpreters.looks import (
    exists,
    is_file,
    is_real_file,
    is_real_folder,
    plain_name,
    read_small,
    real,
    user_home,
)
from forklock.sandbox.interpreters.projects import project_environment

NAMES = (".venv", "venv", "env", ".env", "virtualenv", ".virtualenv")
"""Usual names of environments, most likely first."""
_PYTHON = re.compile(r"python3\.\d+t?")
_MAX_FOLDERS = 2_000
_DEPTH = 3
"""Levels of folders below the top in which packages of a monorepo, and their environments, are looked for."""
_NEVER_PACKAGES = frozenset({"node_modules", "site-packages", "__pycache__", "target", "build", "dist"})


@dataclass(frozen=True, slots=True)
class Found:
    """The Python of a repo's tests."""

    prefix: Path
    """Holds `bin/python`. Links are resolved where they lead out of the workspace."""
    is_installation: bool = False
    """It is no environment but a Python as it was installed: `forklock.sandbox.interpreters.managed` makes an
    environment from it."""


def find_environment(workspace: Path, cwd: str = ".") -> Found | None:
    """Find the environment for `workspace`'s tests; None if only the managed one is left. Never raises."""
    root = real(workspace.expanduser())
    folders = [*_upwards(root, cwd), *_above(root)]
    for folder in folders:
        for name in _names_in(folder):
            own = usable(folder / name, root)
            if own:
                return Found(own)
    for kept in (one for folder in folders for one in _kept_elsewhere(folder)):
        if usable(kept, root) and not is_ours(kept):
            return Found(real(kept))
    for active in _active():
        if not is_ours(active) and exists(active / "bin" / "python"):
            return Found(active)
    return next(_on_path(root), None)


def environment_names(root: Path) -> list[str]:
    """List the environments inside a workspace, relative to it: at its top, and in packages below. They are never
    copied, and never part of a diff. Links are not among them."""
    at_top = [name for name in _names_in(root) if is_real_folder(root / name)]
    return at_top + [name for name in _below(root) if is_real_folder(root / name)]


def environment_links(root: Path) -> list[str]:
    """List the links at the top of a workspace that lead to environments elsewhere."""
    return [name for name in NAMES if (root / name).is_symlink() and usable(root / name, root)]


def usable(prefix: Path, root: Path) -> Path | None:
    """Return the environment at `prefix` if it has an interpreter; resolved if a link leads out of `root`."""
    place = real(prefix)
    if not exists(place / "bin" / "python") or not looks_like_environment(place):
        return None
    return prefix if place.is_relative_to(root) else place


def looks_like_environment(prefix: Path) -> bool:
    """Return whether a folder is laid out as a virtual environment, or as one of conda."""
    if not any(_PYTHON.fullmatch(found.name) for found in prefix.glob("lib/python3*")):
        return False
    return is_real_file(prefix / "pyvenv.cfg") or is_real_folder(prefix / "conda-meta")


def standard_libraries(prefix: Path) -> list[Path]:
    """Return the `lib/pythonX.Y` of an installed Python; none if `prefix` is no installation."""
    found = sorted({*prefix.glob("lib/python3*"), *prefix.glob("lib64/python3*"), *prefix.glob("lib/pypy3*")})
    return [folder for folder in found if is_file(folder / "os.py")]


def is_ours(prefix: Path) -> bool:
    """Return whether Forklock itself is installed in this environment."""
    return real(prefix) == real(Path(sys.prefix))


def has_pytest(prefix: Path) -> bool:
    """Return whether pytest can be imported there, judging by the files."""
    places = [
        *prefix.glob("lib*/python3*/site-packages/pytest"),
        *prefix.glob("lib/python3*/dist-packages/pytest"),
    ]
    if prefix == Path("/usr"):
        places += Path("/usr/local/lib").glob("python3*/dist-packages/pytest")
    return any(is_file(place / "__init__.py") for place in places)


# --- in the workspace ------------------------------------------------------------------------------


def _upwards(root: Path, cwd: str) -> list[Path]:
    """The folder where the user stands, and those above it up to the workspace's top."""
    here = real(root / cwd)
    if not here.is_relative_to(root):
        return [root]
    return [here, *(folder for folder in here.parents if folder.is_relative_to(root))]


def _above(root: Path) -> list[Path]:
    """The folders above a workspace that is itself a part of a repository, up to the repository's top."""
    found: list[Path] = []
    if exists(root / ".git"):
        return found
    for folder in root.parents:
        if folder in (user_home(), folder.parent):
            return []
        found.append(folder)
        if exists(folder / ".git"):
            return found
    return []


def _names_in(folder: Path) -> list[str]:
    """Names of environments in one folder. Usual names need a `pyvenv.cfg`, others the whole shape."""
    usual = [name for name in NAMES if is_real_file(folder / name / "pyvenv.cfg") or _is_conda(folder / name)]
    try:
        with os.scandir(folder) as entries:
            others = sorted(
                e.name for e in entries if e.name not in NAMES and e.is_dir(follow_symlinks=False)
            )
    except OSError:
        others = []
    return usual + [
        name for name in others if is_real_file(folder / name / "pyvenv.cfg") and _whole(folder / name)
    ]


def _whole(prefix: Path) -> bool:
    return os.path.lexists(prefix / "bin" / "python") and looks_like_environment(prefix)


def _below(root: Path) -> Iterator[str]:
    """Environments of a monorepo's packages."""
    seen, level = 0, [root]
    for _ in range(_DEPTH):
        deeper = []
        for folder in level:
            for package in _packages(folder):
                seen += 1
                if seen > _MAX_FOLDERS:
                    return
                deeper.append(package)
                yield from (str((package / name).relative_to(root)) for name in NAMES
                            if is_real_file(package / name / "pyvenv.cfg"))  # fmt: skip
        level = deeper


def _packages(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
    except OSError:
        return []
    kept = (n for n in found if not n.startswith(".") and n not in NAMES and n not in _NEVER_PACKAGES)
    return [folder / name for name in kept if not is_real_file(folder / name / "pyvenv.cfg")]


def _is_conda(prefix: Path) -> bool:
    return is_real_folder(prefix / "conda-meta") and os.path.lexists(prefix / "bin" / "python")


# --- elsewhere -------------------------------------------------------------------------------------


def _kept_elsewhere(folder: Path) -> Iterator[Path]:
    """Environments that tools keep for a project outside of it."""
    given = os.environ.get("UV_PROJECT_ENVIRONMENT", "")
    if given:
        yield folder / given
    yield project_environment(folder)
    yield from _named_by_files(folder)
    digest = base64.urlsafe_b64encode(hashlib.sha256(os.fsencode(folder)).digest()).decode()[:8]
    cache = Path(os.environ.get("POETRY_CACHE_DIR") or _xdg("XDG_CACHE_HOME", ".cache") / "pypoetry")
    yield from sorted((cache / "virtualenvs").glob(f"*-{digest}-py3*"), reverse=True)
    data = _xdg("XDG_DATA_HOME", ".local/share")
    hatch = sorted((data / "hatch" / "env" / "virtual").glob(f"*/{digest}/*"))
    yield from sorted(hatch, key=lambda prefix: not has_pytest(prefix))
    for project in sorted(_virtualenvs().glob("*/.project")):
        if read_small(project).strip() == str(folder):
            yield project.parent


def _named_by_files(folder: Path) -> Iterator[Path]:
    """What files of the repo name: an environment in `.venv`, an interpreter in `.pdm-python`, pyenv's."""
    words = read_small(folder / ".venv").strip()
    if plain_name(words):
        yield _virtualenvs() / words
    elif Path(words).is_absolute() and "\n" not in words:
        yield Path(words)
    words = read_small(folder / ".pdm-python").strip()
    if words and "\n" not in words and Path(words).is_absolute():
        yield Path(words).parent.parent
    for name in map(plain_name, read_small(folder / ".python-version").split()):
        if name and is_real_file(_pyenv() / "versions" / name / "pyvenv.cfg"):
            yield _pyenv() / "versions" / name


def _virtualenvs() -> Path:
    given = os.environ.get("WORKON_HOME")
    return Path(given).expanduser() if given else _xdg("XDG_DATA_HOME", ".local/share") / "virtualenvs"


def _xdg(variable: str, usual: str) -> Path:
    given = os.environ.get(variable, "")
    return Path(given) if Path(given).is_absolute() else user_home() / usual


def _pyenv() -> Path:
    return Path(os.environ.get("PYENV_ROOT") or user_home() / ".pyenv").absolute()


def _active() -> Iterator[Path]:
    """What the user activated. conda's base is active for everybody who has conda, so it says nothing."""
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        given = os.environ.get(variable, "")
        if Path(given).is_absolute() and not (
            variable == "CONDA_PREFIX" and exists(Path(given) / "condabin")
        ):
            yield Path(given)


def _on_path(root: Path) -> Iterator[Found]:
    """Interpreters on the user's PATH that have pytest, ours left out. pyenv's shims stand for what they start."""
    folders = [Path(folder) for folder in os.get_exec_path() if Path(folder).is_absolute()]
    shims = _pyenv() / "shims"
    for folder in folders:
        if real(folder).is_relative_to(root):
            continue
        if folder == shims:
            prefixes = [_pyenv() / "versions" / name for name in _pyenv_versions(root)]
        else:
            programs = (folder / name for name in ("python", "python3"))
            prefixes = [real(p).parent.parent if not is_real_file(p.parent.parent / "pyvenv.cfg") else p.parent.parent
                        for p in programs if exists(p)]  # fmt: skip
        for prefix in prefixes:
            if not is_ours(prefix) and has_pytest(prefix):
                yield Found(prefix, is_installation=bool(standard_libraries(prefix)))


def _pyenv_versions(root: Path) -> list[str]:
    texts = (os.environ.get("PYENV_VERSION", "").replace(":", "\n"), read_small(root / ".python-version"),
             read_small(_pyenv() / "version"))  # fmt: skip
    return [name for text in texts for name in map(plain_name, text.split()) if name]
