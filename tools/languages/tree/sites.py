"""Finds sites in the tree of a tree-sitter grammar. Pure.

Names of nodes are those that the grammars share; what a grammar calls otherwise is not found, which makes fewer sites
and no wrong ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from forklock.tools.languages.definitions import Parsed, Site, SiteKind

if TYPE_CHECKING:
    from tree_sitter import Node

    from forklock.tools.languages.tree.tables import Tables

_INFIX = frozenset({"binary_expression", "binary", "boolean_operator", "comparison_operator"})
_NEGATED = frozenset({"unary_expression", "unary"})
_NUMBERS = frozenset({"number", "integer", "int_literal", "integer_literal", "number_literal"})
_TRUTHS = frozenset({"true", "false", "boolean_literal"})
_ARGUMENTS = frozenset({"arguments", "argument_list"})
_BRANCHES = frozenset({"if_statement", "if", "if_expression"})
_SIMPLE = frozenset({
    "expression_statement", "return_statement", "break_statement", "continue_statement", "throw_statement",
    "assignment_statement", "inc_statement", "dec_statement", "assignment", "operator_assignment", "call", "return",
})  # fmt: skip
_WHOLE = re.compile(r"\d+")
_WITHIN = frozenset({"comment", "line_comment", "block_comment"})


def sites(tables: Tables, parsed: Parsed) -> Iterator[Site]:
    """Yield the sites of a tree, outer ones first."""
    yield from _Finder(tables, parsed).of()


class _Finder:
    def __init__(self, tables: Tables, parsed: Parsed) -> None:
        self.tables, self.parsed = tables, parsed
        self.plain = parsed.data.isascii()

    def of(self) -> Iterator[Site]:
        waiting: list[tuple[Node, Node | None]] = [(self.parsed.root, None)]
        while waiting:
            node, scope = waiting.pop()
            if node.type in _WITHIN or self.tables.strings.search(node.type):
                continue
            if scope is None and node.type in self.tables.import_nodes:
                continue
            if node.type in self.tables.functions and node.child_by_field_name("body") is not None:
                scope = node
            if scope is not None:
                at = self.offset(scope.start_byte)
                yield from self.own(node, at)
            waiting += [(child, scope) for child in reversed(node.children)]

    def own(self, node: Node, scope: int) -> Iterator[Site]:
        if node.parent is not None and node.parent.type in self.tables.lists:
            if node.type in _BRANCHES:
                yield self.branch(node, scope)
            elif node.type in _SIMPLE:
                yield self.site("statement", node, scope)
        if node.type in _INFIX:
            operator = node.child_by_field_name("operator")
            if operator is not None:
                yield self.site("operator", operator, scope)
        elif node.type in _NEGATED and node.children[0].type in ("!", "not"):
            yield self.site("negation", node, scope, (node.children[-1],))
        elif node.type in _ARGUMENTS:
            plain = [one for one in node.named_children if one.type not in _WITHIN]
            if len(plain) > 1 and not any("spread" in one.type or "splat" in one.type for one in plain):
                yield self.site("arguments", node, scope, tuple(plain))
        else:
            yield from self.leaf(node, scope)

    def leaf(self, node: Node, scope: int) -> Iterator[Site]:
        if node.type in _NUMBERS and _WHOLE.fullmatch(self.parsed.text(node)):
            yield self.site("number", node, scope)
        elif node.type in _TRUTHS and node.is_named:
            yield self.site("truth", node, scope)
        elif node.type == "identifier" and self.is_read(node):
            yield self.site("name", node, scope)

    def branch(self, node: Node, scope: int) -> Site:
        condition = node.child_by_field_name("condition") or node.named_children[0]
        body = node.child_by_field_name("consequence")
        alone = node.child_by_field_name("alternative") is None and body is not None
        parts = [(self.offset(condition.start_byte), self.offset(condition.end_byte))]
        if alone and body is not None:
            parts.append((self.offset(body.start_byte), self.offset(body.end_byte)))
        found = self.site("branch", node, scope)
        return Site(found.kind, found.start, found.end, found.text, tuple(parts), scope)

    @staticmethod
    def is_read(node: Node) -> bool:
        """Whether a name is read here, by what it stands in."""
        parent = node.parent
        if (
            parent is None
            or "parameter" in parent.type
            or "declarat" in parent.type
            or parent.type == "label"
        ):
            return False
        for role in ("name", "function", "method", "left", "type", "key"):
            if parent.child_by_field_name(role) == node:
                return False
        return True

    def site(self, kind: SiteKind, node: Node, scope: int, parts: tuple[Node, ...] = ()) -> Site:
        spans = tuple((self.offset(one.start_byte), self.offset(one.end_byte)) for one in parts)
        start, end = self.offset(node.start_byte), self.offset(node.end_byte)
        return Site(kind, start, end, self.parsed.text(node), spans, scope)

    def offset(self, byte: int) -> int:
        """Return the offset in code points of one in bytes."""
        return byte if self.plain else len(self.parsed.data[:byte].decode("utf-8", "replace"))
