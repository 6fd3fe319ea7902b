"""Definitions in a tree, by name path: `Class.method`, `Type.method` for Go's receivers and Rust's impls,
`ns.Class.method` for namespaces and modules.

Comes in: tables and a text with LF line ends. Goes out: definitions in source order, of broken files too. Their extent
takes in what belongs to them: comments and attributes right above, decorators, `export`, `template`. Of several
definitions of one name path the plain one is the first that has a body, the next get `#2`, `#3`.

Not covered: definitions inside functions, names that are computed, enum members, fields of Go's structs.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from forklock.tools.contract import Symbol
from forklock.tools.languages.definitions import Kind, Parsed
from forklock.tools.languages.tree.parsing import holds, last_row
from forklock.tools.languages.tree.tables import Tables, TreeDefinition

if TYPE_CHECKING:
    from tree_sitter import Node

_DEEPEST = 40
"""Levels of nodes; code is not that deep, and what is means to overflow us."""
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class _Scope:
    prefix: str = ""
    """"" or the name path around, with its dot."""
    inside: Literal["file", "space", "class"] = "file"
    depth: int = 0
    test: bool = False
    beside: dict[int, Node | None] = field(default_factory=dict)
    """The sibling before a node, by its id: to ask the tree for it takes time in proportion to its siblings."""


@lru_cache(maxsize=128)
def outline(tables: Tables, text: str) -> tuple[TreeDefinition, ...]:
    """Return the definitions of a text."""
    walk = _Walk(tables, tables.tree(text))
    found = sorted(walk.below(walk.parsed.root, _Scope(), 0), key=lambda one: one.whole.start_byte)
    return tuple(_numbered(found))


def _numbered(found: list[TreeDefinition]) -> Iterator[TreeDefinition]:
    same: dict[str, list[int]] = defaultdict(list)
    for index, one in enumerate(found):
        same[one.name_path].append(index)
    ranks = {
        index: rank
        for indices in same.values()
        for rank, index in enumerate(sorted(indices, key=lambda i: (found[i].body is None, i)), 1)
    }
    for index, one in enumerate(found):
        yield replace(one, name_path=f"{one.name_path}#{ranks[index]}") if ranks[index] > 1 else one


class _Walk:
    """One pass over a tree."""

    def __init__(self, tables: Tables, parsed: Parsed) -> None:
        self.tables = tables
        self.parsed = parsed

    def below(self, node: Node, scope: _Scope, level: int) -> Iterator[TreeDefinition]:
        """Yield what is defined below `node`, without the bodies of functions."""
        if level >= _DEEPEST:
            return
        before: Node | None = None
        for child in node.children:
            scope.beside[child.id] = before
            before = child
        for child in node.named_children:
            one = self._definition(child, scope)
            if one is not None:
                yield one
                inner = self.tables.members(one)
                if inner is not None:
                    within = replace(
                        scope, prefix=f"{one.plain}.", inside="class", depth=one.depth + 1, test=one.test
                    )
                    yield from self.below(inner, within, level + 1)
            elif held := self.tables.held(self.parsed, child):
                yield from self.below(held, scope, level + 1)
            elif child.type in self.tables.entered:
                yield from self.below(child, self._entered(child, scope), level + 1)

    def _entered(self, node: Node, scope: _Scope) -> _Scope:
        name, is_class = self.tables.lent(self.parsed, node)
        prefix = f"{scope.prefix}{name}." if name else scope.prefix
        if is_class:
            return replace(scope, prefix=prefix, inside="class", depth=scope.depth + 1)
        if name:
            test = scope.test or self._for_tests(self._above(node, scope))
            return replace(scope, prefix=prefix, inside="space", test=test)
        return scope

    def _definition(self, node: Node, scope: _Scope) -> TreeDefinition | None:
        """Return what a node defines by itself; None where it defines nothing, or only holds definitions."""
        tables = self.tables
        found, path, core = tables.named(self.parsed, node)
        if not path:
            return None
        own = path.rpartition(".")[0]
        kind: Kind = "method" if found == "function" and (scope.inside == "class" or own) else found
        whole = self._whole(core)
        above = self._above(whole, scope)
        body = tables.body_of(core)
        return TreeDefinition(
            name_path=scope.prefix + path,
            kind=kind,
            start_line=(above[0] if above else whole).start_point[0] + 1,
            end_line=last_row(whole) + 1,
            node=core,
            name_line=(tables.name_node(core) or core).start_point[0] + 1,
            head_line=whole.start_point[0] + 1,
            depth=scope.depth or int(bool(own)),
            test=scope.test or self._for_tests(above),
            declared=body is None and kind in ("function", "method"),
            parsed=self.parsed,
            whole=whole,
            above=above,
            body=body,
        )

    def _whole(self, node: Node) -> Node:
        tables, outer = self.tables, node
        while (parent := outer.parent) is not None and parent.type in tables.wrappers:
            if not tables.wraps(parent):
                break
            outer = parent
        return outer

    def _above(self, node: Node, scope: _Scope) -> tuple[Node, ...]:
        """Return comments, attributes and decorators that stand right above, without a blank line between."""
        kinds = self.tables.above
        found: list[Node] = []
        below, sibling = node, _before(node, scope)
        while sibling is not None and sibling.type in kinds and below.start_point[0] - last_row(sibling) <= 1:
            before = _before(sibling, scope)
            if before is not None and last_row(before) == sibling.start_point[0] and before.type not in kinds:
                break  # it ends another's line
            found.append(sibling)
            below, sibling = sibling, before
        return tuple(reversed(found))

    def _for_tests(self, above: tuple[Node, ...]) -> bool:
        return any(self.tables.is_test_mark(self.parsed.text(n)) for n in above if "comment" not in n.type)


def _before(node: Node, scope: _Scope) -> Node | None:
    return scope.beside[node.id] if node.id in scope.beside else node.prev_sibling  # noqa: SIM401 (it is slow)


# --- of one symbol -------------------------------------------------------------------------------------


def found(tables: Tables, text: str, symbol: Symbol) -> TreeDefinition | None:
    """Return the definition of a symbol, which may be a server's, with other lines and another number."""
    by_path, by_name = _by_name(tables, text)
    plain = symbol.name_path.rpartition(".")[2].partition("#")[0]
    for known in (by_path.get(symbol.name_path, ()), by_name.get(plain, ())):
        inside = (d for d in known if symbol.start_line <= d.name_line <= symbol.end_line)
        if (one := next(inside, None)) is not None:
            return one
    return None


Named = dict[str, list[TreeDefinition]]


@lru_cache(maxsize=16)
def _by_name(tables: Tables, text: str) -> tuple[Named, Named]:
    """Return definitions by name path and by name."""
    by_path, by_name = Named(), Named()
    for one in outline(tables, text):
        by_path.setdefault(one.name_path, []).append(one)
        by_name.setdefault(one.name, []).append(one)
    return by_path, by_name


def head_of(tables: Tables, one: TreeDefinition) -> str:
    """Return what stands before the body, on one line: `func (s *Shape) Area(by int) float64`."""
    node = one.whole
    while node.type in tables.shown_inside:
        inner = next((c for c in node.named_children if holds(c, one.node)), None)
        if inner is None or node is one.node:
            break
        node = inner
    start = next((c.start_byte for c in node.children if c.type not in tables.above), node.start_byte)
    text = one.parsed.data[start : tables.head_end(one, node)].decode("utf-8", "replace")
    if one.kind == "class":
        text = tables.cut_head(one.node, text)
    if one.kind == "variable":
        text = text.partition("\n")[0]
    line = _SPACE.sub(" ", text).strip()
    return line.removesuffix("=>").removesuffix("=").rstrip(" {;,")
