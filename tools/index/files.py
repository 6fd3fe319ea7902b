"""What a repo's code files define and mention: one fast pass that the map and localisation share.

Comes in: a root folder. Goes out: a `CodeIndex` of texts, definition heads and word counts, strings and
comments left out, made where they are asked for and linear in the size of the repo. Everything is in sorted order:
same repo, same index. Not covered: generated names, ignored files, files over `MAX_BYTES`.
"""

from __future__ import annotations

import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath

from forklock.sandbox.contract import SandboxFault
from forklock.sandbox.git.tree import list_files
from forklock.sandbox.interpreters.environments import environment_names
from forklock.sandbox.linux.nofollow import Walk, read_inside
from forklock.tools.languages.definitions import Definition
from forklock.tools.languages.known import language_of
from forklock.tools.languages.language import Language
from forklock.tools.languages.text import to_lf

MAX_BYTES = 1_000_000
MAX_FILES = 20_000
_DEPTH = 64
_SKIPPED = frozenset({"node_modules", "__pycache__", "venv", "env", "build", "dist", "site-packages"})


@dataclass(frozen=True)
class SourceFile:
    path: str
    text: str
    """LF line ends."""

    @cached_property
    def language(self) -> Language:
        return language_of(self.path)

    @property
    def group(self) -> str:
        return self.language.group

    @cached_property
    def code(self) -> str:
        """The text without strings and comments."""
        return self.language.code(self.text)

    @cached_property
    def words(self) -> Counter[str]:
        return self.language.words(self.code)

    @cached_property
    def heads(self) -> tuple[Definition, ...]:
        """Classes, functions and methods. `name_line` is where they are named; where they end may be missing."""
        return self.language.heads(self.text, self.code)

    def signature(self, head: Definition) -> str:
        """What opens a definition, on one line."""
        return self.language.head_line(self.text, head)

    @property
    def is_test(self) -> bool:
        return is_test_path(self.path)

    @property
    def module(self) -> str:
        """Dotted name from the root."""
        return self.language.module(self.path)


@dataclass(frozen=True)
class CodeIndex:
    root: Path
    files: dict[str, SourceFile]
    """By path, sorted."""

    @cached_property
    def defined(self) -> dict[str, list[tuple[str, Definition]]]:
        """Where each bare name is defined by a function or class: (path, head) in order."""
        found: dict[str, list[tuple[str, Definition]]] = defaultdict(list)
        for path, file in self.files.items():
            for head in file.heads:
                found[head.name].append((path, head))
        return dict(found)

    def file_of(self, path: str, frames: Iterable[str] = ()) -> str | None:
        """The file that a runner names, from a folder of its own perhaps: by the frames of a failure, else the only one
        whose path ends so."""
        if path in self.files and not any(frame.endswith(f"/{path}") for frame in frames):
            return path
        ends = f"/{path}"
        named = [frame for frame in frames if frame.endswith(ends) and frame in self.files]
        found = named or [known for known in self.files if known.endswith(ends)]
        return found[0] if named or len(found) == 1 else None

    @cached_property
    def modules(self) -> dict[str, str]:
        """Path of each dotted module."""
        return {file.module: path for path, file in self.files.items()}


def load_index(root: Path, *languages: Language) -> CodeIndex:
    """Read the repo's files of these languages as they are now; of all that are known, where none is given."""
    files = {}
    for path in code_files(root, *languages):
        text = read_regular(root / path)
        if text is not None:
            files[path] = SourceFile(path, to_lf(text))
    return CodeIndex(root, files)


@lru_cache(maxsize=65_536)
def is_test_path(path: str) -> bool:
    """Whether a file holds tests, by the customs of its language."""
    return language_of(path).is_test(path)


def code_files(root: Path, *languages: Language) -> list[str]:
    """Paths of files of these languages (of all that are known) that git does not ignore; by walking where there is no
    git repo. At most `MAX_FILES` of each language group."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in all_files(root):
        language = language_of(path)
        if language.reads and (not languages or language in languages):
            found[language.group].append(path)
    return sorted(path for paths in found.values() for path in paths[:MAX_FILES])


def suffixes(root: Path) -> set[str]:
    """Ends of the names of all files that git does not ignore (`.ts`, `.c`)."""
    return {PurePosixPath(name).suffix for name in all_files(root)}


def all_files(root: Path) -> list[str]:
    """Paths that git does not ignore; by walking where there is no git repo."""
    if os.path.lexists(root / ".git"):
        try:
            return list_files(root, environment_names(root))
        except SandboxFault:  # unreadable, or endless
            pass
    return list(islice(_walk(root), MAX_FILES))


def _walk(root: Path) -> Iterator[str]:
    try:
        for folder, _, entries in Walk(root):
            before = f"{folder}/" if folder else ""
            yield from (before + name for name, found in sorted(entries) if not stat.S_ISDIR(found.st_mode))
            entries[:] = sorted(entry for entry in entries if _is_walked(before, entry[0]))
    except SandboxFault:  # a folder that cannot be read
        return


def _is_walked(before: str, name: str) -> bool:
    return not name.startswith(".") and name not in _SKIPPED and before.count("/") < _DEPTH


def text_inside(root: Path, path: str, errors: str = "replace") -> str | None:
    """Return the text of a regular file below `root`, of sane size; None if there is none, or if a link leads to it.

    For trees in which programs of others have run, and paths that they named.

    Args:
        errors: as `bytes.decode` takes it; with "strict" a file that is not UTF-8 is None.
    """
    try:
        data = read_inside(root, path, MAX_BYTES)
        return None if data is None or b"\0" in data else data.decode("utf-8", errors)
    except ValueError:
        return None


def read_regular(file: Path) -> str | None:
    """Text of a regular file, no link, of sane size; None otherwise."""
    try:
        about = file.lstat()
        if not stat.S_ISREG(about.st_mode) or about.st_size > MAX_BYTES:
            return None
        data = file.read_bytes()
    except (OSError, ValueError):
        return None
    if b"\0" in data:
        return None
    return data.decode("utf-8", "replace")
