"""Which Python a repo's tests run with, and the policy that lets a sandbox run it.

In: a workspace. Out: a policy whose `readable` holds the environment and the interpreter that it was made
from, at their own paths, and whose PATH begins with it. Nothing of the repo is executed.

Docker: the mounted interpreter runs inside only where the image's libc fits; the docker backend tries it
once and else takes the image's own `python` (see docs/sandbox.md).
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from sandbox.baseline import environment_names
from sandbox.contract import Policy

_SYSTEM = (Path("/usr"), Path("/bin"), Path("/lib"))
"""Visible in every sandbox without being granted."""


def python_policy(workspace: Path, base: Policy | None = None) -> Policy:
    """`base` plus the interpreter for `workspace`: its own `.venv`, `venv` or `env`, else the active
    virtual environment, else the one that runs us. Never raises: a broken environment is passed over."""
    base = base or Policy()
    prefix = find_environment(workspace)
    readable = [*base.readable, *_roots(prefix, workspace.expanduser().resolve())]
    path = base.env.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    env = {
        **base.env,
        "PATH": f"{prefix / 'bin'}:{path}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
    }
    if (prefix / "pyvenv.cfg").is_file():
        env["VIRTUAL_ENV"] = str(prefix)
    return replace(base, readable=tuple(dict.fromkeys(readable)), env=env)


def find_environment(workspace: Path) -> Path:
    """The prefix (the directory that holds `bin/python`) to run `workspace`'s tests with."""
    root = workspace.expanduser().resolve()
    active = os.environ.get("VIRTUAL_ENV")
    candidates = [root / name for name in environment_names(root)]
    if active:
        candidates.append(Path(active).absolute())
    for candidate in candidates:
        if (candidate / "bin" / "python").exists():
            return candidate
    return Path(sys.prefix)


def _roots(prefix: Path, workspace: Path) -> list[Path]:
    """Directories to grant: the environment, and the prefix that its interpreter really lives in. One that
    lies in the workspace or in the system's own directories is there already."""
    executable = (prefix / "bin" / "python").resolve()
    home = executable.parent.parent
    found = [prefix, *_link_homes(prefix / "bin" / "python")]
    # A repo could link its bin/python to anywhere: only something shaped like a Python is granted.
    if executable.name.startswith(("python", "pypy")) and any(home.glob("lib/python3*")):
        found.append(home)
    return [path for path in found if not _visible(path, workspace)]


def _link_homes(python: Path) -> list[Path]:
    """Prefixes of the links on the way to the real interpreter (pyenv, uv and asdf chain them)."""
    homes, seen = [], set()
    while python.is_symlink() and python not in seen:
        seen.add(python)
        python = python.parent / python.readlink()
        home = Path(os.path.normpath(python.parent.parent))
        if any(home.glob("lib/python3*")):
            homes.append(home)
    return homes


def _visible(path: Path, workspace: Path) -> bool:
    if path == path.parent or path == Path.home():
        return True  # never granted, however it is linked
    return any(path.is_relative_to(parent) for parent in (*_SYSTEM, workspace))
