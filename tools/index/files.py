"""What a repo's Python files define and mention: one fast pass that the map and localisation share.

Comes in: a root folder. Goes out: a `CodeIndex` of texts, definition heads and word counts, strings and
comments left out. The pass is by regular expressions and linear in the size of the repo (exact trees are
made later, for the few files that matter). Everything is in sorted order: same repo, same index.

Not covered: other languages (`tools.languages.grammars`), generated names, ignored files, files over `MAX_BYTES`.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath

from sandbox.contract import SandboxFault
from sandbox.workspace.diff import run_git
from tools.edits.files import is_python, to_lf

MAX_BYTES = 1_000_000
MAX_FILES = 20_000
_GIT_ENV = {
    "PATH": os.defpath,
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}
_SKIPPED = frozenset({"node_modules", "__pycache__", "venv", "env", "build", "dist", "site-packages"})
_NOT_CODE = re.compile(
    r'"""(?:[^\\"]|\\.|"(?!""))*"""|\'\'\'(?:[^\\\']|\\.|\'(?!\'\'))*\'\'\''
    r'|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|#[^\n]*',
    re.DOTALL,
)
_WORD = re.compile(r"[A-Za-z_]\w*")
_TEST_MARKS = frozenset({"test", "tests", "testing", "__tests__", "spec"})
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
    """By Python's customs; of other files also `cart.test.ts`, `cart_spec.js`, `__tests__`."""
    pure = PurePosixPath(path)
    if not is_python(path):
        return bool(_TEST_MARKS & {*pure.parts[:-1], *re.split(r"[._-]", pure.stem)})
    if {"tests", "test", "testing"} & set(pure.parts[:-1]):
        return True
    return (
        pure.name.startswith("test_")
        or pure.stem.endswith("_test")
        or pure.name in {"conftest.py", "tests.py"}
    )


def python_files(root: Path) -> list[str]:
    """Paths of Python files that git does not ignore; by walking where there is no git repo."""
    names = _git_files(root, "*.py", "*.pyi") if (root / ".git").exists() else None
    found = names if names is not None else list(_walk(root))
    return [name for name in found if is_python(name)][:MAX_FILES]


def suffixes(root: Path) -> set[str]:
    """Ends of the names of all files that git does not ignore (`.ts`, `.c`)."""
    return {PurePosixPath(name).suffix for name in all_files(root)}


def all_files(root: Path) -> list[str]:
    """Paths that git does not ignore; by walking where there is no git repo."""
    names = _git_files(root, "*") if (root / ".git").exists() else None
    return names if names is not None else list(islice(_walk(root), MAX_FILES))


def _git_files(root: Path, *patterns: str) -> list[str] | None:
    """None where git cannot say. The repo is hostile: its hooks and monitors do not run."""
    env = {**_GIT_ENV, "GIT_DIR": str(root / ".git"), "GIT_WORK_TREE": str(root)}
    command = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    try:
        out = run_git(command, cwd=root, env=env)
    except SandboxFault:
        return None
    return list(dict.fromkeys(out.decode("utf-8", "surrogateescape").split("\0")))[:-1]


def _walk(root: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(n for n in folders if not n.startswith(".") and n not in _SKIPPED)
        inner = Path(folder).relative_to(root)
        yield from ((inner / name).as_posix() for name in sorted(names))


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
