"""Reads the files by which a repo says what it depends on: regular files inside the repo, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forklock.sandbox.contract import SandboxFault
from forklock.sandbox.files.reading import Unreadable, parse_toml


def read_file(repo: Path, name: str) -> bytes | None:
    """Read a regular file of the repo. A link that leads out is not followed: its content would go into an image."""
    path = repo / name
    try:
        if not path.is_file() or not path.resolve().is_relative_to(repo.resolve()):
            return None
        return path.read_bytes()
    except OSError as error:
        raise SandboxFault(f"{name} cannot be read: {error.strerror}", fix="see its permissions") from error


def read_toml(repo: Path, name: str) -> dict[str, Any]:
    data = read_file(repo, name)
    try:
        return parse_toml(data) if data is not None else {}
    except Unreadable as error:
        raise SandboxFault(f"{name} is not valid TOML: {error}", fix=f"correct {name}") from error


def read_json(name: str, data: bytes) -> dict[str, Any]:
    import json5  # dev containers have comments

    try:
        found = json5.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise SandboxFault(f"{name} is not valid JSON: {error}", fix=f"correct {name}") from error
    return found if isinstance(found, dict) else {}


def inside(repo: Path, name: str) -> str:
    """Return the path in its shortest form.

    Raises:
        SandboxFault: it leaves the repo.
    """
    root = repo.resolve()
    path = (root / name).resolve()
    if not path.is_relative_to(root):
        raise SandboxFault(f"{name} lies outside of the repo", fix="name a place inside it")
    return path.relative_to(root).as_posix()


def table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def strings(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
