"""The statements of one definition, and what stands before the first of them, in Python and in languages with braces.

Comes in: the suffix of a file and a definition's source, dedented. Goes out: lines, counted from 1; None for source
that does not parse. A method is read as if its class were around it. Pure.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from forklock.sandbox.reading import parse_python
from forklock.tools.edits.files import PYTHON_SUFFIXES
from forklock.tools.languages.outline import last_row
from forklock.tools.languages.treesitter import SUFFIXES, Parsed, first_flaw, parse_tree

if TYPE_CHECKING:
    from tree_sitter import Node

_AROUND = ("", "class C {", "impl C {", "struct C {", "const C = {", "interface C {")
"""Lines that make a method of what is no function by itself."""
_FUNCTIONS = {
    "function_declaration", "generator_function_declaration", "method_definition", "function_definition",
    "method_declaration", "function_item", "arrow_function", "function_expression", "generator_function",
    "func_literal",
}  # fmt: skip
_LISTS = {
    "statement_block", "compound_statement", "block", "statement_list", "switch_case", "switch_default",
    "case_statement", "expression_case", "default_case", "communication_case", "type_case", "match_block",
}  # fmt: skip
"""Nodes whose children are statements."""
_COMMENTS = {"comment", "line_comment", "block_comment"}


@dataclass(frozen=True, slots=True)
class Statement:
    start: int
    end: int
    body: int | None
    """The first line of the statements in it."""


@dataclass(frozen=True, slots=True)
class Shape:
    header: int
    """Lines of a function before its first statement, its documentation included; 0 for anything else."""
    statements: tuple[Statement, ...]
    """That begin a line, outer ones first."""
    words: str
    """Equal for the same program: layout and comments aside."""


@lru_cache(maxsize=512)
def shape(suffix: str, code: str) -> Shape | None:
    """Of one definition. None where it does not parse, or for a language that is not known."""
    if suffix in PYTHON_SUFFIXES:
        return _python(code)
    return _braced(suffix, code) if suffix in SUFFIXES else None


def program_words(suffix: str, text: str) -> str:
    """A file's text, equal for the same program; the text itself where it does not parse."""
    if suffix in PYTHON_SUFFIXES:
        try:
            return ast.dump(parse_python(text))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return text
    if suffix in SUFFIXES and first_flaw(suffix, text) is None:
        return _words(parse_tree(suffix, text))
    return text


# --- Python --------------------------------------------------------------------------------------------


def _python(code: str) -> Shape | None:
    try:
        tree = parse_python(code)
    except SyntaxError:
        return None
    found = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    return Shape(_python_header(tree), tuple(_python_statement(node) for node in found), ast.dump(tree))


def _python_statement(node: ast.stmt) -> Statement:
    body = getattr(node, "body", None)
    inner = body[0].lineno if body and body[0].lineno > node.lineno else None
    return Statement(node.lineno, node.end_lineno or node.lineno, inner)


def _python_header(tree: ast.Module) -> int:
    body = tree.body
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef | ast.AsyncFunctionDef):
        return 0
    first = body[0].body[0]
    documented = ast.get_docstring(body[0], clean=False) is not None
    last = (first.end_lineno or first.lineno) if documented else first.lineno - 1
    return last if last >= body[0].lineno else 0  # a one-liner: `def f(): return 1`


# --- braces --------------------------------------------------------------------------------------------


def _braced(suffix: str, code: str) -> Shape | None:
    for around in _AROUND:
        text = f"{around}\n{code}\n}}" if around else code
        if first_flaw(suffix, text) is None:
            parsed = parse_tree(suffix, text)
            offset = 1 if around else 0
            found = sorted(_statements(parsed, offset), key=lambda one: (one.start, -one.end))
            header = _header(parsed, offset)
            inside = [one for one in found if one.start > header]
            return Shape(header if inside else 0, tuple(inside if header else ()), _words(parsed))
    return None


def _header(parsed: Parsed, offset: int) -> int:
    """Lines before the first statement of the one function; 0 where that shares a line with it."""
    functions = list(_outermost(parsed.root))
    body = functions[0].child_by_field_name("body") if len(functions) == 1 else None
    if body is None or body.type not in _LISTS:
        return 0
    first = next(iter(_listed(body)), None)
    if first is None or first.start_point[0] <= body.start_point[0]:
        return 0
    return first.start_point[0] - offset


def _outermost(root: Node) -> Iterator[Node]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.type in _FUNCTIONS and node.child_by_field_name("body") is not None:
            yield node
        else:
            waiting += reversed(node.named_children)


def _listed(body: Node) -> Iterator[Node]:
    """The statements of a block; Go puts a list between."""
    for child in body.named_children:
        if child.type == "statement_list":
            yield from _listed(child)
        elif child.type not in _COMMENTS:
            yield child


def _statements(parsed: Parsed, offset: int) -> Iterator[Statement]:
    waiting = [parsed.root]
    while waiting:
        node = waiting.pop()
        waiting += node.named_children
        listed = (
            node.parent is not None and node.parent.type in _LISTS and node.type not in {*_COMMENTS, *_LISTS}
        )
        if not listed:
            continue
        row, column = node.start_point
        before = parsed.data[node.start_byte - column : node.start_byte]
        if not before.strip():
            yield Statement(row + 1 - offset, _end(node) - offset, _inner(node, offset))


def _end(node: Node) -> int:
    """Its last line; where a semicolon follows there, it belongs to it."""
    after = node.next_sibling
    return last_row(after if after is not None and after.type == ";" else node) + 1


def _inner(node: Node, offset: int) -> int | None:
    """The line of the first statement in it that has a line of its own."""
    waiting = list(node.named_children)
    found: list[int] = []
    while waiting:
        inner = waiting.pop()
        if inner.type in _FUNCTIONS:
            continue
        if inner.type in _LISTS:
            found += [one.start_point[0] for one in _listed(inner)]
        else:
            waiting += inner.named_children
    first = min((row for row in found if row > node.start_point[0]), default=None)
    return None if first is None else first + 1 - offset


def _words(parsed: Parsed) -> str:
    """The leaves of the tree without comments."""
    found: list[str] = []
    waiting = [parsed.root]
    while waiting:
        node = waiting.pop()
        if node.type in _COMMENTS:
            continue
        if node.children and "string" not in node.type:
            waiting += reversed(node.children)
        else:
            found.append(parsed.text(node))
    return "\0".join(found)
