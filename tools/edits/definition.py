"""Replace one definition by new source, taking a model's answer as it is meant.

The source may come at any indentation, with extra imports before it (hoisted if used and missing), with
helper definitions (inserted before it), inside its class header, and without the decorators that the
original has (kept). Anything else that it would change is refused, never dropped in silence; code after the
definition that defines nothing (a usage example) is not part of it and is left out.

Re-indenting never changes a string's content, docstrings aside: their lines move with the code (PEP 257).
Texts here have LF line ends.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from tools.contract import EditRefused
from tools.edits.reindent import Block, indent_of, indent_step, read_block
from tools.languages.named import the_definition
from tools.languages.symbols import Definition, Function, assigned_names, definitions
from tools.languages.syntax import SyntaxProblem, parse


@dataclass(frozen=True, slots=True)
class _Splice:
    """Lines `start` to `end` (0-based, half open) become `lines`."""

    start: int
    end: int
    lines: list[str]


@dataclass(slots=True)
class _Parts:
    """What a model's source consists of. Nodes carry line numbers in that source."""

    imports: list[ast.Import | ast.ImportFrom] = field(default_factory=list)
    targets: list[ast.stmt] = field(default_factory=list)
    helpers: list[ast.stmt] = field(default_factory=list)
    """Other definitions and constants at the top of the source."""
    members: list[ast.stmt] = field(default_factory=list)
    """Other members of the class in which the definition came wrapped."""


def replace_symbol(path: str, text: str, name_path: str, source: str) -> str:
    """`text` with the definition at `name_path` replaced by the one in `source`.

    Raises:
        EditRefused: no such definition (near names are given), the source does not parse, defines another
            name, or changes other definitions too.
    """
    target = _target(path, text, name_path)
    new = read_block(source)
    if isinstance(new, SyntaxProblem):
        place = f" (line {new.line} of your source: {new.context.strip()!r})" if new.line else ""
        would_be = _apply(
            text, [_Splice(target.start_line - 1, target.end_line, source.strip("\n").split("\n"))]
        )
        raise EditRefused(
            f"The new source of {name_path} does not parse: {new.message}{place}.", would_be=would_be
        )
    parts = _split(new.body, target)
    if not parts.targets:
        raise EditRefused(_wrong_name(target, new.body))
    known = {d.name_path: d for d in definitions(text)}
    splices = _replace(text, new, target, parts.targets, known)
    splices += _insert(text, new, target, parts, known)
    return _apply(text, splices)


# --- which definition ------------------------------------------------------------------------------


def _target(path: str, text: str, name_path: str) -> Definition:
    target = the_definition(path, definitions(text), name_path)
    _require_own_lines(path, text, target)
    return target


def _require_own_lines(path: str, text: str, target: Definition) -> None:
    node = target.node
    if node is None:
        return
    lines = text.split("\n")
    before = lines[target.start_line - 1].encode()[
        : node.col_offset if target.start_line == node.lineno else 0
    ]
    after = lines[target.end_line - 1].encode()[node.end_col_offset or 0 :].decode().strip()
    if before.strip() or (after and not after.startswith("#")):
        raise EditRefused(f"{target.name_path} in {path} shares a line with other code: use search/replace.")


# --- what the source holds -------------------------------------------------------------------------


def _split(body: Iterable[ast.stmt], target: Definition) -> _Parts:
    parts = _Parts()
    outer = target.container.rpartition(".")[2].partition("#")[0]
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            parts.imports.append(node)
        elif _defines(node, target.name, target.kind):
            parts.targets.append(node)
        elif isinstance(node, ast.ClassDef) and outer and node.name == outer and _inside(node, target):
            for member in node.body:
                (parts.targets if _defines(member, target.name, target.kind) else parts.members).append(
                    member
                )
        elif _names(node):
            parts.helpers.append(node)
    return parts


def _inside(node: ast.ClassDef, target: Definition) -> bool:
    return any(_defines(member, target.name, target.kind) for member in node.body)


def _defines(node: ast.stmt, name: str, kind: str) -> bool:
    if kind == "class" and not isinstance(node, ast.ClassDef):
        return False
    return name in _names(node)


def _names(node: ast.stmt) -> list[str]:
    return [node.name] if isinstance(node, Function | ast.ClassDef) else assigned_names(node)


def _wrong_name(target: Definition, body: list[ast.stmt]) -> str:
    found = [name for node in body for name in _names(node)]
    has = f"defines {', '.join(found)}" if found else "holds no definition"
    return f"The edit is for {target.name_path}, but its source {has}. Give all of {target.name}."


# --- the new text ----------------------------------------------------------------------------------


def _replace(
    text: str, new: Block, target: Definition, nodes: list[ast.stmt], known: dict[str, Definition]
) -> list[_Splice]:
    """One for one; several of a name (a property and its setter) go to as many originals, or to the one."""
    base = target.name_path.partition("#")[0] if "#" in target.name else target.name_path
    family = sorted(
        (
            d
            for d in known.values()
            if d.name_path == base or re.fullmatch(re.escape(base) + r"#\d+", d.name_path)
        ),
        key=lambda d: d.start_line,
    )
    if len(nodes) == 1:
        return [_splice(text, new, target, nodes)]
    if len(nodes) == len(family):
        return [_splice(text, new, old, [node]) for old, node in zip(family, nodes, strict=True)]
    if len(family) == 1:
        return [_splice(text, new, target, nodes)]
    raise EditRefused(
        f"The source defines {target.name} {len(nodes)} times, the file {len(family)} times. "
        f"Send one edit for each, named {', '.join(d.name_path for d in family)}."
    )


def _splice(text: str, new: Block, old: Definition, nodes: list[ast.stmt]) -> _Splice:
    lines = text.split("\n")
    first = lines[old.start_line - 1]
    unit = indent_step(lines[old.start_line - 1 : old.end_line])
    made: list[str] = []
    for node in nodes:
        made += ([""] if made else []) + _source_lines(
            new, node, lines[: old.start_line - 1], indent_of(first), unit
        )
    if _decorators(nodes[0]) == [] and _decorators(old.node):
        head = old.node.lineno if old.node else old.start_line
        made = lines[old.start_line - 1 : head - 1] + made
    return _Splice(old.start_line - 1, old.end_line, made)


def _decorators(node: ast.stmt | None) -> list[ast.expr]:
    return node.decorator_list if isinstance(node, Function | ast.ClassDef) else []


def _first_line(node: ast.stmt) -> int:
    return min([node.lineno, *(d.lineno for d in _decorators(node))])


def _source_lines(new: Block, node: ast.stmt, above: list[str], prefix: str, unit: str | None) -> list[str]:
    """A node's lines, moved, with comments right above it that the file does not have there."""
    start = _first_line(node) - 1
    first = start
    while first > 0 and new.lines[first - 1].lstrip().startswith("#"):
        first -= 1
    comments = [line.strip() for line in new.lines[first:start]]
    present = [line.strip() for line in above[len(above) - len(comments) :]]
    head = [] if comments == present else [prefix + line for line in comments]
    return head + new.passage.moved(start, node.end_lineno or node.lineno, prefix, unit)


def _insert(
    text: str, new: Block, target: Definition, parts: _Parts, known: dict[str, Definition]
) -> list[_Splice]:
    """Helpers before the definition (methods in its class, others before the outermost one), and imports."""
    lines = text.split("\n")
    outermost = known[target.name_path.split(".")[0]] if "." in target.name_path else target
    inner = target.container if target.kind == "method" else ""
    if inner:
        methods = [node for node in parts.helpers if _is_method(node)]
        members = parts.members + methods
    else:
        methods, members = [], parts.members
    at_top = [node for node in parts.helpers if node not in methods]
    splices = []
    fresh = _fresh(members, target.container, known)
    if fresh:
        prefix = indent_of(lines[target.start_line - 1])
        splices.append(_helper_splice(lines, new, fresh, target.start_line, prefix, blank=1))
    fresh = _fresh(at_top, "", known)
    if fresh:
        prefix = indent_of(lines[outermost.start_line - 1])
        splices.append(_helper_splice(lines, new, fresh, outermost.start_line, prefix, blank=2))
    return splices + _hoist(text, new, parts, outermost)


def _is_method(node: ast.stmt) -> bool:
    if not isinstance(node, Function):
        return False
    first = next((a.arg for a in [*node.args.posonlyargs, *node.args.args]), "")
    decorators = {ast.unparse(d) for d in node.decorator_list}
    return first in {"self", "cls"} or bool(decorators & {"staticmethod", "classmethod", "property"})


def _fresh(nodes: list[ast.stmt], scope: str, known: dict[str, Definition]) -> list[ast.stmt]:
    """Those that the file does not have yet. One that it has must be the same, or an empty stub."""
    fresh = []
    for node in nodes:
        names = _names(node)
        old = [known[path] for name in names if (path := f"{scope}.{name}" if scope else name) in known]
        if names and not old:
            fresh.append(node)
        elif old and not _stub(node) and not any(d.node and ast.dump(d.node) == ast.dump(node) for d in old):
            raise EditRefused(
                f"The source changes {old[0].name_path} too. Send one edit for each definition, "
                "and only the named one in it."
            )
    return fresh


def _stub(node: ast.stmt) -> bool:
    """A body of `...`, `pass` or a docstring: a reminder that the definition exists."""
    if not isinstance(node, Function | ast.ClassDef):
        return False
    return all(
        isinstance(part, ast.Pass) or (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
        for part in node.body
    )


def _helper_splice(
    lines: list[str], new: Block, nodes: list[ast.stmt], line: int, prefix: str, *, blank: int
) -> _Splice:
    at = line - 1
    while at > 0 and lines[at - 1].strip().startswith("#") and indent_of(lines[at - 1]) == prefix:
        at -= 1  # comments above belong to the definition
    made: list[str] = []
    for node, after in zip(nodes, [*nodes[1:], None], strict=True):
        constants = assigned_names(node) and after is not None and assigned_names(after)
        made += _source_lines(new, node, [], prefix, None) + [""] * (0 if constants else blank)
    return _Splice(at, at, made)


def _hoist(text: str, new: Block, parts: _Parts, outermost: Definition) -> list[_Splice]:
    """Imports that the new code uses and the module lacks, after its last top import."""
    tree = parse(text)
    body = [] if isinstance(tree, SyntaxProblem) else tree.body
    code = "\n".join(
        line
        for node in (*parts.targets, *parts.helpers, *parts.members)
        for line in new.lines[_first_line(node) - 1 : node.end_lineno]
    )
    have = {ast.dump(single) for node in body if _is_import(node) for single in _singles(node)}
    wanted = [
        s for node in parts.imports for s in _singles(node) if ast.dump(s) not in have and _used(s, code)
    ]
    if not wanted:
        return []
    future = [ast.unparse(s) for s in wanted if isinstance(s, ast.ImportFrom) and s.module == "__future__"]
    others = [ast.unparse(s) for s in wanted if ast.unparse(s) not in future]
    if isinstance(tree, SyntaxProblem):
        at = outermost.start_line - 1
        return [_Splice(at, at, [*others, ""])] if others else []
    top, last = _import_lines(body, text)
    return [_Splice(top, top, future)] * bool(future) + [_Splice(last, last, others)] * bool(others)


def _is_import(node: ast.AST) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def _singles(node: ast.stmt) -> list[ast.Import | ast.ImportFrom]:
    """One statement per imported name."""
    if isinstance(node, ast.Import):
        return [ast.Import([alias]) for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [ast.ImportFrom(node.module, [alias], node.level) for alias in node.names]
    return []


def _used(single: ast.Import | ast.ImportFrom, code: str) -> bool:
    alias = single.names[0]
    if alias.name == "*" or (isinstance(single, ast.ImportFrom) and single.module == "__future__"):
        return True
    name = alias.asname or alias.name.partition(".")[0]
    return re.search(rf"(?<![\w.]){re.escape(name)}\b", code) is not None


def _import_lines(body: list[ast.stmt], text: str) -> tuple[int, int]:
    """0-based lines at which to insert a `__future__` import, and any other."""
    lines = text.split("\n")
    start = 0
    while start < len(lines) and lines[start].startswith("#"):
        start += 1
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        start = body[0].end_lineno or start
    last = start
    for node in body:
        if isinstance(node, Function | ast.ClassDef):
            break
        if _is_import(node):
            last = node.end_lineno or last
    return start, last


def _apply(text: str, splices: list[_Splice]) -> str:
    lines = text.split("\n")
    order = sorted(enumerate(splices), key=lambda pair: (pair[1].start, pair[1].end, -pair[0]))
    for _, splice in reversed(order):
        lines[splice.start : splice.end] = splice.lines
    return "\n".join(lines)
