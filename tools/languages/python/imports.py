"""Imports that come along with a definition's new source: which of them the module needs, and where they go (Python).

An import is added only where it changes nothing for the rest of the module: a name that the module binds already stays
as it is. What is imported in `try/except ImportError` or under `if TYPE_CHECKING` is neither repeated nor hoisted.
Pure; texts have LF line ends.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from forklock.sandbox.files.reading import parse_python
from forklock.tools.contract import EditRefused
from forklock.tools.languages.python.outline import Function

Import = ast.Import | ast.ImportFrom
Guard = Literal["", "guarded", "types"]
"""Where a module binds a name: at its top, in a compound statement, or for type checkers alone."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One place where a scope binds a name."""

    node: ast.AST
    """A statement, or the import of that one name."""
    guard: Guard


def bindings(body: Iterable[ast.stmt], guard: Guard = "") -> Iterator[tuple[str, Binding]]:
    """Yield the names that a scope's statements bind; what is inside functions and classes is not looked at."""
    for node in body:
        if isinstance(node, Function | ast.ClassDef):
            yield node.name, Binding(node, guard)
            continue
        if isinstance(node, Import):
            yield from ((bound_name(one), Binding(one, guard)) for one in singles(node))
            continue
        inner = _inner(node)
        held = {id(part) for _, parts in inner for part in parts}
        yield from ((n.id, Binding(node, guard)) for n in stored(node, held) if isinstance(n, ast.Name))
        for deeper, parts in inner:
            yield from bindings(parts, deeper if guard != "types" else guard)


def _inner(node: ast.stmt) -> list[tuple[Guard, list[ast.stmt]]]:
    """Return the blocks of a compound statement."""
    types = isinstance(node, ast.If) and ast.unparse(node.test).rpartition(".")[2] == "TYPE_CHECKING"
    found: list[tuple[Guard, list[ast.stmt]]] = []
    for name in ("body", "orelse", "finalbody"):
        part = getattr(node, name, None)
        if isinstance(part, list):
            found.append(("types" if types and name == "body" else "guarded", part))
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        found.append(("guarded", part.body))
    return found


def stored(node: ast.stmt, held: Iterable[int] = ()) -> Iterator[ast.expr]:
    """Yield what a statement itself binds: names, attributes and items of targets, `as` and walrus.

    Args:
        held: ids of nodes to leave out, such as the statements of its blocks.
    """
    waiting: list[ast.AST] = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.Name | ast.Attribute | ast.Subscript) and isinstance(one.ctx, ast.Store):
            yield one
        named = getattr(one, "name", None) or getattr(one, "rest", None)
        if isinstance(one, ast.ExceptHandler | ast.MatchAs | ast.MatchStar | ast.MatchMapping) and named:
            yield ast.Name(named, ast.Store())
        if isinstance(one, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            waiting += [part for part in ast.walk(one) if isinstance(part, ast.NamedExpr)]
        elif not isinstance(one, ast.Lambda):
            waiting += [child for child in ast.iter_child_nodes(one) if id(child) not in held]


def singles(node: Import) -> list[Import]:
    """Return one statement per imported name."""
    if isinstance(node, ast.Import):
        return [ast.Import([alias]) for alias in node.names]
    return [ast.ImportFrom(node.module, [alias], node.level) for alias in node.names]


def bound_name(single: Import) -> str:
    alias = single.names[0]
    return alias.asname or (alias.name.partition(".")[0] if isinstance(single, ast.Import) else alias.name)


def wanted_imports(
    path: str, body: list[ast.stmt], imports: Iterable[Import], code: list[ast.stmt]
) -> list[Import]:
    """Return the imports, one name each, that new code uses and the module lacks.

    Raises:
        EditRefused: an import would give a name of the module another meaning.
    """
    bound: dict[str, list[Binding]] = {}
    for name, binding in bindings(body):
        bound.setdefault(name, []).append(binding)
    uses = _Uses(code, lazy=_has_future(body, "annotations"))
    wanted: dict[str, Import] = {}
    for single in (one for node in imports for one in singles(node)):
        if _needed(path, single, bound, uses, body):
            wanted.setdefault(ast.dump(single), single)
    return list(wanted.values())


def wanted_guards(
    path: str, body: list[ast.stmt], guards: Iterable[ast.stmt], code: list[ast.stmt]
) -> list[ast.stmt]:
    """Return the `try` and `if` statements around imports that new code uses and the module lacks, as they are.

    Raises:
        EditRefused: one binds some names that the module has, and others that it lacks.
    """
    bound = {name for name, _ in bindings(body)}
    uses = _Uses(code, lazy=True)
    wanted = []
    for node in guards:
        names = {name for name, _ in bindings([node])}
        used = {name for name in names if name in uses}
        if not used <= bound and names & bound:
            have, lacks = sorted(names & bound), sorted(used - bound)
            raise EditRefused(
                f"The source imports {', '.join(lacks)} together with {', '.join(have)}, which {path} has already. "
                "Import only what is missing."
            )
        if used and not names & bound:
            for name in sorted(names):
                _require_own_name(path, name, body, node)
            wanted.append(node)
    return wanted


class _Uses:
    """Names that new code uses, at all and when it runs."""

    def __init__(self, code: list[ast.stmt], *, lazy: bool) -> None:
        notes = [note for node in code for part in ast.walk(node) for note in _annotations(part)]
        quoted = {part.value for note in notes for part in ast.walk(note) if isinstance(part, ast.Constant)}
        words = [str(value) for value in quoted if isinstance(value, str)]
        self.noted = _names(notes) | {word for text in words for word in _words(text)}
        held = {id(part) for note in notes for part in ast.walk(note)} if lazy else set()
        self.run = {
            part.id
            for node in code
            for part in ast.walk(node)
            if isinstance(part, ast.Name) and id(part) not in held
        }

    def __contains__(self, name: str) -> bool:
        return name in self.run or name in self.noted


def _words(text: str) -> set[str]:
    try:
        body = parse_python(text.strip()).body
    except SyntaxError:
        return set()
    return _names(body) if len(body) == 1 and isinstance(body[0], ast.Expr) else set()


def _names(nodes: Iterable[ast.AST]) -> set[str]:
    return {part.id for node in nodes for part in ast.walk(node) if isinstance(part, ast.Name)}


def _annotations(node: ast.AST) -> Iterator[ast.expr]:
    for name in ("annotation", "returns"):
        note = getattr(node, name, None)
        if isinstance(note, ast.expr):
            yield note


def _needed(
    path: str, single: Import, bound: dict[str, list[Binding]], uses: _Uses, body: list[ast.stmt]
) -> bool:
    name = bound_name(single)
    if isinstance(single, ast.ImportFrom) and single.module == "__future__":
        return not _has_future(body, name)
    if name == "*":
        if any(_alike(b.node, single) for b in bound.get("*", [])):
            return False
        raise EditRefused(
            f"`{ast.unparse(single)}` could give names of {path} another meaning. Import what you use."
        )
    if name not in uses:
        return False
    if name not in bound:
        _require_own_name(path, name, body, single)
        return True
    return _needed_too(path, single, bound[name], uses)


def _needed_too(path: str, single: Import, places: list[Binding], uses: _Uses) -> bool:
    """Decide on an import whose name the module binds already."""
    name = bound_name(single)
    own = (
        isinstance(single, ast.ImportFrom)
        and (single.module or "").rpartition(".")[2] == PurePosixPath(path).stem
    )
    if own or any(b.guard != "types" and _alike(b.node, single) for b in places):
        return False
    if all(b.guard == "types" for b in places):
        if name not in uses.run:
            return False
        raise EditRefused(
            f"{path} imports {name} under `if TYPE_CHECKING` only, and the source uses it when it runs. "
            f"Write `{ast.unparse(single)}` inside the function."
        )
    if all(isinstance(b.node, ast.Import) and _plain(b.node, single) for b in places):
        return True  # `import os` beside `import os.path`: both bind the one package
    if all(b.guard and isinstance(b.node, Import) for b in places):
        return False  # such as `try: import ujson as json`: the module's choice
    raise EditRefused(
        f"`{ast.unparse(single)}` would change what {name} means in the rest of {path}. "
        f"Use the module's {name}, or import it under another name (`as`)."
    )


def _alike(node: ast.AST, single: Import) -> bool:
    """The same import; a module may be written in full or relative to the package."""
    if ast.dump(node) == ast.dump(single):
        return True
    if not (isinstance(node, ast.ImportFrom) and isinstance(single, ast.ImportFrom)):
        return False
    ours, theirs = (node.module or "").split("."), (single.module or "").split(".")
    same = ast.dump(node.names[0]) == ast.dump(single.names[0])
    return same and ours[-1] == theirs[-1] and bool(node.level or single.level)


def _plain(node: ast.Import, single: Import) -> bool:
    return isinstance(single, ast.Import) and not node.names[0].asname and not single.names[0].asname


def _require_own_name(path: str, name: str, body: list[ast.stmt], node: ast.stmt) -> None:
    """
    Raises:
        EditRefused: the rest of the module uses a builtin of that name.
    """
    if hasattr(builtins, name) and name in _names(body):
        raise EditRefused(f"`{ast.unparse(node)}` would replace the builtin {name} in the rest of {path}.")


def _has_future(body: list[ast.stmt], name: str) -> bool:
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and name in {a.name for a in node.names}
        for node in body
    )


def import_lines(body: list[ast.stmt], text: str, before: int) -> tuple[int, int]:
    """Return the 0-based lines at which to insert a `__future__` import, and any other.

    Args:
        before: the line, from 1, of the code that needs them.
    """
    lines = text.split("\n")
    start = 0
    while start < len(lines) and lines[start].startswith("#"):
        start += 1
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        start = body[0].end_lineno or start
    last = start
    for node in body:
        if isinstance(node, Function | ast.ClassDef) or node.lineno >= before:
            break
        if isinstance(node, Import):
            last = node.end_lineno or last
    return start, last
