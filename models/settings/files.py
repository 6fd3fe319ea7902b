"""Finds and reads settings files: the user's own, and that of the repository in which work is done.

A repository's file is `forklock.toml` with one `[section]` per room, or `[tool.forklock.section]` in `pyproject.toml`;
it is looked for in the start folder and its parents up to the repository's root, and never through a link that leaves
it. The user's file is `forklock.toml` in the user's configuration folder (`forklock.models.paths.settings_file`).
Which of a repository's settings count is decided in `forklock.models.settings.room`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from forklock.models.contract import ModelFault
from forklock.models.paths import HOME_VARIABLE, lies_in_repository, settings_file
from forklock.sandbox.files.reading import MEGABYTE, Unreadable, parse_toml, read_regular

SECTIONS = ("agent", "models", "selfdistill")
"""Sections that a settings file may have: the rooms that read settings."""
FLAGS_ONLY = ("evals", "sandbox", "tools")
"""Rooms without settings; they take flags only."""
_MOST_BYTES = MEGABYTE


class BadSettings(ModelFault):
    """A settings file, variable or flag is wrong."""

    exit_code = 2


class FaultClass(Protocol):
    """A room's error class."""

    def __call__(self, message: str, *, fix: str = "") -> Exception: ...


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """A settings file that was found and parsed."""

    path: Path
    prefix: str
    """What stands before a section's name: "" in forklock.toml, "tool.forklock." in pyproject.toml."""
    sections: Mapping[str, Any]

    def table(self, section: str, fault: FaultClass) -> tuple[dict[str, Any], str]:
        """The settings of a section, and where they stand.

        Raises:
            fault: the section is no table.
        """
        where = f"{self.path} [{self.prefix}{section}]"
        table = self.sections.get(section, {})
        if not isinstance(table, dict):
            raise fault(f"{where} must be a table of settings.", fix=f"Write [{section}] as a table.")
        return table, where


def find_user_file(start: Path, *, fault: FaultClass = BadSettings) -> SettingsFile | None:
    """Return the user's own settings file, if there is one.

    Raises:
        fault: it is damaged, or lies in the repository that `start` is in.
    """
    path = settings_file()
    top = _top_of(start.absolute())
    if not path.is_file():
        return None
    if top is not None and lies_in_repository(path, top):
        raise fault(
            f"{path} lies in the repository {top}, whose content is not taken for your word.",
            fix=f"Set {HOME_VARIABLE} to a folder outside it.",
        )
    return _checked(SettingsFile(path, "", _parse(path.resolve(), fault)), fault)


def find_settings_file(start: Path, *, fault: FaultClass = BadSettings) -> SettingsFile | None:
    """Return the nearest settings file from `start` upwards, not beyond the repository's root.

    In one folder `forklock.toml` and `[tool.forklock]` in `pyproject.toml` exclude each other. Outside repositories
    only files of this user and of root count.

    Raises:
        fault: a file is damaged, or a link that leaves the repository.
    """
    start = start.absolute()
    top = _top_of(start)
    for folder in (start, *start.parents):
        own, project = folder / "forklock.toml", folder / "pyproject.toml"
        tables = _parse(_within(own, top, fault), fault) if _counts(own, top) else None
        shared = _tool_table(project, top, fault) if _counts(project, top) else None
        if tables is not None and shared is not None:
            raise fault(
                f"{own} and [tool.forklock] in {project} both hold settings.", fix="Keep one of the two."
            )
        if tables is not None:
            return _checked(SettingsFile(own, "", tables), fault)
        if shared is not None:
            return _checked(SettingsFile(project, "tool.forklock.", shared), fault)
        if folder == top:
            return None
    return None


def _top_of(start: Path) -> Path | None:
    """Root of the repository that `start` is in."""
    return next((folder for folder in (start, *start.parents) if os.path.lexists(folder / ".git")), None)


def _counts(path: Path, top: Path | None) -> bool:
    if not path.is_file():
        return False
    user = settings_file()
    if user.is_file() and path.samefile(user):
        return False
    return top is not None or path.stat().st_uid in (0, os.geteuid())


def _within(path: Path, top: Path | None, fault: FaultClass) -> Path:
    """The file itself, links followed.

    Raises:
        fault: it is a link that leaves the repository.
    """
    resolved = path.resolve()
    if not resolved.is_relative_to((top or path.parent).resolve()):
        raise fault(
            f"{path} is a link that leaves the repository.", fix="Write the settings into the file itself."
        )
    return resolved


def _parse(path: Path, fault: FaultClass) -> dict[str, Any]:
    try:
        return parse_toml(read_regular(path, most_bytes=_MOST_BYTES))
    except Unreadable as error:
        raise fault(f"{path} is not valid TOML: {error}.", fix="Correct the file at that line.") from None
    except OSError as error:
        raise fault(f"{path} cannot be read: {error.strerror}.", fix="Check its permissions.") from None


def _tool_table(project: Path, top: Path | None, fault: FaultClass) -> dict[str, Any] | None:
    try:
        path = _within(project, top, BadSettings)
    except BadSettings:
        return None  # others' file: where it leads is not ours to judge, and it is not read
    tool = _parse(path, fault).get("tool")
    table = tool.get("forklock") if isinstance(tool, dict) else None
    return table if isinstance(table, dict) else None


def _checked(file: SettingsFile, fault: FaultClass) -> SettingsFile:
    for name in file.sections:
        if name in FLAGS_ONLY:
            raise fault(
                f"{file.path}: nothing reads the section [{file.prefix}{name}].",
                fix=f"Remove it; `{'agent sandbox' if name == 'sandbox' else name} --help` lists the flags.",
            )
        if name not in SECTIONS:
            near = difflib.get_close_matches(name, SECTIONS, n=1)
            hint = f"Did you mean [{file.prefix}{near[0]}]?" if near else f"Sections: {', '.join(SECTIONS)}."
            raise fault(f"{file.path}: there is no section {name!r}.", fix=hint)
    return file
