"""Finds where a name is written as a whole word, and in what kind of text.

In: a path, a text, a name. Out: `Occurrence`s in source order: code, a string or a comment that can name something to
a program (`getattr`, `__all__`, a dotted path, a doctest), or prose. Python is read by its tokens, languages with
braces by tree-sitter, other files line by line. Pure. Not covered: names that are put together while a program runs.
"""

from __future__ import annotations

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from forklock.sandbox.files.reading import parse_python
from forklock.tools.languages.definitions import Parsed
from forklock.tools.languages.known import language_of
from forklock.tools.lsp.asking.answers import lines_of

if TYPE_CHECKING:
    from tree_sitter import Node

Kind = Literal["code", "named", "prose"]
_PROSE = frozenset({"", ".md", ".markdown", ".rst", ".txt", ".adoc", ".csv", ".tsv", ".svg", ".log"})
_LIST = re.compile(r"(?:namedtuple|NamedTuple|Enum|IntEnum|StrEnum|Flag|IntFlag|make_dataclass)\s*\([^()]*$")
_QUIET = re.compile(r"comment|string|char_literal|regex|jsx_text")
_DIRECTIVE = re.compile(r"//(?:go:|export\b|line\b)|#\s*type:|[@{]\s*link\b")
_DOCTEST = re.compile(r"\s*(?:[/*!#]+\s*)?(?:>>>|\.\.\. )")


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One whole word in a text."""

    path: str
    line: int
    column: int
    """From 0, code points."""
    kind: Kind
    snippet: str
    why: str = ""
    """For `named`: in what it is named."""

    @property
    def place(self) -> tuple[str, int, int]:
        """(path, line, column)."""
        return self.path, self.line, self.column


@dataclass(frozen=True, slots=True)
class _Piece:
    """A string or comment with its ends (line, column); `inner` is its text without quotes."""

    start: tuple[int, int]
    end: tuple[int, int]
    inner: str
    comment: bool = False
    docstring: bool = False
    formatted: bool = False


def word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w$]){re.escape(name)}(?![\w$])")


def occurrences(path: str, text: str, name: str) -> list[Occurrence]:
    """Every whole word `name` of a text."""
    if name not in text:
        return []
    pattern, found = word(name), list[tuple[int, int, str]]()
    for number, line in enumerate(lines_of(text), 1):
        if name in line:
            found += [(number, match.start(), line) for match in pattern.finditer(line)]
    if not found:
        return []
    if language_of(path).by_compiler:
        return list(_in_python(path, text, name, found))
    if (parsed := language_of(path).tree(text)) is not None:
        return list(_in_tree(parsed, path, text, name, found))
    return [_in_other(path, name, *one) for one in found]


# --- Python ----------------------------------------------------------------------------------------


def _in_python(
    path: str, text: str, name: str, found: Sequence[tuple[int, int, str]]
) -> Iterator[Occurrence]:
    pieces = _python_pieces(text)
    for number, column, line in found:
        piece = next((p for p in pieces if p.start <= (number, column) < p.end), None)
        if piece is None or (piece.formatted and _in_field(line, column)):
            yield Occurrence(path, number, column, "code", line.strip())
            continue
        why = _python_why(piece, lines_of(text), name, number, column)
        yield Occurrence(path, number, column, "named" if why else "prose", line.strip(), why)


def _python_why(piece: _Piece, lines: Sequence[str], name: str, number: int, column: int) -> str:
    """What kind of string or comment names the word; "" for prose."""
    line = lines[number - 1]
    if piece.comment:
        return "a type comment" if _DIRECTIVE.match(piece.inner) else ""
    if _DOCTEST.match(line) and (piece.docstring or "\n" in piece.inner):
        return "a doctest"
    if piece.docstring:
        return ""
    before, after = lines[piece.start[0] - 1][: piece.start[1]], lines[piece.end[0] - 1][piece.end[1] :]
    listed = after.startswith(".split(") or _LIST.search(before) is not None
    if listed or _names(piece.inner, name) or _is_python(piece.inner, name) or _hinted(line, column, name):
        return "a string"
    return ""


def _python_pieces(text: str) -> list[_Piece]:
    """Strings and comments, in order. Where the text cannot be split into tokens: those before the error."""
    docs, found, opened = _docstrings(text), list[_Piece](), list[tokenize.TokenInfo]()
    names = {
        getattr(tokenize, n, -1): n for n in ("FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END")
    }  # from Python 3.12 on
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            kind = names.get(token.type, "")
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
        return word(name).search(ast.dump(parse_python(textwrap.dedent(inner).strip()))) is not None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _names(inner: str, name: str) -> bool:
    """Whether a string is the name, or a path to it (`pkg.mod:name`)."""
    plain = inner.strip()
    return plain == name or re.fullmatch(r"[\w$.:#\[\]()>*-]*[\w)\]]", plain) is not None


def _hinted(line: str, column: int, name: str) -> bool:
    """Whether the text around the word makes it code: `x.name`, `name(`, `{name}`, `%(name)s`, `$name`."""
    before, after = line[:column], line[column + len(name) :]
    return bool(
        re.search(r"(?:[\w)\]]\??\.|->|::|[\w.]:|\{\{?\s*|%\(|\$|%\{|@)$", before)
        or re.match(r"\(|\.\w|\[[\w'\"]|::|->", after)
    )


# --- languages with a grammar -------------------------------------------------------------------------


def _in_tree(
    parsed: Parsed, path: str, text: str, name: str, found: Sequence[tuple[int, int, str]]
) -> Iterator[Occurrence]:
    starts, total = [0], 0
    for line in lines_of(text):
        total += len(line.encode("utf-8", "surrogatepass"))
        starts.append(total)
    for number, column, line in found:
        at = starts[number - 1] + len(line[:column].encode("utf-8", "surrogatepass"))
        quiet = _quiet(parsed.root.descendant_for_byte_range(at, at + 1))
        why = ""
        if quiet is not None:
            whole = parsed.text(quiet)
            why = _braces_why(quiet.type, whole, path, line, column, name)
        kind: Kind = "code" if quiet is None else "named" if why else "prose"
        yield Occurrence(path, number, column, kind, line.strip(), why)


def _quiet(node: Node | None) -> Node | None:
    """The string or comment that holds a place; None for code, also in a template string."""
    outermost = None
    while node is not None:
        if node.type in ("template_substitution", "jsx_expression"):
            return outermost
        if node.is_named and _QUIET.search(node.type):
            outermost = node
        node = node.parent
    return outermost


def _braces_why(kind: str, whole: str, path: str, line: str, column: int, name: str) -> str:
    if "comment" in kind:
        example = path.endswith(".rs") and whole.startswith(("///", "//!")) and _hinted(line, column, name)
        return "a directive" if _DIRECTIVE.match(whole) else "a documentation test" if example else ""
    if kind == "jsx_text":
        return ""
    inner = whole.strip("\"'`")
    return "a string" if _names(inner, name) or _hinted(line, column, name) else ""


# --- other files -----------------------------------------------------------------------------------


def _in_other(path: str, name: str, number: int, column: int, line: str) -> Occurrence:
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in _PROSE:
        why = "a doctest" if _DOCTEST.match(line) else ""
    else:
        key = rf"^\s*(?:-\s+)?[\"']?{re.escape(name)}[\"']?\s*[:=]|[:=]\s*[\"']?{re.escape(name)}[\"']?\s*,?$"
        quoted = re.search(rf"[\"'`]{re.escape(name)}[\"'`]", line)
        why = "data" if quoted or re.search(key, line) or _hinted(line, column, name) else ""
    return Occurrence(path, number, column, "named" if why else "prose", line.strip(), why)
