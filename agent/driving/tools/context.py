"""What the tools of one rollout share: its workspace, its check, what is known of its files, and the language servers.

Not covered: a rollout whose calls run at the same time. Its loop makes one after the other.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from forklock.agent.contract import Task
from forklock.agent.judging.guard import Check, Guard
from forklock.models.families.profile import EditFormat
from forklock.sandbox import Sandbox
from forklock.sandbox.linux.nofollow import folder_of
from forklock.tools.contract import TestReport
from forklock.tools.frozen.runner_files import is_built
from forklock.tools.index.files import CodeIndex, SourceFile, all_files, load_index, text_inside
from forklock.tools.languages.known import language_of
from forklock.tools.languages.text import to_lf

if TYPE_CHECKING:
    from forklock.tools.lsp import Intel

MAX_FILES = 100_000
"""Files that are looked at after a command."""
_NOT_ENTERED = frozenset({".git", ".forklock"})


def is_inside(root: Path, path: str) -> bool:
    """Whether something is there, with no link on the way to it."""
    try:
        with folder_of(root, path) as (folder, last):
            os.stat(last, dir_fd=folder, follow_symlinks=False)
    except (OSError, ValueError):
        return False
    return True


@dataclass(slots=True)
class Context:
    """The state of one rollout's tools."""

    workspace: Sandbox
    """The rollout's fork. It is another one after a command was undone."""
    task: Task
    check: Check
    form: EditFormat
    guard: Guard | None
    """What judges the task. None: nothing does yet, and everything may be written."""
    given: Intel | None
    """The language servers of the base. None: none are asked."""
    may_go_on: Callable[[], bool]
    failures: Counter[str] = field(default_factory=Counter)
    """Refused edits in a row, by path."""
    finish_refused: bool = False
    version: int = 0
    """How often something was written."""
    judged: tuple[int, TestReport | str] | None = None
    """What the check said, and of which version."""
    aside: set[str] = field(default_factory=set)
    """Tests that the rollout made, and what Python compiled of tests: put aside while the check runs."""
    _own_intel: Intel | None = None
    _files: list[str] | None = None
    _index: CodeIndex | None = None
    _roots: dict[str, None] = field(default_factory=dict)
    _forks: list[Sandbox] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.workspace.root

    # --- paths and texts ---------------------------------------------------------------------------

    def path(self, written: str) -> str:
        """Return a path as a model wrote it, relative to the workspace if it is below it. It may lead anywhere."""
        path = written.strip().strip("`'\"")
        for base in (self.workspace.workdir, str(self.root)):
            if path == base:
                return "."
            path = path.removeprefix(f"{base}/")
        while path.startswith("./"):
            path = path[2:].lstrip("/")
        return path.rstrip("/") or (path and ".")

    def relative(self, text: str) -> str:
        """Return what a program or the harness said with paths of the workspace made relative."""
        self._roots[str(self.root)] = self._roots[self.workspace.workdir] = None
        for root in sorted(self._roots, key=len, reverse=True):
            text = text.replace(f"{root}/", "").replace(root, ".")
        return text

    def forked(self) -> Sandbox:
        """Return a copy of the workspace as it is now. The caller closes it."""
        fork = self.workspace.fork()
        self._roots[str(fork.root)] = self._roots[fork.workdir] = None
        return fork

    # --- files -------------------------------------------------------------------------------------

    def files(self) -> list[str]:
        """Return the paths of all files that git does not ignore."""
        if self._files is None:
            self._files = all_files(self.root)
        return self._files

    def forget_files(self) -> None:
        """Look for files anew: a command may have made some."""
        self._files = None

    def index(self) -> CodeIndex:
        """Return what the code files define."""
        if self._index is None:
            self._index = load_index(self.root)
        return self._index

    def wrote(self, paths: Iterable[str] | None) -> None:
        """Take note that these files were changed, made or removed (None: anything may have been)."""
        self.version += 1
        if paths is None:
            self._files = self._index = None
        else:
            self._list_anew(paths)
            self._index = self._index and self._reread(self._index, paths)
        if self._own_intel is not None:
            self._own_intel.sync(paths)
        elif self.given is not None and self._is_given():
            self.given.sync(paths)

    def _list_anew(self, paths: Iterable[str]) -> None:
        if self._files is not None:
            there = {path for path in paths if is_inside(self.root, path)}
            self._files = sorted({*self._files, *there} - (set(paths) - there))

    def _reread(self, index: CodeIndex, paths: Iterable[str]) -> CodeIndex:
        files = dict(index.files)
        for path in paths:
            files.pop(path, None)
            text = text_inside(self.root, path) if language_of(path).reads else None
            if text is not None:
                files[path] = SourceFile(path, to_lf(text))
        return CodeIndex(self.root, dict(sorted(files.items())))

    def signs(self) -> dict[str, tuple[int, ...]]:
        """Return what tells whether a file was written since, by path. What tools install and build is left out."""
        found: dict[str, tuple[int, ...]] = {}
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            with contextlib.suppress(OSError), os.scandir(self.root / folder) as entries:
                for entry in entries:
                    path = f"{folder}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name == "__pycache__" or not (
                            entry.name in _NOT_ENTERED or is_built(entry.name)
                        ):
                            waiting.append(f"{path}/")
                    elif len(found) < MAX_FILES:
                        about = entry.stat(follow_symlinks=False)
                        found[path] = (about.st_ino, about.st_size, about.st_mode, about.st_mtime_ns)
        return found

    def replace_workspace(self, fork: Sandbox) -> None:
        """Go on in another copy of the workspace, made by `forked`. The one before stays open until the end."""
        self._roots[str(self.root)] = None
        self._forks.append(fork)
        self.workspace = fork
        if self._own_intel is not None:
            self._own_intel.close()
            self._own_intel = None
        self.wrote(None)

    # --- language servers --------------------------------------------------------------------------

    def intel(self) -> Intel | None:
        """Return the language servers of this workspace, opened on first use. What they report then is not new."""
        if self.given is None or self._is_given():
            return self.given
        if self._own_intel is None:
            from forklock.tools.lsp import DEFAULT, find_python, open_intel, servers_for

            python = find_python(self.task.repo)
            servers = servers_for(self.root)
            self._own_intel = open_intel(self.root, servers=servers, warm=DEFAULT, python=python)
        return self._own_intel

    def _is_given(self) -> bool:
        return self.given is not None and self.given.root == self.root.resolve()

    def close(self) -> None:
        """Close the language servers and forks that were opened here."""
        if self._own_intel is not None:
            self._own_intel.close()
            self._own_intel = None
        while self._forks:
            self._forks.pop().close()
