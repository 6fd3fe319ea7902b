"""Names that Python code uses, with the places to ask a server about, by its tree. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from forklock.tools.languages.definitions import SyntaxProblem, Use
from forklock.tools.languages.python.parsing import parse


def uses(text: str, start_line: int, end_line: int) -> list[Use]:
    """Return the names that lines use, in source order, each once; [] for text that does not parse."""
    tree = parse(text)
    if isinstance(tree, SyntaxProblem):
        return []
    lines = text.split("\n")
    found = sorted(
        (use for use in _walk(tree, 1, lines) if start_line <= use.line <= end_line),
        key=lambda use: (use.line, use.column),
    )
    first: dict[str, Use] = {}
    for use in found:
        if use.dotted not in first or (first[use.dotted].stored and not use.stored):
            first[use.dotted] = use
    return list(first.values())


def _walk(root: ast.AST, statement: int, lines: list[str]) -> Iterator[Use]:
    """Without recursion: chains of calls can be deeper than Python's stack."""
    waiting = [(root, statement)]
    while waiting:
        node, statement = waiting.pop()
        if isinstance(node, ast.stmt):
            statement = node.lineno
        if isinstance(node, ast.Name | ast.Attribute):
            yield _use(node, min(statement, node.lineno), lines)
        waiting += [(child, statement) for child in ast.iter_child_nodes(node)]


def _use(node: ast.Name | ast.Attribute, statement: int, lines: list[str]) -> Use:
    stored = not isinstance(node.ctx, ast.Load)
    if isinstance(node, ast.Name):
        column = _column(lines, node.lineno, node.col_offset)
        return Use(node.id, node.lineno, column, statement, stored=stored)
    line = node.end_lineno or node.lineno
    column = max(0, _column(lines, line, node.end_col_offset or 0) - len(node.attr))
    return Use(f"{_chain(node.value)}.{node.attr}", line, column, statement, attribute=True, stored=stored)


def _chain(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return f"{_chain(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else "()"


def _column(lines: list[str], line: int, byte_offset: int) -> int:
    """`ast` counts UTF-8 bytes; we count code points."""
    content = lines[line - 1]
    if content.isascii():
        return byte_offset
    return len(content.encode()[:byte_offset].decode("utf-8", "replace"))
