"""Finds sites in text that the compiler that runs us reads. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import accumulate, pairwise

from forklock.sandbox.files.reading import parse_python
from forklock.tools.languages.definitions import Site, SiteKind

_OPERATOR = re.compile(r"not\s+in\b|is\s+not\b|in\b|is\b|and\b|or\b|\*\*|//|<<|>>|[<>=!]=|[-+*/%<>&|^@]")
_SIMPLE = (
    ast.Expr,
    ast.Assign,
    ast.AugAssign,
    ast.AnnAssign,
    ast.Return,
    ast.Raise,
    ast.Delete,
    ast.Break,
    ast.Continue,
)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def sites(text: str) -> Iterator[Site]:
    """Yield the sites of a text, outer ones first; nothing where it does not parse."""
    try:
        tree = parse_python(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    yield from _Finder(text).of(tree, 0)


class _Finder:
    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.split("\n")
        self.starts = [0, *accumulate(len(line) + 1 for line in self.lines)]

    def of(self, node: ast.AST, scope: int) -> Iterator[Site]:
        """Yield the sites of a node and of what is in it. Decorators, annotations and defaults are left out."""
        if isinstance(node, _FUNCTIONS):
            scope = self.span(node)[0]
            for one in node.body:
                yield from self.of(one, scope)
            return
        yield from self.own(node, scope)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "decorator_list", "type_params"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from self.of(child, scope)

    def own(self, node: ast.AST, scope: int) -> Iterator[Site]:
        if isinstance(node, ast.If) and self.at_margin(node):
            yield self.branch(node, scope)
        elif isinstance(node, _SIMPLE) and not _is_text(node) and self.at_margin(node):
            yield self.site("statement", node, scope)
        elif isinstance(node, ast.Compare):
            yield from self.operators([node.left, *node.comparators], scope)
        elif isinstance(node, ast.BoolOp):
            yield from self.operators(node.values, scope)
        elif isinstance(node, ast.BinOp):
            yield from self.operators([node.left, node.right], scope)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield self.site("negation", node, scope, (self.span(node.operand),))
        elif isinstance(node, ast.Constant) and isinstance(node.value, int):
            yield self.site("truth" if isinstance(node.value, bool) else "number", node, scope)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield self.site("name", node, scope)
        elif (
            isinstance(node, ast.Call)
            and len(node.args) > 1
            and not any(isinstance(a, ast.Starred) for a in node.args)
        ):
            yield self.site("arguments", node, scope, tuple(self.span(one) for one in node.args))

    def branch(self, node: ast.If, scope: int) -> Site:
        parts = [self.span(node.test)]
        if not node.orelse:
            parts.append((self.span(node.body[0])[0], self.span(node.body[-1])[1]))
        return self.site("branch", node, scope, tuple(parts))

    def operators(self, operands: list[ast.expr], scope: int) -> Iterator[Site]:
        for left, right in pairwise(operands):
            start, end = self.span(left)[1], self.span(right)[0]
            gap = re.sub(r"#[^\n]*", lambda found: " " * len(found[0]), self.text[start:end])
            found = _OPERATOR.search(gap)
            if found:
                at = start + found.start()
                yield Site("operator", at, start + found.end(), found[0], (), scope)

    def at_margin(self, node: ast.stmt) -> bool:
        """Whether a statement has its lines for itself; `elif` has not."""
        first, last = self.lines[node.lineno - 1], self.lines[(node.end_lineno or node.lineno) - 1]
        start, end = self.span(node)
        before = first[: start - self.starts[node.lineno - 1]]
        after = last[end - self.starts[(node.end_lineno or node.lineno) - 1] :].strip()
        return (
            not before.strip()
            and (not after or after.startswith("#"))
            and self.text[start : start + 4] != "elif"
        )

    def site(
        self, kind: SiteKind, node: ast.expr | ast.stmt, scope: int, parts: tuple[tuple[int, int], ...] = ()
    ) -> Site:
        start, end = self.span(node)
        return Site(kind, start, end, self.text[start:end], parts, scope)

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        return (
            self.offset(node.lineno, node.col_offset),
            self.offset(node.end_lineno or node.lineno, node.end_col_offset or 0),
        )

    def offset(self, line: int, column: int) -> int:
        """Return the offset in code points of a line and a column in bytes."""
        text = self.lines[line - 1]
        return self.starts[line - 1] + (
            column if text.isascii() else len(text.encode()[:column].decode(errors="replace"))
        )


def _is_text(node: ast.stmt) -> bool:
    """Whether a statement is a docstring or another bare constant."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
