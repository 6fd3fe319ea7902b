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

from forklock.sandbox.contract import Policy
from forklock.sandbox.interpreters.grants import may_grant, outermost
from forklock.sandbox.interpreters.looks import is_file, is_folder, plain_name, read_small, real, user_home


def compilers_policy(policy: Policy, root: Path) -> Policy:
    """Return `policy` with the compilers that `root` has manifests for. Never raises."""
    if is_file(root / "Cargo.toml"):
        policy = _with_rust(policy, root)
    if is_file(root / "go.mod"):
        policy = _with_go(policy, root)
    if is_file(root / "package.json"):
        policy = _with_node(policy, root)
    return policy


def _granted(policy: Policy, paths: list[Path], env: dict[str, str], programs: Path | None) -> Policy:
    env = {**policy.env, **env}
    if programs:
        env["PATH"] = f"{programs}:{env['PATH']}"
    return replace(policy, readable=tuple(outermost([*policy.readable, *paths])), env=env)


def _with_rust(policy: Policy, root: Path) -> Policy:
    """Add rustup's toolchain and the packages that cargo has fetched, without its credentials."""
    home = Path(os.environ.get("CARGO_HOME") or user_home() / ".cargo").absolute()
    fetched = [home / name for name in ("registry", "git") if is_folder(home / name)]
    toolchain = rust_toolchain(root)
    env = {"CARGO_HOME": str(home), "CARGO_NET_OFFLINE": "true"}
    found = [*fetched, *([toolchain] if toolchain else [])]
    return _granted(policy, found, env, toolchain / "bin" if toolchain else None)


def rust_toolchain(root: Path) -> Path | None:
    """Return the toolchain that the repo names, else rustup's default; None if rustup has neither. Only a folder that
    rustup itself keeps counts: names with a slash or dots, and links to elsewhere, are rejected."""
    rustup = Path(os.environ.get("RUSTUP_HOME") or user_home() / ".rustup").absolute()
    manifest = _toml(root / "rust-toolchain.toml") or _toml(root / "rust-toolchain")
    section = manifest.get("toolchain")
    old = read_small(root / "rust-toolchain").strip() if not manifest else ""
    wanted = [section.get("channel") if isinstance(section, dict) else old]
    wanted.append(_toml(rustup / "settings.toml").get("default_toolchain"))
    try:
        kept = sorted(p for p in (rustup / "toolchains").iterdir() if is_folder(p) and not p.is_symlink())
    except OSError:
        return None
    for name in (plain_name(one) for one in wanted if isinstance(one, str)):
        found = [p for p in kept if name and (p.name == name or p.name.startswith(f"{name}-"))]
        if found and is_file(found[0] / "bin" / "cargo"):
            return found[0]
    return None


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_small(file))
    except (ValueError, RecursionError):
        return {}


def _with_go(policy: Policy, root: Path) -> Policy:
    """Add a Go that is not the system's, and the modules that it has fetched."""
    program = shutil.which("go", path=_path_outside(root))
    home = program and real(Path(program)).parents[1]
    granted = [home] if home and may_grant(home, root) and is_folder(home / "src" / "runtime") else []
    modules = Path(os.environ.get("GOMODCACHE") or user_home() / "go" / "pkg" / "mod").absolute()
    env = {"GOPROXY": "off", "GOTOOLCHAIN": "local"}
    if is_folder(modules):
        env["GOMODCACHE"] = str(modules)
    found = [*granted, *([modules] if is_folder(modules) else [])]
    return _granted(policy, found, env, granted[0] / "bin" if granted else None)


def _with_node(policy: Policy, root: Path) -> Policy:
    """Add a node that is not the system's (nvm and fnm keep one per version), and the repo's own programs."""
    program = shutil.which("node", path=_path_outside(root))
    home = program and real(Path(program)).parents[1]
    shaped = home and is_folder(home / "include" / "node") and is_folder(home / "lib" / "node_modules")
    found = []
    if home and shaped and may_grant(home, root):
        found = [home / "bin", home / "lib" / "node_modules"]
    policy = _granted(policy, found, {}, home / "bin" if home and found else None)
    if not is_folder(root / "node_modules" / ".bin"):
        return policy
    return replace(policy, env={**policy.env, "PATH": f"{policy.env['PATH']}:{root}/node_modules/.bin"})


def _path_outside(root: Path) -> str:
    """Return the user's PATH without what lies in the workspace."""
    folders = (Path(folder) for folder in os.get_exec_path() if Path(folder).is_absolute())
    return os.pathsep.join(str(f) for f in folders if not real(f).is_relative_to(root))
