"""Replace one definition by new source, taking a model's answer as it is meant.

The source may come at any indentation, with extra imports before it (hoisted if used and missing), with
helper definitions (inserted before it), inside its class header, and without the decorators that the
original has (kept). Anything else that it would change is refused, never dropped in silence; code after the
definition that defines nothing (a usage example) is not part of it and is left out. At the end all statements that
the edit does not name are compared with what they were (`forklock.tools.edits.rest`). Which of several definitions
of one name is meant is decided by `forklock.tools.edits.family`, and what imports may be added by
`forklock.tools.edits.imports`.

Re-indenting never changes a string's content, docstrings aside: their lines move with the code (PEP 257).
Texts here have LF line ends.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from forklock.tools.contract import EditRefused
from forklock.tools.edits.family import accessor_of, family_of, pairs, require_single
from forklock.tools.edits.imports import import_lines, wanted_guards, wanted_imports
from forklock.tools.edits.lines import replace_lines
from forklock.tools.edits.reindent import Block, indent_of, indent_step, read_block
from forklock.tools.edits.rest import bound, require_rest_same, require_targets_kept, require_unbound
from forklock.tools.languages.named import meant, the_definition
from forklock.tools.languages.pyversion import OURS, Target
from forklock.tools.languages.symbols import Definition, Function, assigned_names, definitions
from forklock.tools.languages.syntax import SyntaxProblem, parse


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
    guards: list[ast.stmt] = field(default_factory=list)
    """Imports in `try/except ImportError` or under `if TYPE_CHECKING`."""
    targets: list[ast.stmt] = field(default_factory=list)
    helpers: list[ast.stmt] = field(default_factory=list)
    """Other definitions and constants at the top of the source."""
    members: list[ast.stmt] = field(default_factory=list)
    """Other members of the class in which the definition came wrapped."""
    wrapper: ast.ClassDef | None = None


def replace_symbol(path: str, text: str, name_path: str, source: str, python: Target | None = None) -> str:
    """`text` with the definition at `name_path` replaced by the one in `source`.

    Args:
        python: the version that the repository runs on. Source in the syntax of a newer one than this interpreter
            replaces the definition's lines as they are.

    Raises:
        EditRefused: no such definition (near names are given), the source does not parse, defines another
            name, or changes other definitions too.
    """
    target, exact = _target(path, text, name_path)
    new = read_block(source)
    if isinstance(new, SyntaxProblem):
        if python is not None and python.version > OURS:
            return replace_lines(text, target, source, python)
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
    _require_same_header(parts, known.get(target.container))
    splices = _replace(path, text, new, target, exact, parts.targets, known)
    splices += _insert(path, text, new, target, parts, known)
    after, given = _applied(text, splices)
    require_rest_same(text, after, [(s.start + 1, s.end) for s in splices], given)
    return after


# --- which definition ------------------------------------------------------------------------------


def _target(path: str, text: str, name_path: str) -> tuple[Definition, bool]:
    """Return the definition, and whether the name path says which of several of that name."""
    known, full = definitions(text), name_path
    name_path = name_path.removesuffix("#1")
    accessor = None if meant(name_path, known) else accessor_of(name_path, known)
    target = accessor or the_definition(path, known, name_path)
    exact = accessor is not None or "#" in full.rpartition(".")[2]
    if target.node is None and not exact:
        require_single(target, family_of(target, known))
    _require_own_lines(path, text, target)
    return target, exact


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
    for node in _unguarded(body, target, parts):
        if isinstance(node, ast.Import | ast.ImportFrom):
            parts.imports.append(node)
        elif _defines(node, target.name, target.kind):
            parts.targets.append(node)
        elif isinstance(node, ast.ClassDef) and outer and node.name == outer and _inside(node, target):
            parts.wrapper = node
            for member in _flat(node.body):
                (parts.targets if _defines(member, target.name, target.kind) else parts.members).append(
                    member
                )
        elif _names(node):
            parts.helpers.append(node)
    return parts


def _unguarded(body: Iterable[ast.stmt], target: Definition, parts: _Parts) -> Iterator[ast.stmt]:
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
        elif any(isinstance(one, ast.Import | ast.ImportFrom) for one in inner):
            parts.guards.append(node)
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


def _require_same_header(parts: _Parts, old: Definition | None) -> None:
    """
    Raises:
        EditRefused: the class around the definition comes with other bases, keywords or decorators.
    """
    node, had = parts.wrapper, old.node if old else None
    if node is None or not isinstance(had, ast.ClassDef):
        return
    for given, kept in (
        (node.bases + node.keywords, had.bases + had.keywords),
        (node.decorator_list, had.decorator_list),
    ):
        if given and [ast.dump(one) for one in given] != [ast.dump(one) for one in kept]:
            raise EditRefused(
                f"The source changes the head of class {node.name} too. Send an edit of the class, "
                "or the definition without the class around it."
            )


def _inside(node: ast.ClassDef, target: Definition) -> bool:
    return any(_defines(member, target.name, target.kind) for member in _flat(node.body))


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
    path: str, text: str, new: Block, target: Definition, exact: bool, nodes: list[ast.stmt],
    known: dict[str, Definition],
) -> list[_Splice]:  # fmt: skip
    """Splices for the definition, or for several of its name."""
    splices = []
    for old, made in pairs(target, family_of(target, list(known.values())), nodes, exact=exact):
        _require_own_lines(path, text, old)
        require_targets_kept(old, made)
        if old.node is not None:
            gained = {name for node in made for name in bound(node)} - bound(old.node)
            body = [node for node in _body(text, target.container, known) if node is not old.node]
            require_unbound(path, target.container, body, sorted(gained))
        splices.append(_splice(text, new, old, made))
    return splices


def _body(text: str, container: str, known: dict[str, Definition]) -> list[ast.stmt]:
    """Return the statements of a scope; none where the text does not parse."""
    if container in known:
        node = known[container].node
        return node.body if isinstance(node, Function | ast.ClassDef) else []
    tree = parse(text)
    return [] if isinstance(tree, SyntaxProblem) else tree.body


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
    last = nodes[-1]
    if old.kind == "variable" and old.node is not None and isinstance(last, ast.Assign | ast.AnnAssign):
        made[-1] += _remark(lines[old.end_line - 1], old.node, new.lines[(last.end_lineno or 1) - 1], last)
    return _Splice(old.start_line - 1, old.end_line, made)


def _remark(line: str, old: ast.stmt, fresh: str, node: ast.stmt) -> str:
    """Return the comment behind an assignment, such as `# type: ignore`, unless the new one has its own."""
    behind = line.encode()[old.end_col_offset or 0 :].decode()
    has = fresh.encode()[node.end_col_offset or 0 :].decode().strip()
    return behind.rstrip() if behind.strip().startswith("#") and not has else ""


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
    path: str, text: str, new: Block, target: Definition, parts: _Parts, known: dict[str, Definition]
) -> list[_Splice]:
    """Helpers before the definition (methods in its class, others before the outermost one), and imports."""
    lines = text.split("\n")
    outermost = known[target.name_path.split(".")[0]] if "." in target.name_path else target
    methods = [node for node in parts.helpers if _is_method(node)] if target.kind == "method" else []
    at_top = [node for node in parts.helpers if node not in methods]
    splices = []
    for nodes, scope, before, blank in (
        (parts.members + methods, target.container, target, 1), (at_top, "", outermost, 2),
    ):  # fmt: skip
        fresh = _fresh(nodes, scope, known)
        if fresh:
            names = [name for node in fresh for name in _names(node)]
            require_unbound(path, scope, _body(text, scope, known), names)
            prefix = indent_of(lines[before.start_line - 1])
            splices.append(_helper_splice(lines, new, fresh, before.start_line, prefix, blank=blank))
    return splices + _import_splices(path, text, parts, outermost)


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


def _import_splices(path: str, text: str, parts: _Parts, outermost: Definition) -> list[_Splice]:
    """Imports that the new code uses and the module lacks, after its last top import."""
    tree = parse(text)
    body = [] if isinstance(tree, SyntaxProblem) else tree.body
    code = [*parts.targets, *parts.helpers, *parts.members]
    guards = wanted_guards(path, body, parts.guards, code)
    wanted = wanted_imports(path, body, parts.imports, [*code, *guards])
    future = [ast.unparse(s) for s in wanted if isinstance(s, ast.ImportFrom) and s.module == "__future__"]
    others = [ast.unparse(s) for s in wanted if ast.unparse(s) not in future]
    others += [ast.unparse(node) for node in guards]
    others = [line for statement in others for line in statement.split("\n")]
    if isinstance(tree, SyntaxProblem):
        at = outermost.start_line - 1
        return [_Splice(at, at, [*others, ""])] if others else []
    top, last = import_lines(body, text, outermost.start_line)
    return [_Splice(top, top, future)] * bool(future) + [_Splice(last, last, others)] * bool(others)


def _apply(text: str, splices: list[_Splice]) -> str:
    return _applied(text, splices)[0]


def _applied(text: str, splices: list[_Splice]) -> tuple[str, list[tuple[int, int]]]:
    """Return the new text, and where in it the splices' lines stand, from 1."""
    lines, given, shift = text.split("\n"), [], 0
    order = sorted(enumerate(splices), key=lambda pair: (pair[1].start, pair[1].end, -pair[0]))
    for _, splice in order:
        start = splice.start + shift
        lines[start : splice.end + shift] = splice.lines
        given.append((start + 1, start + len(splice.lines)))
        shift += len(splice.lines) - (splice.end - splice.start)
    return "\n".join(lines), given
