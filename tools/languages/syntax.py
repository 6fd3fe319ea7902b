"""Does a text parse? Decided without running it, and without ever raising for bad input.

Comes in: a path (for its suffix) and text. Goes out: `SyntaxProblem`, or None for "parses" and for kinds of
file that are not known here. Python is judged by the grammar of the version that the repository runs on
(`forklock.tools.languages.pyversion`): by this interpreter where that is the same one, else by ruff's parser, and the
problem says whose word it is. TypeScript, JavaScript, C, C++, Go and Rust are judged
by `forklock.tools.languages.treesitter`, which accepts more than their compilers do, and in C and C++ refuses macros
that are no syntax.

Not covered: CPython's documented risk of a crash on absurdly deep nesting, beyond what `MAX_DEPTH` stops.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib
import warnings
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import PurePosixPath

from forklock.sandbox.reading import parse_python
from forklock.tools.edits.files import is_python, to_lf
from forklock.tools.languages.pyversion import NEWEST, OURS, Target, Version, said, verdict
from forklock.tools.languages.treesitter import first_flaw, is_braced

MAX_DEPTH = 200
"""Open brackets at one place, counted without regard to strings: CPython's own limit."""


@dataclass(frozen=True, slots=True)
class SyntaxProblem:
    line: int
    """1-based; 0 where the parser gives none."""
    column: int
    """0-based code points."""
    message: str
    context: str
    """The line itself."""
    judge: str = ""
    """Whose grammar says so, for Python: `Python 3.9 (.python-version)`."""


def check_syntax(path: str, text: str, python: Target | None = None) -> SyntaxProblem | None:
    """The first reason why `text` does not parse as what `path` says it is.

    Args:
        python: the version that counts; this interpreter's where nothing says which.
    """
    if is_python(path):
        return _check_for(to_lf(text), python)
    if is_braced(path):
        return _check_braced(PurePosixPath(path).suffix, to_lf(text))
    match PurePosixPath(path).suffix:
        case ".json":
            return _check_json(text)
        case ".toml":
            return _check_toml(text)
        case _:
            return None


_BRACKET = re.compile(r"[()\[\]{}]")


@lru_cache(maxsize=256)
def parse(text: str) -> ast.Module | SyntaxProblem:
    """The tree of Python text (LF line ends), or why there is none. Cached; do not change the tree."""
    return parse_afresh(text)


def parse_afresh(text: str) -> ast.Module | SyntaxProblem:
    """As `parse`, with a tree of the caller's own."""
    if not shallow(text):
        return SyntaxProblem(1, 0, "too many nested brackets", "")
    try:
        return parse_python(text)
    except SyntaxError as error:
        return _from_error(text, error)


def _check_for(text: str, python: Target | None) -> SyntaxProblem | None:
    own = _check_python(text)
    if python is None or python.version == OURS:
        return replace(own, judge=f"Python {said(OURS)}") if own else None
    if own is not None and (python.version < OURS or not shallow(text) or "\0" in text):
        return replace(own, judge=f"Python {said(OURS)}")
    if own is None and python.version > OURS:
        return None
    found = verdict(text, python.version)
    if isinstance(found, str):  # this interpreter's word is the best that there is
        return replace(own, judge=f"Python {said(OURS)}; {found}") if own else None
    if found is None:
        return None
    return SyntaxProblem(found.line, found.column, found.message, _line(text, found.line), str(python))


def newer_syntax(text: str) -> Version | None:
    """The oldest version after this interpreter's that takes a Python text which this one does not; None for none."""
    if isinstance(parse(text), ast.Module) or not shallow(text) or "\0" in text:
        return None
    versions = ((3, minor) for minor in range(OURS[1] + 1, NEWEST[1] + 1))
    return next((version for version in versions if verdict(text, version) is None), None)


@lru_cache(maxsize=256)
def _check_python(text: str) -> SyntaxProblem | None:
    tree = parse(text)
    if isinstance(tree, SyntaxProblem):
        return tree
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:  # finds what the grammar alone does not: `return` outside a function, a doubled argument
            compile(text, "<text>", "exec", dont_inherit=True)
        except SyntaxError as error:
            return _from_error(text, error)
        except (ValueError, RecursionError, MemoryError, OverflowError) as error:
            return SyntaxProblem(0, 0, _reason(error), "")
    return None


def shallow(text: str) -> bool:
    """Nothing nests deeper than CPython's parser is made for: a cheap upper bound, taken before parsing."""
    if text.count("(") + text.count("[") + text.count("{") <= MAX_DEPTH:
        return True
    depth = 0
    for char in _BRACKET.findall(text):
        if char in "([{":
            depth += 1
            if depth > 10 * MAX_DEPTH:  # brackets inside strings count here, so be generous
                return False
        else:
            depth = max(0, depth - 1)
    return True


def _from_error(text: str, error: SyntaxError) -> SyntaxProblem:
    line = error.lineno or 0
    lines = text.split("\n")
    context = lines[line - 1] if 0 < line <= len(lines) else ""
    return SyntaxProblem(line, max(0, (error.offset or 1) - 1), error.msg or "invalid syntax", context)


def _reason(error: BaseException) -> str:
    if isinstance(error, ValueError) and "null" in str(error):
        return "the text holds null bytes"
    return str(error) or f"too deeply nested ({type(error).__name__})"


def _check_braced(suffix: str, text: str) -> SyntaxProblem | None:
    flaw = first_flaw(suffix, text)
    return SyntaxProblem(flaw.line, flaw.column, flaw.message, _line(text, flaw.line)) if flaw else None


def _check_json(text: str) -> SyntaxProblem | None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return SyntaxProblem(error.lineno, error.colno - 1, error.msg, _line(text, error.lineno))
    except (RecursionError, ValueError) as error:
        return SyntaxProblem(0, 0, _reason(error), "")
    return None


def _check_toml(text: str) -> SyntaxProblem | None:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, _, place = str(error).partition(" (at line ")
        line = int(place.split(",")[0]) if place[:1].isdigit() else len(text.split("\n"))
        return SyntaxProblem(line, 0, message, _line(text, line))
    except (RecursionError, ValueError) as error:
        return SyntaxProblem(0, 0, _reason(error), "")
    return None


def _line(text: str, number: int) -> str:
    lines = text.split("\n")
    return lines[number - 1] if 0 < number <= len(lines) else ""
