"""Where a name is written in a Python text: in code, in a string or comment that names it to a program (`getattr`,
`__all__`, a dotted path, a doctest), or in prose. The text is read by its tokens. Pure. Not covered: names that are
put together while a program runs.
"""

from __future__ import annotations

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from forklock.sandbox.files.reading import parse_python
from forklock.tools.languages.by_eye.naming import DIRECTIVE, DOCTEST, Mention, Word, hinted, names
from forklock.tools.languages.text import split_lines

_LIST = re.compile(r"(?:namedtuple|NamedTuple|Enum|IntEnum|StrEnum|Flag|IntFlag|make_dataclass)\s*\([^()]*$")


@dataclass(frozen=True, slots=True)
class _Piece:
    """A string or comment with its ends (line, column); `inner` is its text without quotes."""

    start: tuple[int, int]
    end: tuple[int, int]
    inner: str
    comment: bool = False
    docstring: bool = False
    formatted: bool = False


def mentions(text: str, name: str, words: Sequence[Word]) -> Iterator[Mention]:
    """Yield the kind of text that each place stands in."""
    pieces = _pieces(text)
    for number, column, line in words:
        piece = next((p for p in pieces if p.start <= (number, column) < p.end), None)
        if piece is None or (piece.formatted and _in_field(line, column)):
            yield Mention("code")
            continue
        why = _why(piece, split_lines(text), name, number, column)
        yield Mention("named" if why else "prose", why)


def _why(piece: _Piece, lines: Sequence[str], name: str, number: int, column: int) -> str:
    """What kind of string or comment names the word; "" for prose."""
    line = lines[number - 1]
    if piece.comment:
        return "a type comment" if DIRECTIVE.match(piece.inner) else ""
    if DOCTEST.match(line) and (piece.docstring or "\n" in piece.inner):
        return "a doctest"
    if piece.docstring:
        return ""
    before, after = lines[piece.start[0] - 1][: piece.start[1]], lines[piece.end[0] - 1][piece.end[1] :]
    listed = after.startswith(".split(") or _LIST.search(before) is not None
    if listed or names(piece.inner, name) or _is_python(piece.inner, name) or hinted(line, column, name):
        return "a string"
    return ""


def _pieces(text: str) -> list[_Piece]:
    """Strings and comments, in order. Where the text cannot be split into tokens: those before the error."""
    docs, found, opened = _docstrings(text), list[_Piece](), list[tokenize.TokenInfo]()
    formatted = {
        getattr(tokenize, n, -1): n for n in ("FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END")
    }  # from Python 3.12 on
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            kind = formatted.get(token.type, "")
            if kind == "FSTRING_START":
                opened.append(token)
            elif kind == "FSTRING_END" and opened:
                opened.pop()
            elif kind == "FSTRING_MIDDLE":
                found.append(_Piece(token.start, token.end, token.string))
            elif token.type == tokenize.COMMENT:
                found.append(_Piece(token.start, token.end, token.string, comment=True))
            elif token.type == tokenize.STRING:
                head = re.match(r"[a-zA-Z]*", token.string)
                prefix = head[0].lower() if head else ""
                found.append(
                    _Piece(
                        token.start, token.end, token.string[len(prefix) :].strip("\"'"),
                        docstring=token.start in docs, formatted="f" in prefix,
                    )
                )  # fmt: skip
    except (tokenize.TokenError, SyntaxError, IndentationError):
        return found
    return found


def _docstrings(text: str) -> set[tuple[int, int]]:
    """Places of strings that stand alone as statements."""
    try:
        tree = parse_python(text)
    except SyntaxError:
        return set()
    return {
        (node.lineno, node.col_offset)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def _in_field(line: str, column: int) -> bool:
    """Whether the place lies within `{…}` on a format string's line."""
    before = line[:column].replace("{{", "  ").replace("}}", "  ")
    return before.rfind("{") > before.rfind("}")


def _is_python(inner: str, name: str) -> bool:
    """Whether a string reads as code that has this name in it."""
    if len(inner) > 100_000 or "\\" in inner[:1]:
        return False
    try:
        code = ast.dump(parse_python(textwrap.dedent(inner).strip()))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", code) is not None
