"""Lets a sandbox run a repo's compilers and runtimes: Rust's and Go's toolchains with what was fetched, and node.

In: a policy, the workspace's root. Out: the policy with more to read and a longer PATH. The repo may choose among the
toolchains that rustup manages, by name; all else comes from the user's own environment.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from sandbox.contract import Policy
from sandbox.environments import plain_name, read_small
from sandbox.grants import may_grant, outermost


def compilers_policy(policy: Policy, root: Path) -> Policy:
    """`policy`, and the compilers that `root` has manifests for. Never raises."""
    if (root / "Cargo.toml").is_file():
        policy = _with_rust(policy, root)
    if (root / "go.mod").is_file():
        policy = _with_go(policy, root)
    if (root / "package.json").is_file():
        policy = _with_node(policy, root)
    return policy


def _granted(policy: Policy, paths: list[Path], env: dict[str, str], programs: Path | None) -> Policy:
    env = {**policy.env, **env}
    if programs:
        env["PATH"] = f"{programs}:{env['PATH']}"
    return replace(policy, readable=tuple(outermost([*policy.readable, *paths])), env=env)


def _with_rust(policy: Policy, root: Path) -> Policy:
    """rustup's toolchain, and the packages that cargo has fetched; not its credentials."""
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo").absolute()
    fetched = [home / name for name in ("registry", "git") if (home / name).is_dir()]
    toolchain = rust_toolchain(root)
    env = {"CARGO_HOME": str(home), "CARGO_NET_OFFLINE": "true"}
    found = [*fetched, *([toolchain] if toolchain else [])]
    return _granted(policy, found, env, toolchain / "bin" if toolchain else None)


def rust_toolchain(root: Path) -> Path | None:
    """The toolchain that the repo names, else rustup's default; None where rustup has neither. It is a folder that
    rustup itself keeps: names with a slash or dots, and links to elsewhere, are nobody's toolchain."""
    rustup = Path(os.environ.get("RUSTUP_HOME") or Path.home() / ".rustup").absolute()
    manifest = _toml(root / "rust-toolchain.toml") or _toml(root / "rust-toolchain")
    section = manifest.get("toolchain")
    old = read_small(root / "rust-toolchain").strip() if not manifest else ""
    wanted = [section.get("channel") if isinstance(section, dict) else old]
    wanted.append(_toml(rustup / "settings.toml").get("default_toolchain"))
    try:
        kept = sorted(p for p in (rustup / "toolchains").iterdir() if p.is_dir() and not p.is_symlink())
    except OSError:
        return None
    for name in (plain_name(one) for one in wanted if isinstance(one, str)):
        found = [p for p in kept if name and (p.name == name or p.name.startswith(f"{name}-"))]
        if found and (found[0] / "bin" / "cargo").is_file():
            return found[0]
    return None


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_small(file))
    except (ValueError, RecursionError):
        return {}


def _with_go(policy: Policy, root: Path) -> Policy:
    """A Go that is not the system's, and the modules that it has fetched."""
    program = shutil.which("go", path=_path_outside(root))
    home = program and Path(program).resolve().parents[1]
    granted = [home] if home and may_grant(home, root) and (home / "src" / "runtime").is_dir() else []
    modules = Path(os.environ.get("GOMODCACHE") or Path.home() / "go" / "pkg" / "mod").absolute()
    env = {"GOPROXY": "off", "GOTOOLCHAIN": "local"}
    if modules.is_dir():
        env["GOMODCACHE"] = str(modules)
    found = [*granted, *([modules] if modules.is_dir() else [])]
    return _granted(policy, found, env, granted[0] / "bin" if granted else None)


def _with_node(policy: Policy, root: Path) -> Policy:
    """A node that is not the system's (nvm, fnm and the like keep one for each version), and the repo's own programs."""
    program = shutil.which("node", path=_path_outside(root))
    home = program and Path(program).resolve().parents[1]
    shaped = home and (home / "include" / "node").is_dir() and (home / "lib" / "node_modules").is_dir()
    found = []
    if home and shaped and may_grant(home, root):
        found = [home / "bin", home / "lib" / "node_modules"]
    policy = _granted(policy, found, {}, home / "bin" if home and found else None)
    if not (root / "node_modules" / ".bin").is_dir():
        return policy
    return replace(policy, env={**policy.env, "PATH": f"{policy.env['PATH']}:{root}/node_modules/.bin"})


def _path_outside(root: Path) -> str:
    """The user's PATH without what lies in the workspace."""
    folders = (Path(folder) for folder in os.get_exec_path() if Path(folder).is_absolute())
    return os.pathsep.join(str(f) for f in folders if not f.resolve().is_relative_to(root))
