"""Does a text parse as Python? Decided without running it, and without ever raising for bad input.

Comes in: text with LF line ends. Goes out: its tree, or a `SyntaxProblem`. The grammar is that of the version that the
repository runs on: by this interpreter where that is the same one, else by ruff's parser, and the problem says whose
word it is. Not covered: CPython's documented risk of a crash on absurdly deep nesting, beyond what `MAX_DEPTH` stops.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from forklock.sandbox.files.reading import parse_python
from forklock.tools.languages.definitions import SyntaxProblem, Target
from forklock.tools.languages.python.version import NEWEST, OURS, Version, said, verdict
from forklock.tools.languages.text import line_at

MAX_DEPTH = 200
"""Open brackets at one place, counted without regard to strings: CPython's own limit."""


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


def check(text: str, python: Target | None) -> SyntaxProblem | None:
    """Return the first reason why a text does not parse.

    Args:
        python: the version that counts; this interpreter's where nothing says which.
    """
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
    return SyntaxProblem(found.line, found.column, found.message, line_at(text, found.line), str(python))


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


# --- pieces --------------------------------------------------------------------------------------------

_AT_MARGIN = re.compile(
    r"^(?:(@)|((?:async[ \t]+)?def\b|class\b)|(?!(?:else|elif|except|finally)\b)(\w))", re.MULTILINE
)


def pieces(text: str) -> Iterator[tuple[int, str]]:
    """Yield (number of lines before it, piece): definitions at the margin, and what stands between them, in order.

    Where each of them parses by itself, the statements of the text are theirs, one after the other: a string or
    bracket that is open across a border leaves a piece that does not parse, as do a backslash at its end and
    decorators without their function; and none begins with a word that a statement goes on with. Not covered: whether
    they parse.
    """
    lines, start = 0, 0
    for border in _borders(text):
        piece = text[start:border]
        yield lines, piece
        lines += piece.count("\n")
        start = border
    yield lines, text[start:]


def _borders(text: str) -> Iterator[int]:
    """Offsets past 0; none between decorators and what they decorate."""
    decorated, last = False, 0
    for found in _AT_MARGIN.finditer(text):
        at = found.start()
        if at and not decorated and (not found[3] or _indented(text, last, at)):
            yield at
        decorated = not found[2] and (decorated or bool(found[1]))
        last = at


def _indented(text: str, start: int, end: int) -> bool:
    return text.find("\n ", start, end) >= 0 or text.find("\n\t", start, end) >= 0
