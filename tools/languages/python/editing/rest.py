"""What an edit of one definition does not name is still there (Python): compared statement by statement.

Comes in: a text before and after, and the lines that the edit took out and put in. Raises `EditRefused` where anything
else is not what it was. Pure; texts have LF line ends.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Sequence

from forklock.tools.contract import EditRefused
from forklock.tools.languages.definitions import Definition, SyntaxProblem
from forklock.tools.languages.editor import Range
from forklock.tools.languages.python.imports import bindings, stored
from forklock.tools.languages.python.outline import Function
from forklock.tools.languages.python.parsing import parse_afresh


def require_rest_same(before: str, after: str, taken: Sequence[Range], given: Sequence[Range]) -> None:
    """Compare all statements outside the lines that were taken out of `before` and put into `after`.

    Raises:
        EditRefused: one of them is gone, new or another.
    """
    old, new = parse_afresh(before), parse_afresh(after)
    if isinstance(old, SyntaxProblem) or isinstance(new, SyntaxProblem):
        return  # the gate has words for what does not parse
    _Without(taken).visit(old)
    _Without(given).visit(new)
    if ast.dump(old) != ast.dump(new):
        raise EditRefused(
            "The edit would change other code too, which shares lines with it. Use search/replace.",
            would_be=after,
        )


class _Without(ast.NodeTransformer):
    """Drops the statements that lie in ranges of lines."""

    def __init__(self, ranges: Sequence[Range]) -> None:
        self._ranges = ranges

    def visit(self, node: ast.AST) -> ast.AST | None:
        if isinstance(node, ast.stmt) and self._inside(node):
            return None
        if isinstance(node, ast.expr):
            return node
        return super().generic_visit(node)

    def _inside(self, node: ast.stmt) -> bool:
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
        return any(start <= first and (node.end_lineno or first) <= end for start, end in self._ranges)


def require_targets_kept(old: Definition, nodes: Iterable[ast.stmt]) -> None:
    """An assignment may bind more than the name that an edit names: `A, B = 1, 2`, `a = b.c = 1`, `x = (n := 3)`.

    Raises:
        EditRefused: the new source does not bind all of them.
    """
    if old.node is None or isinstance(old.node, Function | ast.ClassDef):
        return
    lost = bound(old.node) - {name for node in nodes for name in bound(node)} - {old.name}
    if lost:
        names = ", ".join(sorted(lost))
        raise EditRefused(
            f"{old.name_path} is bound together with {names} in one statement (line {old.start_line}), and the source "
            f"leaves {names} out. Give the whole statement, or use search/replace."
        )


def bound(node: ast.stmt) -> set[str]:
    """Return what a statement binds, as written: names, attributes and items."""
    if isinstance(node, Function | ast.ClassDef):
        return {node.name}
    return {ast.unparse(part) for part in stored(node)}


def require_unbound(path: str, scope: str, body: list[ast.stmt], names: Iterable[str]) -> None:
    """What an edit adds to a scope must have a name that is new there.

    Args:
        scope: the name path of the class or function; "" for the module.

    Raises:
        EditRefused: the scope binds it already, in whatever way, or the module uses a builtin of that name.
    """
    taken = {name for name, _ in bindings(body)}
    used = (
        set()
        if scope
        else {part.id for node in body for part in ast.walk(node) if isinstance(part, ast.Name)}
    )
    for name in names:
        if name in taken or (hasattr(builtins, name) and name in used):
            raise EditRefused(
                f"The source defines {name} too, which would change what {name} means in the rest of {scope or path}. "
                "Give it another name."
            )
