"""Trees of source text, by tree-sitter.

Comes in: grammars and a text with LF line ends. Goes out: a tree, which broken text has too, and the first place where
it does not fit the grammar. Not covered: what a preprocessor would make of the text; macros of C and C++ that are no
syntax by themselves count as errors.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from forklock.tools.languages.definitions import Parsed

if TYPE_CHECKING:
    from tree_sitter import Language, Node

Grammar = tuple[str, str]
"""The module of a grammar's package, and its function."""
_SHOWN = 40
"""Characters of a misplaced passage that a message quotes."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """Where a text does not fit its grammar."""

    line: int
    """From 1."""
    column: int
    """From 0, code points."""
    message: str


def parsed_by(grammars: Sequence[Grammar], text: str) -> Parsed:
    """Return the tree of a text (LF line ends) by the first grammar, or a later one that finds fewer errors in it."""
    data = text.encode("utf-8", "surrogatepass")
    root = _parse(grammars[0], data)
    for other in grammars[1:] if root.has_error else ():
        again = _parse(other, data)
        root = again if _count(again) < _count(root) else root
    return Parsed(data, root)


def first_flaw(parsed: Parsed) -> Flaw | None:
    """Return the first error in a tree; None where it has none."""
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


def _parse(grammar: Grammar, data: bytes) -> Node:
    from tree_sitter import Parser

    return Parser(_language(*grammar)).parse(data).root_node


def last_row(node: Node) -> int:
    """Return the row of a node's last character; some end with the newline behind them."""
    row, column = node.end_point
    return row - 1 if column == 0 and row > node.start_point[0] else row


def holds(outer: Node, inner: Node) -> bool:
    return outer.start_byte <= inner.start_byte and inner.end_byte <= outer.end_byte


def tail_of(lines: Sequence[str], node: Node) -> str:
    """Return what follows a node on its last line."""
    row, column = node.end_point
    line = lines[row].encode("utf-8", "surrogatepass")[column:] if row <= last_row(node) else b""
    return line.decode("utf-8", "surrogatepass")
