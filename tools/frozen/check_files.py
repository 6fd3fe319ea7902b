"""Finds the files that a check's command names: its words, the scripts behind them, modules that Python is told to
run.

In: a workspace, the command, the folder that it runs in. Out: paths, each with whether a program is started from it
or text is read in it. Words are looked up, never run; scripts are followed as far as their text names files.

Not covered: names that a script puts together, and programs that find their files themselves (their conventions are
in `forklock.tools.frozen.runner_files` and `forklock.tools.index.files.is_test_path`).
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from forklock.tools.contract import ToolFault
from forklock.tools.index.files import is_test_path
from forklock.tools.languages.known import language_of
from forklock.tools.testing.command import parse_command

MAX_SCRIPT_BYTES = 1_000_000
MAX_FILES = 2_000
_QUOTES = "'\""
_WORD = re.compile(r"[\w./+@~-]*[\w+@~-]")
_MODULE = re.compile(r"(?:^|\s)-m[\s=]*([A-Za-z_][\w.]*)")
_COMPILERS = re.compile(
    r"^(?:cc|gcc|g\+\+|c\+\+|clang(?:\+\+)?|rustc|javac|go|tsc|cython|ld|ar|cp|mv|cat|install|rm|touch)$"
)
_INTERPRETERS = re.compile(
    r"^(?:python[\d.]*|pypy[\d.]*|node|deno|bun|ruby|perl|php|lua|tsx|ts-node|Rscript|julia|sh|bash)$"
)
_READS = re.compile(
    r"(?:^|[\s;&|({])(?:\.|source|[-s]?include|(?:python[\d.]*|node|sh|bash))[ \t]+([^;&|()#\n]+)",
    re.MULTILINE,
)
"""Words that a script reads or starts as it comes to them: a file of that name need not be there yet."""
_MAKEFILES = ("GNUmakefile", "makefile", "Makefile")
_BY_PROGRAM = {
    "make": _MAKEFILES, "gmake": _MAKEFILES, "just": ("justfile", "Justfile", ".justfile"), "rake": ("Rakefile",),
    "task": ("Taskfile.yml", "Taskfile.yaml"), "tox": ("tox.ini", "tox.toml", "setup.cfg", "pyproject.toml"),
    "nox": ("noxfile.py",), "npm": ("package.json",), "yarn": ("package.json",), "pnpm": ("package.json",),
    "bun": ("package.json",), "ctest": ("CTestTestfile.cmake", "build/CTestTestfile.cmake"), "ninja": ("build.ninja",),
}  # fmt: skip
_JUDGES = re.compile(
    r"\bassert|\bexit\s*\(|SystemExit|unittest|\bexpect\s*\(|process\.exitCode|\bpanic!|\bdie\b"
)


@dataclass(slots=True)
class Named:
    """Files below the root that a command leads to."""

    data: set[str] = field(default_factory=set)
    """Scripts, makefiles, expected output and the like."""
    code: set[str] = field(default_factory=set)
    """Code files that are words of the command, or that a script starts: judges, or what is judged."""
    mentions: str = ""
    """The command and all scripts that were read."""


def named_files(root: Path, command: str, cwd: str = ".") -> Named:
    """The files that `command`, started in `cwd`, leads to."""
    try:
        parsed = parse_command(command)
    except ToolFault:
        return Named()
    found = Named(mentions=command)
    search = _Search(root, found)
    argv = list(parsed.argv)
    for path in search.conventional(argv, cwd):
        search.take(path, script=True)
    for word in argv:
        for path in search.paths(word, cwd):
            search.take(path, script=True)
    for module in _MODULE.findall(" ".join(argv)):
        search.module(module, [cwd, *parsed.env.get("PYTHONPATH", "").split(":")])
    return found


class _Search:
    def __init__(self, root: Path, found: Named) -> None:
        self.root = root
        self.found = found
        self.seen: set[str] = set()

    def conventional(self, argv: list[str], cwd: str) -> Iterator[str]:
        """Files that a program reads by convention."""
        names = _BY_PROGRAM.get(PurePosixPath(argv[0]).name, ())
        folders = [
            cwd,
            *(
                f"{cwd}/{value}"
                for value in _values(argv, {"-C", "--directory", "--prefix", "--test-dir", "-d"})
            ),
        ]
        for folder in folders:
            yield from (path for name in names if (path := self.below(f"{folder}/{name}")) is not None)

    def paths(self, word: str, *folders: str) -> Iterator[str]:
        """Files that a word may mean, from any of some folders."""
        for part in {word.partition("::")[0], *_WORD.findall(word)}:
            for folder in (*folders, "."):
                path = self.below(f"{folder}/{part}") if len(part) < 500 else None
                if path is not None:
                    yield path

    def below(self, path: str) -> str | None:
        """The same from the root, where it is a file there."""
        plain = posixpath.normpath(path)
        if plain.startswith(("..", "/")) or plain == "." or "\0" in plain:
            return None
        return plain if os.path.isfile(self.root / plain) else None  # noqa: PTH113

    def take(self, path: str, *, script: bool) -> None:
        """
        Args:
            script: whether it is started or read as a script, rather than only named in one.
        """
        if path in self.seen or len(self.seen) >= MAX_FILES:
            return
        self.seen.add(path)
        if language_of(path).reads:
            self.found.code.add(path)
            return
        text = self.text(path)
        if text is None:  # a program that is built, or an image: what it is built from is another's to freeze
            return
        self.found.data.add(path)
        if script:
            self.follow(path, text)

    def absent(self, path: str) -> None:
        """A file that a script would read if it were there."""
        plain = posixpath.normpath(path)
        named = _WORD.fullmatch(plain) and not plain.startswith(("..", "/")) and plain != "."
        if named and len(plain) < 500 and not os.path.lexists(self.root / plain):
            self.found.data.add(plain)

    def text(self, path: str) -> str | None:
        try:
            data = (
                (self.root / path).read_bytes()
                if (self.root / path).stat().st_size <= MAX_SCRIPT_BYTES
                else b"\0"
            )
        except OSError:
            return None
        return None if b"\0" in data else data.decode("utf-8", "replace")

    def follow(self, path: str, text: str) -> None:
        """What a script names: other scripts and data are its own; code only where it is started and judges."""
        if PurePosixPath(path).name == "package.json":
            text = _scripts(text)
        self.found.mentions += f"\n{text}"
        folder = posixpath.dirname(path) or "."
        for word in " ".join(_READS.findall(text)).split():
            self.absent(f"{folder}/{word.strip(_QUOTES)}")
        for line in text.replace("\\\n", " ").split("\n"):
            words = line.strip().lstrip("@-+\t ").split()
            started = next((w for w in words if _INTERPRETERS.match(PurePosixPath(w).name)), None)
            compiled = any(_COMPILERS.match(PurePosixPath(word).name) for word in words)
            for word in words:
                for one in self.paths(word, folder):
                    code = language_of(one).reads
                    if not code:
                        self.take(one, script=_is_script(one))
                    elif is_test_path(one) or (
                        started and not compiled and _JUDGES.search(self.text(one) or "")
                    ):
                        self.take(one, script=True)
            for module in _MODULE.findall(line):
                self.module(module, [folder])

    def module(self, name: str, folders: list[str]) -> None:
        path = name.replace(".", "/")
        for folder in (*folders, ".", "src"):
            for one in (f"{folder}/{path}.py", f"{folder}/{path}/__main__.py"):
                found = self.below(one)
                if found is not None:
                    self.take(found, script=True)


def _values(argv: list[str], options: set[str]) -> Iterator[str]:
    for at, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if name in options:
            yield value if equals else "".join(argv[at + 1 : at + 2])


def _scripts(text: str) -> str:
    """The lines that `npm run` may start."""
    try:
        scripts = json.loads(text).get("scripts", {})
        return "\n".join(str(value) for value in scripts.values())
    except (ValueError, AttributeError, RecursionError):
        return text


def _is_script(path: str) -> bool:
    pure = PurePosixPath(path)
    return pure.suffix in {
        "",
        ".sh",
        ".bash",
        ".zsh",
        ".mk",
        ".cmake",
        ".toml",
        ".ini",
        ".cfg",
        ".yml",
        ".yaml",
        ".json",
    }
