"""Finds and undoes an agent's changes to how tests are run, rather than to what they test.

Given the paths that an agent changed, the test command and the hidden tests, `RunnerRules` says which paths are left
out of the agent's answer, and `RunnerState` restores a checkout. Whole classes of files count
(`forklock.tools.frozen.runner_files`): settings, plug-ins, registrations, compiled files, modules in the runner's
place, and helpers beside the hidden tests.

Not covered, since it cannot be: the code under test shares a process with its tests, and could do the same from any
module.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from forklock.tools.contract import ToolFault
from forklock.tools.frozen.runner_files import (
    is_python_runner_file,
    is_runner_file,
    is_settings,
    pytest_settings,
    settings_that_count,
    shadowed,
)
from forklock.tools.index.files import is_test_path
from forklock.tools.testing.command import parse_command

Content = Callable[[str], bytes | None]
"""Returns a file's content, anything for a folder, and None where there is nothing."""


@dataclass(frozen=True, slots=True)
class RunnerRules:
    """Decides which paths determine how the hidden tests are run."""

    python: bool
    """pytest or unittest run them, and nothing is built."""
    hidden: tuple[str, ...] = ()

    @classmethod
    def of(cls, command: str, hidden: Sequence[str]) -> RunnerRules:
        try:
            runner = parse_command(command).runner
        except ToolFault:
            runner = "other"
        return cls(runner in ("pytest", "unittest"), tuple(hidden))

    def say_how(self, path: str, before: Content, after: Content) -> bool:
        """Whether a changed path determines how tests are run."""
        if path in self.hidden:
            return False
        if is_python_runner_file(path) if self.python else is_runner_file(path):
            return True
        if is_settings(path):
            part = pytest_settings if self.python else settings_that_count
            return part(path, before(path)) != part(path, after(path))
        return self._beside_the_tests(path) or self._displaces(path, before)

    def _beside_the_tests(self, path: str) -> bool:
        """Whether a path is a helper of the hidden tests: it lies in one of their folders."""
        folders = {str(PurePosixPath(one).parent) for one in self.hidden} - {"."}
        return is_test_path(path) and any(str(parent) in folders for parent in PurePosixPath(path).parents)

    def _displaces(self, path: str, before: Content) -> bool:
        found = shadowed(path, self._roots(before))
        if found is None:
            return False
        place = f"{found[1]}/{found[0]}".lstrip("/")
        return before(place) is None and before(f"{place}.py") is None

    def _roots(self, before: Content) -> set[str]:
        roots = {"", "src", "lib", "python"}
        for one in self.hidden:
            folder = PurePosixPath(one).parent
            roots.add("" if str(folder) == "." else str(folder))
            while str(folder) != "." and before(f"{folder}/__init__.py") is not None:
                folder = folder.parent
            roots.add("" if str(folder) == "." else str(folder))
        return roots


@dataclass(frozen=True, slots=True)
class RunnerState:
    """The files that run the tests in a checkout, as they were before an answer."""

    root: Path
    rules: RunnerRules
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Content of the files and links that may be restored."""
    known: frozenset[str] = frozenset()
    """All paths, folders included."""

    @classmethod
    def of(cls, root: Path, rules: RunnerRules) -> RunnerState:
        paths = frozenset(_walk(root))
        kept = {path: data for path in paths if _may_count(path) and (data := _read(root / path)) is not None}
        return cls(root, rules, kept, paths)

    @property
    def own_plugins(self) -> bool:
        """Whether the checkout registers plug-ins of pytest itself, as a plug-in's own repository may."""
        return any(path.endswith("entry_points.txt") for path in self.known)

    def restore(self) -> list[str]:
        """Restores what an answer changed, and returns the paths."""

        def before(path: str) -> bytes | None:
            return self.files.get(path, b"") if path in self.known else None

        def after(path: str) -> bytes | None:
            return _read(self.root / path)

        now = frozenset(_walk(self.root))
        changed = [
            path
            for path in sorted(self.known | now)
            if path not in self.known or (path in self.files and after(path) != self.files[path])
        ]
        undone = [path for path in changed if self.rules.say_how(path, before, after)]
        for path in sorted(undone, reverse=True):  # what lies in a folder before the folder
            self._clear(self.root / path)
        for path in undone:
            self._put_back(path)
        return undone

    def _clear(self, target: Path) -> None:
        """Removes what is in a path's place, and what blocks the way to it."""
        inner = target.relative_to(self.root)
        for step in [self.root / parent for parent in reversed(inner.parents)][1:]:
            if step.is_symlink() or step.is_file():
                step.unlink()
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)

    def _put_back(self, path: str) -> None:
        target = self.root / path
        kept = self.files.get(path)
        if kept is None:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if kept.startswith(_LINK):
            target.symlink_to(os.fsdecode(kept.removeprefix(_LINK)))
        else:
            target.write_bytes(kept)


_LINK = b"\0a link to "


def _may_count(path: str) -> bool:
    return is_python_runner_file(path) or is_runner_file(path) or is_settings(path) or is_test_path(path)


def _walk(root: Path) -> Iterator[str]:
    """Paths of files, links and folders, none of them followed."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != ".git"]
        inner = Path(folder).relative_to(root)
        yield from ((inner / name).as_posix() for name in (*folders, *names))


def _read(file: Path) -> bytes | None:
    """Reads a regular file; for a link, where it leads, marked so that no file's content equals it."""
    try:
        if file.is_symlink():
            return _LINK + os.fsencode(file.readlink())
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as source:
            return source.read()
    except OSError:
        return None


def changes_of_the_runner(
    changed: Iterable[str], before: Content, after: Content, rules: RunnerRules | None = None
) -> list[str]:
    """Those of `changed` that determine how tests are run."""
    known = rules or RunnerRules(python=True)
    return [path for path in changed if known.say_how(path, before, after)]
