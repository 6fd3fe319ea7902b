"""Pieces of an edit in languages with braces: the file, passages that are put into it, and definitions moved there.

Texts here have LF line ends; rows count from 0. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forklock.tools.edits.source import Written
from forklock.tools.languages.outline import Braced, last_row
from forklock.tools.languages.treesitter import Parsed

if TYPE_CHECKING:
    from tree_sitter import Node


@dataclass(frozen=True, slots=True)
class File:
    """A file as it stands, with its tree and definitions."""

    suffix: str
    text: str
    parsed: Parsed
    known: tuple[Braced, ...]

    @property
    def lines(self) -> list[str]:
        return self.text.split("\n")


@dataclass(frozen=True, slots=True)
class Splice:
    """Lines `start` to `end` (0-based, half open) become `lines`."""

    start: int
    end: int
    lines: list[str]


def moved(
    read: Written, one: Braced, outer: Node, indent: str, unit: str | None, *, above: bool = True
) -> list[str]:
    """A definition's own lines at another indentation, without what shares its first and last line."""
    row, column = outer.start_point
    passage = read.passage
    end = last_row(outer) + 1
    found = passage.moved(row, end, indent, unit)
    first = passage.lines[row].encode("utf-8", "surrogatepass")
    if first[:column].strip():  # it stands behind other code
        found[0] = indent + first[column:].decode("utf-8", "surrogatepass")
    tail = tail_of(passage.lines, outer)
    if tail:
        found[-1] = found[-1].removesuffix(tail)
    return (above_lines(read, one, indent) if above else []) + found


def above_lines(read: Written, one: Braced, indent: str) -> list[str]:
    """Comments, attributes and decorators above, where they have lines of their own."""
    start, end = one.start_line - 1, one.head_line - 1
    return read.passage.moved(start, end, indent, None) if start < end else []


def tail_of(lines: list[str], node: Node) -> str:
    """What follows a node on its last line."""
    row, column = node.end_point
    return (
        ""
        if row > last_row(node)
        else lines[row].encode("utf-8", "surrogatepass")[column:].decode("utf-8", "surrogatepass")
    )


def holds(outer: Node, inner: Node) -> bool:
    return outer.start_byte <= inner.start_byte and inner.end_byte <= outer.end_byte


def apply(lines: list[str], splices: Sequence[Splice]) -> str:
    """The text with all of them made; those of one row in their order."""
    made = list(lines)
    order = sorted(enumerate(splices), key=lambda pair: (pair[1].start, pair[1].end, -pair[0]))
    for _, splice in reversed(order):
        made[splice.start : splice.end] = splice.lines
    return "\n".join(made)
