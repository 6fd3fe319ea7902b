"""The statements of one definition, and what stands before the first of them, in a tree.

Comes in: tables and a definition's source, dedented. Goes out: lines, counted from 1; None for source that does not
parse. A method is read as if its class were around it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from forklock.tools.languages.definitions import Parsed, Shape, Statement
from forklock.tools.languages.tree.parsing import first_flaw, last_row
from forklock.tools.languages.tree.tables import Tables

if TYPE_CHECKING:
    from tree_sitter import Node


@lru_cache(maxsize=512)
def shape(tables: Tables, code: str) -> Shape | None:
    """Return header and statements of one definition. None where it does not parse."""
    for around, ending in [("", ""), *dict.fromkeys(tables.around.values())]:
        parsed = tables.tree(f"{around}\n{code}\n{ending}" if around else code)
        if first_flaw(parsed) is None:
            offset = 1 if around else 0
            found = sorted(_statements(tables, parsed, offset), key=lambda one: (one.start, -one.end))
            header = _header(tables, parsed, offset)
            inside = [one for one in found if one.start > header]
            return Shape(header if inside else 0, tuple(inside if header else ()), words(parsed))
    return None


def _header(tables: Tables, parsed: Parsed, offset: int) -> int:
    """Return the lines before the first statement of the one function; 0 where that shares a line with it."""
    functions = list(_outermost(tables, parsed.root))
    body = functions[0].child_by_field_name("body") if len(functions) == 1 else None
    if body is None or body.type not in tables.lists:
        return 0
    first = next(iter(_listed(tables, body)), None)
    if first is None or first.start_point[0] <= tables.header_row(functions[0], body):
        return 0
    return first.start_point[0] - offset


def _outermost(tables: Tables, root: Node) -> Iterator[Node]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.type in tables.functions and node.child_by_field_name("body") is not None:
            yield node
        else:
            waiting += reversed(node.named_children)


def _listed(tables: Tables, body: Node) -> Iterator[Node]:
    """Yield the statements of a block; Go puts a list between."""
    for child in body.named_children:
        if child.type == "statement_list":
            yield from _listed(tables, child)
        elif "comment" not in child.type:
            yield child


def _statements(tables: Tables, parsed: Parsed, offset: int) -> Iterator[Statement]:
    waiting = [parsed.root]
    while waiting:
        node = waiting.pop()
        waiting += node.named_children
        lists = tables.lists
        if (
            node.parent is None
            or node.parent.type not in lists
            or node.type in lists
            or "comment" in node.type
        ):
            continue
        row, column = node.start_point
        before = parsed.data[node.start_byte - column : node.start_byte]
        if not before.strip():
            yield Statement(row + 1 - offset, _end(node) - offset, _inner(tables, node, offset))


def _end(node: Node) -> int:
    """Return its last line; where a semicolon follows there, it belongs to it."""
    after = node.next_sibling
    return last_row(after if after is not None and after.type == ";" else node) + 1


def _inner(tables: Tables, node: Node, offset: int) -> int | None:
    """Return the line of the first statement in it that has a line of its own."""
    waiting = list(node.named_children)
    found: list[int] = []
    while waiting:
        inner = waiting.pop()
        if inner.type in tables.functions:
            continue
        if inner.type in tables.lists:
            found += [one.start_point[0] for one in _listed(tables, inner)]
        else:
            waiting += inner.named_children
    first = min((row for row in found if row > node.start_point[0]), default=None)
    return None if first is None else first + 1 - offset


def words(parsed: Parsed) -> str:
    """Return the leaves of the tree without comments."""
    found: list[str] = []
    waiting = [parsed.root]
    while waiting:
        node = waiting.pop()
        if "comment" in node.type:
            continue
        if node.children and "string" not in node.type:
            waiting += reversed(node.children)
        else:
            found.append(parsed.text(node))
    return "\0".join(found)
