"""The Python that a repository is written for, and what ruff's parser says of text under that version.

Comes in: a root. Goes out: `Target`, or None where nothing says it. Its files are read, never run: the environment in
`.venv`, `.python-version`, `requires-python`. Where several speak, the oldest counts: code must parse on all of them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from forklock.sandbox.files.reading import parse_json, parse_toml
from forklock.tools.contract import EditRefused
from forklock.tools.languages.definitions import Target
from forklock.tools.paths import resolve

Version = tuple[int, int]
OURS: Version = (sys.version_info[0], sys.version_info[1])
OLDEST: Version = (3, 7)
NEWEST: Version = (3, 14)
"""What ruff's parser knows."""
_BYTES = 1 << 16
_TIMEOUT_S = 20.0
_HOME = re.compile(r"^version(?:_info)?\s*=\s*(\d+)\.(\d+)", re.MULTILINE)
_PINNED = re.compile(r"\s*(?:cpython-|python-?)?(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The first thing in a text that does not fit."""

    line: int
    """From 1."""
    column: int
    """From 0."""
    message: str


def said(version: Version) -> str:
    return f"{version[0]}.{version[1]}"


def target_python(root: Path) -> Target | None:
    """Return the oldest version that the repository says it runs on."""
    found = [one for one in _told(root) if one.version[0] == 3]
    return min(found, key=lambda one: one.version, default=None)


def _told(root: Path) -> Iterator[Target]:
    for folder in (".venv", "venv", "env"):
        if home := _HOME.search(_text(root, f"{folder}/pyvenv.cfg")):
            yield Target((int(home[1]), int(home[2])), folder)
            break
    if pinned := _PINNED.match(_text(root, ".python-version")):
        yield Target((int(pinned[1]), int(pinned[2])), ".python-version")
    with contextlib.suppress(ValueError):
        project = parse_toml(_text(root, "pyproject.toml").encode())
        required = _at(project, "project", "requires-python")
        required = required or _at(project, "tool", "poetry", "dependencies", "python")
        if isinstance(required, str) and (lowest := _lowest(required)):
            yield Target(lowest, f"pyproject.toml: {required[:40]}")


def _at(table: Any, *keys: str) -> Any:
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    return table


def _lowest(required: str) -> Version | None:
    """Return the lowest version that a specifier lets in; None where it has no lower bound."""
    if caret := re.match(r"\s*[\^~]\s*(\d+)\.(\d+)", required):  # Poetry's own way
        return int(caret[1]), int(caret[2])
    try:
        allowed = SpecifierSet(required)
    except InvalidSpecifier:
        return None
    if not any(one.operator in {">=", ">", "==", "~=", "==="} for one in allowed):
        return None
    return next(
        ((3, m) for m in range(40) if any(allowed.contains(f"3.{m}.{p}") for p in (0, 1, 9, 99))), None
    )


def _text(root: Path, path: str) -> str:
    """Return the beginning of a regular file of the workspace; "" for anything else."""
    try:
        descriptor = os.open(resolve(root, path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, EditRefused, ValueError):
        return ""
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        return file.read(_BYTES).decode("utf-8", "replace")


@lru_cache(maxsize=512)
def verdict(text: str, version: Version) -> Verdict | str | None:
    """Ask ruff's parser whether a text is Python of a version. None: it is; a string: ruff cannot be asked."""
    program = find_ruff()
    if program is None:
        return "ruff is not installed"
    minor = min(max(version, OLDEST), NEWEST)[1]
    command = [
        program, "check", "--isolated", "--no-cache", "--ignore-noqa", "--select", "F7", "--quiet",
        "--target-version", f"py3{minor}", "--output-format", "json", "--stdin-filename", "text.py", "-",
    ]  # fmt: skip
    try:
        data = text.encode("utf-8", "surrogatepass")
        done = subprocess.run(
            command, input=data, capture_output=True, timeout=_TIMEOUT_S, cwd="/", check=False
        )
        rows = parse_json(done.stdout or b"[]")
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        return f"ruff cannot be asked: {error}"
    if done.returncode not in (0, 1):
        return f"ruff ended with {done.returncode}"
    found = [Verdict(r["location"]["row"], r["location"]["column"] - 1, str(r["message"])) for r in rows]
    return min(found, key=lambda one: (one.line, one.column), default=None)


@lru_cache(maxsize=1)
def find_ruff() -> str | None:
    """The ruff of this tool's own environment, else the one on PATH; never one of the repo."""
    beside = Path(sys.executable).with_name("ruff")
    return str(beside) if beside.is_file() else shutil.which("ruff")
