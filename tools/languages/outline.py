"""Definitions in the trees of `forklock.tools.languages.treesitter`, by name path: `Class.method`, `Type.method` for
Go's receivers and Rust's impls, `ns.Class.method` for namespaces and modules.

Comes in: a suffix and a text with LF line ends. Goes out: `Braced` definitions in source order, of broken files too.
Their extent takes in what belongs to them: comments and attributes right above, decorators, `export`, `template`.
Of several definitions of one name path the plain one is the first that has a body, the next get `#2`, `#3`.

Not covered: definitions inside functions, names that are computed, enum members, fields of Go's structs.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from forklock.tools.languages.definers import body_of, exported_object, name_node, named, plain_name
from forklock.tools.languages.treesitter import Parsed, parse_tree

if TYPE_CHECKING:
    from tree_sitter import Node

Kind = Literal["class", "function", "method", "variable"]

_SPACES = {"namespace_definition", "internal_module", "module", "mod_item"}
"""Nodes that lend a name to what is in them, and are no definitions of ours."""
_ENTERED = {
    "program", "translation_unit", "source_file", "export_statement", "ambient_declaration", "declaration_list",
    "field_declaration_list", "class_body", "interface_body", "lexical_declaration", "variable_declaration",
    "linkage_specification", "template_declaration", "type_declaration", "const_declaration", "var_declaration",
    "var_spec_list", "impl_item", "statement_block", "expression_statement", "preproc_if", "preproc_ifdef",
    "preproc_else", "preproc_elif", "ERROR", *_SPACES,
}  # fmt: skip
"""Nodes whose children are looked at; bodies of functions are not."""
_WRAPPERS = {
    "export_statement", "ambient_declaration", "template_declaration", "lexical_declaration", "variable_declaration",
    "type_declaration", "const_declaration", "var_declaration", "expression_statement", "field_declaration",
    "declaration",
}  # fmt: skip
"""Nodes that belong to the one definition in them."""
_ABOVE = {"comment", "line_comment", "block_comment", "attribute_item", "decorator"}
_DEEPEST = 40
"""Levels of nodes; code is not that deep, and what is means to overflow us."""
_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"[A-Za-z_$][\w$]*")


@dataclass(frozen=True, slots=True)
class Braced:
    """A definition, its node and where it stands. Lines are from 1."""

    plain: str
    """Its name path without a number."""
    kind: Kind
    node: Node
    """What is named: `function f() {}`, or the `f = () => {}` of a declaration."""
    whole: Node
    """With what is around it: `export`, `template <…>`, `const …;`."""
    above: tuple[Node, ...]
    """Comments, attributes and decorators right above."""
    name_line: int
    body: Node | None
    depth: int
    """Classes around it."""
    test: bool = False
    """In Rust: compiled for tests alone."""
    number: int = 1

    @property
    def name_path(self) -> str:
        return self.plain if self.number == 1 else f"{self.plain}#{self.number}"

    @property
    def name(self) -> str:
        return self.plain.rpartition(".")[2]

    @property
    def container(self) -> str:
        """Name path around it, "" at the top."""
        return self.plain.rpartition(".")[0]

    @property
    def start_line(self) -> int:
        return (self.above[0] if self.above else self.whole).start_point[0] + 1

    @property
    def head_line(self) -> int:
        """Where it begins without what stands above it."""
        return self.whole.start_point[0] + 1

    @property
    def end_line(self) -> int:
        return last_row(self.whole) + 1


def last_row(node: Node) -> int:
    """Row of a node's last character; some end with the newline behind them."""
    row, column = node.end_point
    return row - 1 if column == 0 and row > node.start_point[0] else row


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
def outline(suffix: str, text: str) -> tuple[Braced, ...]:
    """The definitions of a text in the language of a suffix."""
    parsed = parse_tree(suffix, text)
    found = sorted(_walk(parsed, parsed.root, _Scope(), 0), key=lambda one: one.whole.start_byte)
    return tuple(_numbered(found))


def _numbered(found: list[Braced]) -> Iterator[Braced]:
    same: dict[str, list[int]] = defaultdict(list)
    for index, one in enumerate(found):
        same[one.plain].append(index)
    ranks = {
        index: rank
        for indices in same.values()
        for rank, index in enumerate(sorted(indices, key=lambda i: (found[i].body is None, i)), 1)
    }
    for index, one in enumerate(found):
        yield replace(one, number=ranks[index]) if ranks[index] > 1 else one


def _walk(parsed: Parsed, node: Node, scope: _Scope, level: int) -> Iterator[Braced]:
    """What is defined below `node`, without the bodies of functions."""
    if level >= _DEEPEST:
        return
    before: Node | None = None
    for child in node.children:
        scope.beside[child.id] = before
        before = child
    for child in node.named_children:
        one = _definition(parsed, child, scope)
        if one is not None:
            yield one
            inner = _inner(one)
            if inner is not None:
                within = replace(
                    scope, prefix=f"{one.plain}.", inside="class", depth=one.depth + 1, test=one.test
                )
                yield from _walk(parsed, inner, within, level + 1)
        elif exported := exported_object(parsed, child):
            yield from _walk(parsed, exported, scope, level + 1)
        elif child.type in _ENTERED:
            yield from _walk(parsed, child, _entered(parsed, child, scope), level + 1)


def _entered(parsed: Parsed, node: Node, scope: _Scope) -> _Scope:
    if node.type == "impl_item":
        of = node.child_by_field_name("type")
        words = _WORD.findall(parsed.text(of).partition("<")[0]) if of else []
        prefix = f"{scope.prefix}{words[-1]}." if words else scope.prefix
        return replace(scope, prefix=prefix, inside="class", depth=scope.depth + 1)
    if node.type in _SPACES and (name := plain_name(parsed, node)):
        test = scope.test or _for_tests(parsed, _above(node, scope))
        return replace(scope, prefix=f"{scope.prefix}{name}.", inside="space", test=test)
    return scope


def _inner(one: Braced) -> Node | None:
    """The node whose children are its members."""
    if one.kind == "class":
        return one.body if one.body is not None and one.body.type in _ENTERED else None
    if one.node.type == "variable_declarator":
        value = one.node.child_by_field_name("value")
        return value if value is not None and value.type == "object" else None
    return None


def _definition(parsed: Parsed, node: Node, scope: _Scope) -> Braced | None:
    """What a node defines by itself; None where it defines nothing, or only holds definitions."""
    kind, path, core = named(parsed, node)
    if not path:
        return None
    told: Kind = kind
    own = path.rpartition(".")[0]
    if kind == "function" and (scope.inside == "class" or own):
        told = "method"
    whole = _whole(core)
    above = _above(whole, scope)
    return Braced(
        plain=scope.prefix + path,
        kind=told,
        node=core,
        whole=whole,
        above=above,
        name_line=(name_node(core) or core).start_point[0] + 1,
        body=body_of(core),
        depth=scope.depth or int(bool(own)),
        test=scope.test or _for_tests(parsed, above),
    )


# --- what is around it ---------------------------------------------------------------------------------


def _whole(node: Node) -> Node:
    outer = node
    while (parent := outer.parent) is not None and parent.type in _WRAPPERS:
        if sum(child.type not in _ABOVE for child in parent.named_children) > 1 and parent.type in {
            "lexical_declaration", "variable_declaration", "type_declaration", "const_declaration", "var_declaration",
        }:  # fmt: skip
            break  # one of several
        if parent.type in {"type_declaration", "const_declaration", "var_declaration"} and any(
            child.type == "(" for child in parent.children
        ):
            break
        if parent.type in {"declaration", "field_declaration"} and parent.child_by_field_name("declarator"):
            break  # a record in the declaration of a variable
        outer = parent
    return outer


def _above(node: Node, scope: _Scope) -> tuple[Node, ...]:
    """Comments, attributes and decorators that stand right above, without a blank line between."""
    found: list[Node] = []
    below, sibling = node, _before(node, scope)
    while sibling is not None and sibling.type in _ABOVE and below.start_point[0] - last_row(sibling) <= 1:
        before = _before(sibling, scope)
        if before is not None and last_row(before) == sibling.start_point[0] and before.type not in _ABOVE:
            break  # it ends another's line
        found.append(sibling)
        below, sibling = sibling, before
    return tuple(reversed(found))


def _before(node: Node, scope: _Scope) -> Node | None:
    if node.id in scope.beside:
        return scope.beside[node.id]
    return node.prev_sibling


def _for_tests(parsed: Parsed, above: tuple[Node, ...]) -> bool:
    marks = (parsed.text(node) for node in above if node.type == "attribute_item")
    return any(re.search(r"\btest\b", mark) for mark in marks)


# --- how it is told ------------------------------------------------------------------------------------


def head(parsed: Parsed, one: Braced) -> str:
    """What stands before the body, on one line: `func (s *Shape) Area(by int) float64`."""
    node = one.whole
    while node.type in {
        "export_statement",
        "template_declaration",
        "ambient_declaration",
        "type_declaration",
    }:
        inner = next((c for c in node.named_children if _holds(c, one.node)), None)
        if inner is None or node is one.node:
            break
        node = inner
    start = next((c.start_byte for c in node.children if c.type not in _ABOVE), node.start_byte)
    end = one.body.start_byte if one.body is not None and one.body.type != "preproc_arg" else node.end_byte
    text = parsed.data[start:end].decode("utf-8", "replace")
    if one.kind == "class" and one.node.type in {"struct_item", "enum_item", "type_spec"}:
        text = text.partition("{")[0]
    if one.kind == "variable":
        text = text.partition("\n")[0]
    line = _SPACE.sub(" ", text).strip()
    return line.removesuffix("=>").removesuffix("=").rstrip(" {;,")


def _holds(outer: Node, inner: Node) -> bool:
    return outer.start_byte <= inner.start_byte and inner.end_byte <= outer.end_byte
