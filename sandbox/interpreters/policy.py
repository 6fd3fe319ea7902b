"""Which Python a repo's tests run with, which compilers, and the policy that lets a sandbox run them.

In: a workspace. Out: a policy whose `readable` holds the environment and the interpreter that it was made
from, at their own paths, and whose PATH begins with it; for Rust and Go, the toolchain and what was fetched of the
registry's packages. Nothing of the repo is executed.

Docker: the mounted interpreter runs inside only where the image's libc fits; the docker backend tries it
once and else takes the image's own `python` (see docs/sandbox.md).
"""

from __future__ import annotations

import glob
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from sandbox.contract import Policy
from sandbox.reading import MEGABYTE, parse_toml, read_regular
from sandbox.workspace.diff import environment_names

_SYSTEM = (Path("/usr"), Path("/bin"), Path("/lib"))
"""Visible in every sandbox without being granted."""


def workspace_policy(workspace: Path, base: Policy | None = None) -> Policy:
    """`python_policy`, and the compilers that `workspace` has manifests for. Never raises."""
    policy = python_policy(workspace, base)
    root = workspace.expanduser().resolve()
    if (root / "Cargo.toml").is_file():
        policy = _with_rust(policy, root)
    if (root / "go.mod").is_file():
        policy = _with_go(policy, root)
    return policy


def _with_rust(policy: Policy, root: Path) -> Policy:
    """rustup's toolchain, and the packages that cargo has fetched; not its credentials."""
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo").absolute()
    fetched = [home / name for name in ("registry", "git") if (home / name).is_dir()]
    env = {**policy.env, "CARGO_HOME": str(home), "CARGO_NET_OFFLINE": "true"}
    toolchain = _rust_toolchain(root)
    if toolchain:
        env["PATH"] = f"{toolchain / 'bin'}:{policy.env['PATH']}"
        fetched.append(toolchain)
    return replace(policy, readable=(*policy.readable, *fetched), env=env)


def _rust_toolchain(root: Path) -> Path | None:
    """The one that the repo names, else rustup's default; None where rustup has neither."""
    rustup = Path(os.environ.get("RUSTUP_HOME") or Path.home() / ".rustup").absolute()
    wanted = [_toml(root / "rust-toolchain.toml").get("toolchain", {}), _toml(rustup / "settings.toml")]
    for settings, key in zip(wanted, ("channel", "default_toolchain"), strict=True):
        name = settings.get(key) if isinstance(settings, dict) else None
        found = sorted((rustup / "toolchains").glob(f"{glob.escape(name)}*")) if isinstance(name, str) else []
        if found and (found[0] / "bin" / "cargo").is_file():
            return found[0]
    return None


def _toml(file: Path) -> dict[str, Any]:
    try:
        return parse_toml(read_regular(file.resolve(), most_bytes=MEGABYTE))
    except (OSError, ValueError):
        return {}


def _with_go(policy: Policy, root: Path) -> Policy:
    """A Go that is not the system's, and the modules that it has fetched."""
    program = shutil.which("go")
    home = program and Path(program).resolve().parents[1]
    granted = [home] if home and not _visible(home, root) and (home / "src" / "runtime").is_dir() else []
    modules = Path(os.environ.get("GOMODCACHE") or Path.home() / "go" / "pkg" / "mod").absolute()
    env = {**policy.env, "GOPROXY": "off", "GOTOOLCHAIN": "local"}
    if modules.is_dir():
        env["GOMODCACHE"] = str(modules)
    if granted:
        env["PATH"] = f"{granted[0] / 'bin'}:{policy.env['PATH']}"
    return replace(
        policy, readable=(*policy.readable, *granted, *([modules] if modules.is_dir() else [])), env=env
    )


def python_policy(workspace: Path, base: Policy | None = None) -> Policy:
    """`base` plus the interpreter for `workspace`: its own `.venv`, `venv` or `env`, else the active
    virtual environment, else the one that runs us. Never raises: a broken environment is passed over."""
    base = base or Policy()
    prefix = find_environment(workspace)
    readable = [*base.readable, *grants(prefix, workspace.expanduser().resolve())]
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


def grants(prefix: Path, workspace: Path) -> list[Path]:
    """Directories to grant for an environment: itself, and the prefix that its interpreter really lives in. One that
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
