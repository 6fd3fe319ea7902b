"""Makes the managed environment, in which tests run if the repo has no environment, none is active, and no Python here
has pytest.

In: nothing, or a Python installation that has pytest. Out: the prefix of an environment in the user's data folder, made
on first use in a fraction of a second, without any network and without running anything: an interpreter by a link, and
copies of pytest and of what it depends on, which Forklock depends on for this. Forklock itself is not in it, so that a
repo's own `tools/` or `agent/` folder is what its tests import.

Not covered: what the repo depends on. `install_words` says how the user gets it.
"""

from __future__ import annotations

import compileall
import hashlib
import shutil
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from filelock import FileLock
from packaging.requirements import InvalidRequirement, Requirement

from forklock.sandbox.contract import SandboxFault
from forklock.sandbox.interpreters.environments import find_environment, has_pytest, standard_libraries
from forklock.sandbox.interpreters.looks import exists, is_file, real
from forklock.sandbox.interpreters.projects import environments_dir

_LAYOUT = "1"
"""Version of what is made here; a change makes new environments."""
_STAMP = "made-by-forklock"
_SCRIPT = "#!{python}\nimport runpy\n\nrunpy.run_module('pytest', run_name='__main__', alter_sys=True)\n"


def managed_environment(installation: Path | None = None) -> Path:
    """Return the managed environment; make it if it is not there yet.

    Args:
        installation: a Python that has pytest, whose packages the environment then sees; None takes the Python that
            runs Forklock and none of its packages.

    Raises:
        SandboxFault: it cannot be made.
    """
    python = _program_of(installation) if installation else _base_python()
    library = next(iter(standard_libraries(python.parent.parent)), None)
    version = library.name if library else f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = [] if installation and has_pytest(installation) else _with_dependencies("pytest")
    told = [_LAYOUT, str(python), version, *(f"{one.name} {one.version}" for one in packages)]
    folder = environments_dir() / f"{version}-{hashlib.sha256(repr(told).encode()).hexdigest()[:12]}"
    if is_file(folder / _STAMP):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not is_file(folder / _STAMP):
                _make(folder, python, version, packages, sees_installation=installation is not None)
    except OSError as error:
        raise SandboxFault(
            f"no environment for tests can be made in {folder.parent}: {error.strerror or error}",
            fix="free space or set FORKLOCK_HOME, or make a .venv with pytest in the repository",
        ) from error
    return folder


def install_words(root: Path, module: str = "", cwd: str = ".") -> str:
    """Say what to install where, so that a repo's tests find `module` (or all that the repo depends on)."""
    found = find_environment(root, cwd)
    if module and _is_own(root, module, cwd):
        module = ""
    what = module or "the repository and what it depends on"
    broken = _broken(root)
    if broken:
        return f"{broken} names a Python that is not there: make it again, with `python3 -m venv --clear {broken.name}`"
    if found and not found.is_installation:
        return f"install {what} into {found.prefix}: `{found.prefix}/bin/python -m pip install {module or '-e .'}`"
    wanted = next(
        (f"-r {name}" for name in ("requirements-dev.txt", "requirements.txt") if is_file(root / name)), ""
    )
    own = "-e ." if is_file(root / "pyproject.toml") or is_file(root / "setup.py") else ""
    words = " ".join(filter(None, ["pytest", own, wanted, "" if own or wanted else module]))
    return (
        f"the repository has no environment {f'with {module}' if module else 'of its own'}: make one there, with "
        f"`python3 -m venv .venv && .venv/bin/pip install {words}`"
    )


def _is_own(root: Path, module: str, cwd: str) -> bool:
    """Return whether a module is the repo's own and only not installed."""
    places = (
        root / place / name for place in (cwd, f"{cwd}/src", ".", "src") for name in (module, f"{module}.py")
    )
    return any(exists(place) for place in places)


def _broken(root: Path) -> Path | None:
    python = root / ".venv" / "bin" / "python"
    return root / ".venv" if python.is_symlink() and not exists(python) else None


def _base_python() -> Path:
    """Return the interpreter that runs us, outside of any environment."""
    return Path(getattr(sys, "_base_executable", "") or sys.executable).resolve()


def _program_of(installation: Path) -> Path:
    names = [library.name for library in standard_libraries(installation)]
    for name in (*names, "python3", "python"):
        if exists(installation / "bin" / name):
            return real(installation / "bin" / name)
    raise SandboxFault(f"{installation} has no interpreter", fix="make a .venv in the repository")


def _with_dependencies(name: str) -> list[Distribution]:
    """Return a package of our own environment and everything that it needs there.

    Raises:
        SandboxFault: it is not installed.
    """
    found: dict[str, Distribution] = {}
    queue = [name]
    while queue:
        wanted = queue.pop()
        if wanted in found:
            continue
        try:
            found[wanted] = distribution(wanted)
        except PackageNotFoundError as error:
            raise SandboxFault(
                f"{wanted} is missing in Forklock's own environment",
                fix=f"install Forklock again, or `{sys.executable} -m pip install {wanted}`",
            ) from error
        queue += _requirements(found[wanted])
    return [found[key] for key in sorted(found)]


def _requirements(package: Distribution) -> list[str]:
    names = []
    for line in package.requires or []:
        try:
            one = Requirement(line)
        except InvalidRequirement:
            continue
        if one.marker is None or one.marker.evaluate({"extra": ""}):
            names.append(one.name.lower())
    return names


def _make(
    folder: Path, python: Path, version: str, packages: list[Distribution], *, sees_installation: bool
) -> None:
    """Make what `python -m venv --without-pip` would make, and copy packages into it."""
    shutil.rmtree(folder, ignore_errors=True)
    programs, site = folder / "bin", folder / "lib" / version / "site-packages"
    programs.mkdir(parents=True)
    site.mkdir(parents=True)
    (programs / "python").symlink_to(python)
    for name in ("python3", version):
        (programs / name).symlink_to("python")
    seen = "true" if sees_installation else "false"
    (folder / "pyvenv.cfg").write_text(
        f"home = {python.parent}\ninclude-system-site-packages = {seen}\nversion = {version.removeprefix('python')}\n"
    )
    for package in packages:
        _copy(package, site)
    compileall.compile_dir(site, quiet=2)
    for name in ("pytest", "py.test"):
        script = programs / name
        script.write_text(_SCRIPT.format(python=programs / "python"))
        script.chmod(0o755)
    (folder / _STAMP).write_text("")


def _copy(package: Distribution, site: Path) -> None:
    """Copy its modules and metadata, compiled ones included; not its programs."""
    for file in package.files or []:
        if ".." in file.parts or file.is_absolute():
            continue
        source, target = Path(str(package.locate_file(file))), site / file
        if is_file(source):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
