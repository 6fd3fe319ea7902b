"""Trees of source text in languages with braces: TypeScript, JavaScript, C, C++, Go and Rust, by tree-sitter.

Comes in: a path (for its suffix) and a text with LF line ends. Goes out: a tree, which broken text has too, and the
first place where it does not fit the grammar. A table says which grammar reads which suffix. Not covered: what a
preprocessor would make of the text; macros of C and C++ that are no syntax by themselves count as errors.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Language, Node

_TYPESCRIPT = ("tree_sitter_typescript", "language_typescript")
_JAVASCRIPT = ("tree_sitter_javascript", "language")
_C, _CPP = ("tree_sitter_c", "language"), ("tree_sitter_cpp", "language")
_GRAMMARS = {
    ".ts": _TYPESCRIPT, ".mts": _TYPESCRIPT, ".cts": _TYPESCRIPT, ".tsx": ("tree_sitter_typescript", "language_tsx"),
    ".js": _JAVASCRIPT, ".jsx": _JAVASCRIPT, ".mjs": _JAVASCRIPT, ".cjs": _JAVASCRIPT,
    ".c": _C, ".h": _CPP, ".cc": _CPP, ".cpp": _CPP, ".cxx": _CPP, ".hh": _CPP, ".hpp": _CPP,
    ".go": ("tree_sitter_go", "language"), ".rs": ("tree_sitter_rust", "language"),
}  # fmt: skip
SUFFIXES = frozenset(_GRAMMARS)
_SHOWN = 40
"""Characters of a misplaced passage that a message quotes."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A text as UTF-8 and its tree, whose offsets count those bytes."""

    data: bytes
    root: Node

    def text(self, node: Node) -> str:
        return self.data[node.start_byte : node.end_byte].decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Flaw:
    """Where a text does not fit its grammar."""

    line: int
    """From 1."""
    column: int
    """From 0, code points."""
    message: str


@lru_cache(maxsize=4096)
def is_braced(path: str) -> bool:
    """Whether the file is of a language that is read here."""
    return PurePosixPath(path).suffix in SUFFIXES


@lru_cache(maxsize=128)
def parse_tree(suffix: str, text: str) -> Parsed:
    """The tree of a text (LF line ends) in the language of a suffix of `SUFFIXES`."""
    data = text.encode("utf-8", "surrogatepass")
    root = _parse(_GRAMMARS[suffix], data)
    if suffix == ".h" and root.has_error:  # of C or of C++: nothing but the text tells
        plain = _parse(_C, data)
        root = plain if _count(plain) < _count(root) else root
    return Parsed(data, root)


def first_flaw(suffix: str, text: str) -> Flaw | None:
    """The first error of a text in its tree; None where it has none."""
    parsed = parse_tree(suffix, text)
    node = next(flaws(parsed.root), None)
    if node is None:
        return None
    line, start = node.start_point
    before = parsed.data[node.start_byte - start : node.start_byte]
    return Flaw(line + 1, len(before.decode("utf-8", "replace")), _message(parsed, node))


def flaws(root: Node) -> Iterator[Node]:
    """Nodes that are missing or do not belong where they stand, in the order of the text."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.is_error or node.is_missing:
            yield node
        if node.has_error:
            waiting += reversed(node.children)


def _message(parsed: Parsed, node: Node) -> str:
    if node.is_missing:
        opened = node.parent.child(0) if node.parent else None
        closes = {"}": "{", ")": "(", "]": "["}.get(node.type)
        whose = (
            f" for the '{closes}' of line {opened.start_point[0] + 1}"
            if opened and opened.type == closes
            else ""
        )
        return f"{node.type.replace('_', ' ')!r} is missing{whose}"
    while node.children and node.children[0].end_byte > node.children[0].start_byte:
        node = node.children[0]
    words = " ".join(parsed.text(node).split())
    return (
        f"unexpected {words if len(words) <= _SHOWN else words[:_SHOWN] + '…'!r}"
        if words
        else "invalid syntax"
    )


def _count(root: Node) -> int:
    return sum(1 for _ in flaws(root))


@lru_cache(maxsize=16)
def _language(module: str, function: str) -> Language:
    from tree_sitter import Language

    return Language(getattr(importlib.import_module(module), function)())


def _parse(grammar: tuple[str, str], data: bytes) -> Node:
    from tree_sitter import Parser

    return Parser(_language(*grammar)).parse(data).root_node
