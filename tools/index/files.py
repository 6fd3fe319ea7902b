"""What a repo's Python files define and mention: one fast pass that the map and localisation share.

Comes in: a root folder. Goes out: a `CodeIndex` of texts, definition heads and word counts, strings and
comments left out. The pass is by regular expressions and linear in the size of the repo (exact trees are
made later, for the few files that matter). Everything is in sorted order: same repo, same index.

Not covered: other languages (`forklock.tools.languages.grammars`), generated names, ignored files, files over
`MAX_BYTES`.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath

from forklock.sandbox.contract import SandboxFault
from forklock.sandbox.git.tree import list_files
from forklock.sandbox.interpreters.environments import environment_names
from forklock.sandbox.linux.nofollow import Walk
from forklock.tools.edits.files import is_python, to_lf

MAX_BYTES = 1_000_000
MAX_FILES = 20_000
_DEPTH = 64
_SKIPPED = frozenset({"node_modules", "__pycache__", "venv", "env", "build", "dist", "site-packages"})
_NOT_CODE = re.compile(
    r'"""(?:[^\\"]|\\.|"(?!""))*"""|\'\'\'(?:[^\\\']|\\.|\'(?!\'\'))*\'\'\''
    r'|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|#[^\n]*',
    re.DOTALL,
)
_WORD = re.compile(r"[A-Za-z_]\w*")
_TEST_MARKS = frozenset({
    "test", "tests", "testing", "__tests__", "spec", "specs", "unittest", "unittests", "testdata", "e2e",
})  # fmt: skip
_TEST_FOLDERS = frozenset({
    "tests", "test", "testing", "unit_tests", "unittests", "unittest", "integration_tests", "functional_tests",
    "regression_tests", "acceptance_tests", "testsuite", "test_suite", "testdata",
})  # fmt: skip
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^A-Za-z]+")
_SPACE = re.compile(r"\s+")
_BLOCK = re.compile(
    r"^([ \t]*)(?:async[ \t]+)?"
    r"(def|class|if|elif|else|try|except|finally|with|for|while|match)\b[ \t]*(\w*)",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Head:
    """The line that opens a definition."""

    name_path: str
    kind: str
    """`class`, `method` or `function`."""
    line: int
    depth: int
    """Definitions around it."""

    @property
    def name(self) -> str:
        return self.name_path.rpartition(".")[2]


@dataclass(frozen=True)
class SourceFile:
    path: str
    text: str
    """LF line ends."""

    @cached_property
    def code(self) -> str:
        """The text without strings and comments, line numbers kept."""
        return _NOT_CODE.sub(lambda match: "\n" * match[0].count("\n") or " ", self.text)

    @cached_property
    def words(self) -> Counter[str]:
        return Counter(_WORD.findall(self.code))

    @cached_property
    def heads(self) -> tuple[Head, ...]:
        return tuple(_heads(self.code))

    def signature(self, head: Head) -> str:
        """What opens a definition, up to its colon, on one line."""
        lines = self.text.split("\n")[head.line - 1 : head.line + 30]
        text = "\n".join(lines)
        return _SPACE.sub(" ", text[: _colon(text)].strip()).replace("( ", "(").replace(", )", ")")

    @property
    def is_test(self) -> bool:
        return is_test_path(self.path)

    @property
    def module(self) -> str:
        """Dotted name from the root; a leading `src` is left out, as is a package's `__init__`."""
        parts = list(PurePosixPath(self.path).with_suffix("").parts)
        parts = parts[1:] if parts[0] == "src" and len(parts) > 1 else parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@dataclass(frozen=True)
class CodeIndex:
    root: Path
    files: dict[str, SourceFile]
    """By path, sorted."""

    @cached_property
    def defined(self) -> dict[str, list[tuple[str, Head]]]:
        """Where each bare name is defined by `def` or `class`: (path, head) in order."""
        found: dict[str, list[tuple[str, Head]]] = defaultdict(list)
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


def _colon(text: str) -> int:
    """Where the colon stands that ends a header; brackets may hold others."""
    depth = 0
    for position, char in enumerate(text):
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == ":" and depth == 0:
            return position
    return len(text)


def load_index(root: Path) -> CodeIndex:
    """Read the repo's Python files as they are now."""
    return index_of(root, {path: SourceFile for path in python_files(root)})


def index_of(root: Path, kinds: Mapping[str, Callable[[str, str], SourceFile]]) -> CodeIndex:
    """Read these files as they are now; (path, text) → what they are."""
    files = {}
    for path in sorted(kinds):
        text = read_regular(root / path)
        if text is not None:
            files[path] = kinds[path](path, to_lf(text))
    return CodeIndex(root, files)


@lru_cache(maxsize=65_536)
def is_test_path(path: str) -> bool:
    """By customs: `test_cart.py`, `cart_tests.py`, `tests/`; of other files also `cart.test.ts`, `CartTest.cc`,
    `cart_spec.js`, `__tests__`."""
    pure = PurePosixPath(path)
    words = [word.lower() for part in re.split(r"[._-]+", pure.stem) for word in _CAMEL.findall(part)]
    if not is_python(path):
        return bool(_TEST_MARKS & {*(part.lower() for part in pure.parts[:-1]), *words})
    if _TEST_FOLDERS & set(pure.parts[:-1]) or pure.name == "conftest.py":
        return True
    return bool({"test", "tests"} & {*words[:1], *words[-1:]})


def python_files(root: Path) -> list[str]:
    """Paths of Python files that git does not ignore; by walking where there is no git repo."""
    return [name for name in _files(root) if is_python(name)][:MAX_FILES]


def suffixes(root: Path) -> set[str]:
    """Ends of the names of all files that git does not ignore (`.ts`, `.c`)."""
    return {PurePosixPath(name).suffix for name in all_files(root)}


def all_files(root: Path) -> list[str]:
    """Paths that git does not ignore; by walking where there is no git repo."""
    return _files(root)


def _files(root: Path) -> list[str]:
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


def _heads(code: str) -> Iterator[Head]:
    open_blocks: list[tuple[int, str, str]] = []  # (indent, name path, word), definitions only
    line, position = 1, 0
    for match in _BLOCK.finditer(code):
        indent = len(match[1].expandtabs(8))
        while open_blocks and open_blocks[-1][0] >= indent:
            open_blocks.pop()
        word, name = match[2], match[3]
        if word not in {"def", "class"} or not name:
            continue
        line += code.count("\n", position, match.start())
        position = match.start()
        scope, outer = (f"{open_blocks[-1][1]}.", open_blocks[-1][2]) if open_blocks else ("", "")
        kind = "class" if word == "class" else "method" if outer == "class" else "function"
        yield Head(scope + name, kind, line, len(open_blocks))
        open_blocks.append((indent, scope + name, word))
