"""Turns the user's words into a test command, and guesses one where there are none.

No shell ever runs: `VAR=value` prefixes become the environment, and what only a shell could do is refused with
advice.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Literal

from forklock.sandbox.files.reading import parse_json
from forklock.tools.contract import ToolFault
from forklock.tools.testing import minitest
from forklock.tools.testing.launchers import without_launcher

_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_PYTHON = re.compile(r"python(\d+(\.\d+)*)?$")
_SHELL_ONLY = set(";|&><()`\n")
_WITH_VALUE = {"-X", "-W"}
_CARGO_WITH_VALUE = {"--config", "--color", "-C", "-Z"}
_FIX = "Put the steps into a script in the repo and give that: --test 'sh run_tests.sh'."


Runner = Literal["pytest", "unittest", "node", "vitest", "ctest", "go", "cargo", "minitest", "other"]
"""What we know a machine-readable report of; of all others the exit code alone is believed."""


@dataclass(frozen=True, slots=True)
class Command:
    """A parsed test command."""

    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    runner: Runner = "other"
    at: int = 0
    """Index after the runner's own words: where its options begin."""


def parse_command(command: str | Sequence[str]) -> Command:
    """Split a command and recognise the runner that it starts.

    Raises:
        ToolFault: it is empty, has an open quote, or needs a shell.
    """
    if isinstance(command, str):
        _refuse_shell(command)
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise ToolFault(f"test command {command!r}: {error}", fix="Close the quote.") from error
    else:
        words = list(command)
    env: dict[str, str] = {}
    while words and _ASSIGNMENT.match(words[0]):
        name, _, value = words.pop(0).partition("=")
        env[name] = value
    if not words:
        raise ToolFault("the test command is empty", fix="Give one, such as --test 'python -m pytest -q'.")
    words = without_launcher(words)
    runner, at = _runner(words)
    return Command(tuple(words), env, runner, at)


def _refuse_shell(command: str) -> None:
    quote = ""
    escaped = False
    for char in command:
        if escaped:
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif quote:
            if char == quote:
                quote = ""
            elif quote == '"' and char in "`$":
                raise _shell_fault(command, char)
        elif char in "'\"":
            quote = char
        elif char in _SHELL_ONLY or char == "$":
            raise _shell_fault(command, char)


def _shell_fault(command: str, char: str) -> ToolFault:
    return ToolFault(f"test command {command!r}: {char!r} needs a shell, and none is run", fix=_FIX)


_PROGRAMS: dict[str, Runner] = {"pytest": "pytest", "py.test": "pytest", "vitest": "vitest", "ctest": "ctest"}


def _runner(words: list[str]) -> tuple[Runner, int]:
    program = PurePosixPath(words[0]).name
    if program in _PROGRAMS:
        return _PROGRAMS[program], 1
    if program in {"npx", "pnpx", "bunx"}:
        return next((("vitest", at + 1) for at, word in enumerate(words) if word == "vitest"), ("other", 0))
    if program in {"node", "nodejs"} and "--test" in words:
        return "node", words.index("--test") + 1
    if program == "go" and words[1:2] == ["test"]:
        return "go", 2
    if program == "cargo":
        return _cargo(words)
    if program == "ruby" and (at := minitest.options_end(words)):
        return "minitest", at
    return _python(words) if _PYTHON.match(program) else ("other", 0)


def _python(words: list[str]) -> tuple[Runner, int]:
    """`python [options] -m MODULE`."""
    at = 1
    while at < len(words) and words[at].startswith("-") and words[at] != "-m":
        at += 2 if words[at] in _WITH_VALUE else 1
    module = words[at + 1] if words[at : at + 1] == ["-m"] and at + 1 < len(words) else ""
    if module in {"pytest", "py.test"}:
        return "pytest", at + 2
    return ("unittest", at + 2) if module == "unittest" else ("other", 0)


def _cargo(words: list[str]) -> tuple[Runner, int]:
    """`cargo [+toolchain] [options] test`; other subcommands are other programs."""
    at = 1
    while at < len(words) and words[at].startswith(("+", "-")):
        at += 2 if words[at] in _CARGO_WITH_VALUE else 1
    return ("cargo", at + 1) if words[at : at + 1] in (["test"], ["t"]) else ("other", 0)


# --- the guess -------------------------------------------------------------------------------------


def detect_test_command(root: Path) -> str | None:
    """Guess a command from the repository's files; None where nothing looks like tests. pytest where it is configured
    or a tests folder exists, unittest where there are only plain unittest files, node's runner or vitest where
    package.json says so, ctest where a built folder exists, cargo and go where their manifests exist."""
    if _configures_pytest(root) or (root / "conftest.py").is_file():
        return "python -m pytest -q"
    tests = list(islice(_test_files(root), 50))
    if not tests:
        return _node_command(root) or _ctest_command(root) or _manifest_command(root) or minitest.detect(root)
    texts = [file.read_bytes()[:20_000] for file in tests]
    folders = {file.parent for file in tests}
    if root in folders and all(b"import unittest" in text and b"pytest" not in text for text in texts):
        return "python -m unittest"
    return "python -m pytest -q"


def _node_command(root: Path) -> str | None:
    """The `test` script of package.json, where it is plainly node's own runner or vitest."""
    try:
        script = parse_json((root / "package.json").read_text("utf-8"))["scripts"]["test"]
        parsed = parse_command(str(script))
    except (OSError, ValueError, KeyError, TypeError, ToolFault):
        return None
    if parsed.runner == "vitest" and parsed.argv[0] == "vitest" and (root / _BIN / "vitest").exists():
        return f"{_BIN}/{script}"  # npm's scripts find it there
    return str(script) if parsed.runner in {"node", "vitest"} else None


_BIN = "node_modules/.bin"


def _ctest_command(root: Path) -> str | None:
    """ctest, where a tree was configured. What has to be compiled first needs a script."""
    found = next((name for name in ("build", ".") if (root / name / "CTestTestfile.cmake").is_file()), None)
    return f"ctest --test-dir {found} --output-on-failure" if found else None


def _manifest_command(root: Path) -> str | None:
    """The command of compilers that find the tests themselves."""
    known = {"Cargo.toml": "cargo test --offline", "go.mod": "go test ./..."}
    return next((command for name, command in known.items() if (root / name).is_file()), None)


def _test_files(root: Path) -> Iterator[Path]:
    for folder in (root, root / "tests", root / "test"):
        if folder.is_dir():
            for pattern in ("test_*.py", "*_test.py", "*/test_*.py"):
                yield from (file for file in sorted(folder.glob(pattern)) if file.is_file())


def _configures_pytest(root: Path) -> bool:
    marks = {"pytest.ini": b"[pytest]", ".pytest.ini": b"[pytest]", "setup.cfg": b"[tool:pytest]",
             "tox.ini": b"[pytest]", "pyproject.toml": b"[tool.pytest"}  # fmt: skip
    files = ((root / name, mark) for name, mark in marks.items())
    return any(file.is_file() and mark in file.read_bytes() for file, mark in files)
