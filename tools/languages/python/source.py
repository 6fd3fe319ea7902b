"""What a model's source for one definition holds (Python): parsed at any indentation, and sorted into its parts.

Docstrings are layout by PEP 257 (readers strip their indentation), so their lines move with the code, where
they have the indentation to lose; the inner lines of every other string stay byte for byte. Code after the definition
that defines nothing (a usage example) is not part of it and is left out. Texts here have LF line ends. Pure.
"""

from __future__ import annotations

import ast
import io
import token
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from forklock.tools.contract import EditRefused
from forklock.tools.languages.definitions import Definition, Kind, SyntaxProblem
from forklock.tools.languages.editor import Passage, Written, indent_of, trimmed
from forklock.tools.languages.python.imports import Import
from forklock.tools.languages.python.outline import Function, assigned_names
from forklock.tools.languages.python.parsing import parse_afresh

_OPEN = {getattr(token, name, -1) for name in ("FSTRING_START", "TSTRING_START")}
_CLOSE = {getattr(token, name, -1) for name in ("FSTRING_END", "TSTRING_END")}


@dataclass(frozen=True, slots=True)
class Block:
    """Parsed source. Line numbers of `body` count the passage's lines from 1, whatever the indentation."""

    passage: Passage
    body: list[ast.stmt]

    @property
    def lines(self) -> list[str]:
        return self.passage.lines


def read_block(source: str) -> Block | SyntaxProblem:
    """Parse source at any indentation.

    Two slips of models are mended where the text parses only so: a first line that lost its indentation, and
    tabs among spaces (taken as four).
    """
    first = _parse(source)
    if isinstance(first, Block):
        return first
    lines = trimmed(source)
    later = [indent_of(line) for line in lines[1:] if line.strip()]
    least = min(later, key=len, default="")
    tries = ["\n".join([least + lines[0], *lines[1:]])] if lines and least and not indent_of(lines[0]) else []
    tries += [source.expandtabs(4)] if "\t" in source else []
    mended = (block for text in tries if isinstance(block := _parse(text), Block))
    return next(mended, first)


def _parse(source: str) -> Block | SyntaxProblem:
    lines = trimmed(source)
    code = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    nested = bool(code and indent_of(code[0]))
    tree = parse_afresh("\n".join(["if 1:", *lines] if nested else lines) + "\n")
    if isinstance(tree, SyntaxProblem):
        return SyntaxProblem(max(0, tree.line - nested), tree.column, tree.message, tree.context)
    body = tree.body
    if nested:
        outer = tree.body[0]
        if len(tree.body) > 1 or not isinstance(outer, ast.If) or outer.orelse:
            return SyntaxProblem(1, 0, "the indentation falls below that of the first line", lines[0])
        ast.increment_lineno(outer, -1)
        body = outer.body
    return Block(Passage(lines, frozenset(_string_lines(lines) - _docstring_lines(lines, body))), body)


def _string_lines(lines: list[str]) -> set[int]:
    """Indices of lines that begin inside a string."""
    inside: set[int] = set()
    opened: list[int] = []
    try:
        for piece in tokenize.generate_tokens(io.StringIO("\n".join(lines) + "\n").readline):
            if piece.type == token.STRING:
                inside.update(range(piece.start[0], piece.end[0]))
            elif piece.type in _OPEN:
                opened.append(piece.start[0])
            elif piece.type in _CLOSE:
                inside.update(range(opened.pop(), piece.end[0]))
    except (tokenize.TokenError, SyntaxError):
        pass  # cannot be for text that parses; what was found so far stays
    return inside


def _docstring_lines(lines: list[str], body: list[ast.stmt]) -> set[int]:
    """Inner lines of docstrings, where all have at least the indentation of the opening quotes."""
    found: set[int] = set()
    for node in (inner for outer in body for inner in ast.walk(outer)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        first = node.body[0]
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            inner = range(first.lineno, first.end_lineno or first.lineno)
            own = indent_of(lines[first.lineno - 1])
            if all(lines[n].startswith(own) for n in inner if lines[n].strip()):
                found.update(inner)
    return found


# --- its parts -----------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class PythonWritten(Written[Definition]):
    """A model's source, and what it imports."""

    imports: list[Import] = field(default_factory=list)
    guards: list[ast.stmt] = field(default_factory=list)
    """Imports in `try/except ImportError` or under `if TYPE_CHECKING`."""
    wrapper: ast.ClassDef | None = None
    """The class in which the definition came."""

    def code(self) -> list[ast.stmt]:
        return [one.node for one in (*self.targets, *self.others, *self.members)]


def split(block: Block, target: Definition) -> PythonWritten:
    """Sort a source's statements.

    Raises:
        EditRefused: it defines other things in `if` or `try`.
    """
    written = PythonWritten(passage=block.passage, targets=[], members=[], others=[])
    targets, members, others = list[ast.stmt](), list[ast.stmt](), list[ast.stmt]()
    outer = target.container.rpartition(".")[2].partition("#")[0]
    for node in _unguarded(block.body, target, written.guards):
        if isinstance(node, Import):
            written.imports.append(node)
        elif _defines(node, target.name, target.kind):
            targets.append(node)
        elif isinstance(node, ast.ClassDef) and outer and node.name == outer and _inside(node, target):
            written.wrapper = node
            for member in filter(names, _flat(node.body)):
                (targets if _defines(member, target.name, target.kind) else members).append(member)
        elif names(node):
            (members if target.kind == "method" and _is_method(node) else others).append(node)
    written.targets, written.members, written.others = map(_definitions, (targets, members, others))
    return written


def _definitions(nodes: Sequence[ast.stmt]) -> list[Definition]:
    return [_definition(node) for node in nodes]


def _definition(node: ast.stmt) -> Definition:
    function: Kind = "function" if isinstance(node, Function) else "variable"
    kind: Kind = "class" if isinstance(node, ast.ClassDef) else function
    start, end = first_line(node), node.end_lineno or node.lineno
    return Definition(names(node)[0], kind, start, end, node, node.lineno, start)


def _unguarded(body: Iterable[ast.stmt], target: Definition, guards: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements. One of `if` and `try` gives what is in it where that holds the target, its imports else.

    Raises:
        EditRefused: it holds other definitions.
    """
    for node in body:
        inner = list(_flat([node]))
        if not isinstance(node, ast.If | ast.Try) or any(
            _defines(n, target.name, target.kind) for n in inner
        ):
            yield from inner
        elif any(isinstance(one, Import) for one in inner):
            guards.append(node)
        elif found := [n.name for n in inner if isinstance(n, Function | ast.ClassDef)]:
            raise EditRefused(
                f"The source defines {', '.join(found)} inside `if` or `try`. Send one edit for each definition, "
                "and only the named one in it."
            )


def _flat(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements, those in `if` and `try` instead of these: such as an import that may fail."""
    for node in body:
        if isinstance(node, ast.If) and ast.unparse(node.test).startswith("__name__ =="):
            continue  # how it is used, not what it is
        if isinstance(node, ast.If | ast.Try):
            handlers = [part for handler in getattr(node, "handlers", ()) for part in handler.body]
            yield from _flat([*node.body, *handlers, *node.orelse, *getattr(node, "finalbody", ())])
        else:
            yield node


def _inside(node: ast.ClassDef, target: Definition) -> bool:
    return any(_defines(member, target.name, target.kind) for member in _flat(node.body))


def _defines(node: ast.stmt, name: str, kind: str) -> bool:
    if kind == "class" and not isinstance(node, ast.ClassDef):
        return False
    return name in names(node)


def names(node: ast.stmt) -> list[str]:
    return [node.name] if isinstance(node, Function | ast.ClassDef) else assigned_names(node)


def decorators(node: ast.stmt | None) -> list[ast.expr]:
    return node.decorator_list if isinstance(node, Function | ast.ClassDef) else []


def first_line(node: ast.stmt) -> int:
    return min([node.lineno, *(d.lineno for d in decorators(node))])


def _is_method(node: ast.stmt) -> bool:
    if not isinstance(node, Function):
        return False
    first = next((a.arg for a in [*node.args.posonlyargs, *node.args.args]), "")
    decorators = {ast.unparse(d) for d in node.decorator_list}
    return first in {"self", "cls"} or bool(decorators & {"staticmethod", "classmethod", "property"})


def is_stub(node: ast.stmt) -> bool:
    """A body of `...`, `pass` or a docstring: a reminder that the definition exists."""
    if not isinstance(node, Function | ast.ClassDef):
        return False
    return all(
        isinstance(part, ast.Pass) or (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
        for part in node.body
    )
