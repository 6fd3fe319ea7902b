"""Definitions in the trees of `tools.trees`, by name path: `Class.method`, `Type.method` for Go's receivers and Rust's
impls, `ns.Class.method` for namespaces and modules.

Comes in: a suffix and a text with LF line ends. Goes out: `Braced` definitions in source order, of broken files too.
Their extent takes in what belongs to them: comments and attributes right above, decorators, `export`, `template`.
Of several definitions of one name path the plain one is the first that has a body, the next get `#2`, `#3`.

Not covered: definitions inside functions, names that are computed, enum members, fields of Go's structs.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from tools.trees import Parsed, parse_tree

if TYPE_CHECKING:
    from tree_sitter import Node

Kind = Literal["class", "function", "method", "variable"]

_KINDS: dict[str, Literal["class", "function", "variable"]] = {
    # TypeScript and JavaScript
    "class_declaration": "class", "abstract_class_declaration": "class", "interface_declaration": "class",
    "enum_declaration": "class", "type_alias_declaration": "class", "function_declaration": "function",
    "generator_function_declaration": "function", "function_signature": "function", "method_definition": "function",
    "abstract_method_signature": "function", "method_signature": "function", "variable_declarator": "variable",
    "public_field_definition": "variable", "field_definition": "variable", "property_signature": "variable",
    # C and C++
    "class_specifier": "class", "struct_specifier": "class", "union_specifier": "class", "enum_specifier": "class",
    "type_definition": "class", "function_definition": "function", "field_declaration": "variable",
    "declaration": "variable", "preproc_function_def": "function", "preproc_def": "variable",
    # Go
    "method_declaration": "function", "type_spec": "class", "type_alias": "class", "const_spec": "variable",
    "var_spec": "variable",
    # Rust
    "function_item": "function", "function_signature_item": "function", "struct_item": "class", "enum_item": "class",
    "trait_item": "class", "union_item": "class", "type_item": "class", "const_item": "variable",
    "static_item": "variable", "macro_definition": "function",
}  # fmt: skip
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
_RECORDS = {"class_specifier", "struct_specifier", "union_specifier", "enum_specifier"}
_FUNCTIONS = {"arrow_function", "function_expression", "function", "generator_function"}
_ABOVE = {"comment", "line_comment", "block_comment", "attribute_item", "decorator"}
_DEEPEST = 40
"""Levels of nodes; code is not that deep, and what is means to overflow us."""
_GTEST = {"TEST", "TEST_F", "TEST_P", "TYPED_TEST"}
_NAME = re.compile(r"(?:[\w$~#]+\.)*(?:[\w$~#]+|operator *[^\w\s]+)")
_PARAMETERS = re.compile(r"<[^<>]*>")
_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
_EXPORTS = {"module.exports", "exports"}
_TARGET = re.compile(r"(?:module\.)?(exports)?\.?((?:[A-Za-z_$][\w$]*\.)*[A-Za-z_$][\w$]*)")


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


@lru_cache(maxsize=256)
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
    for child in node.named_children if level < _DEEPEST else ():
        one = _definition(parsed, child, scope)
        if one is not None:
            yield one
            inner = _inner(one)
            if inner is not None:
                within = _Scope(f"{one.plain}.", "class", one.depth + 1, one.test)
                yield from _walk(parsed, inner, within, level + 1)
        elif exported := _exported(parsed, child):
            yield from _walk(parsed, exported, scope, level + 1)
        elif child.type in _ENTERED:
            yield from _walk(parsed, child, _entered(parsed, child, scope), level + 1)


def _exported(parsed: Parsed, node: Node) -> Node | None:
    """The object of `module.exports = {…}`."""
    assignment = (
        node.named_children[0] if node.type == "expression_statement" and node.named_children else node
    )
    left, right = assignment.child_by_field_name("left"), assignment.child_by_field_name("right")
    is_it = left is not None and right is not None and right.type == "object"
    return right if is_it and left and parsed.text(left) in _EXPORTS else None


def _entered(parsed: Parsed, node: Node, scope: _Scope) -> _Scope:
    if node.type == "impl_item":
        of = node.child_by_field_name("type")
        words = _WORD.findall(parsed.text(of).partition("<")[0]) if of else []
        prefix = f"{scope.prefix}{words[-1]}." if words else scope.prefix
        return replace(scope, prefix=prefix, inside="class", depth=scope.depth + 1)
    if node.type in _SPACES and (name := _plain_name(parsed, node)):
        test = scope.test or _for_tests(parsed, _above(node))
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


# --- one definition ------------------------------------------------------------------------------------


def _definition(parsed: Parsed, node: Node, scope: _Scope) -> Braced | None:
    """What a node defines by itself; None where it defines nothing, or only holds definitions."""
    kind, named, core = _named(parsed, node)
    if not named:
        return None
    told: Kind = kind
    own = named.rpartition(".")[0]
    if kind == "function" and (scope.inside == "class" or own):
        told = "method"
    whole = _whole(core)
    above = _above(whole)
    name = _name_node(core) or core
    return Braced(
        plain=scope.prefix + named,
        kind=told,
        node=core,
        whole=whole,
        above=above,
        name_line=name.start_point[0] + 1,
        body=_body(core),
        depth=scope.depth or int(bool(own)),
        test=scope.test or _for_tests(parsed, above),
    )


def _named(parsed: Parsed, node: Node) -> tuple[Literal["class", "function", "variable"], str, Node]:
    """Kind, name ("" for none) and the node that is named."""
    if node.type == "expression_statement" and node.named_children:
        return "function", _assigned(parsed, node.named_children[0]), node.named_children[0]
    if node.type == "export_statement":
        value = node.child_by_field_name("value")
        declared = node.child_by_field_name("declaration")
        anonymous = value or (declared if declared and not declared.child_by_field_name("name") else None)
        if anonymous is not None and anonymous.type in {*_FUNCTIONS, "class", "function_declaration"}:
            return ("class" if anonymous.type == "class" else "function"), "default", anonymous
    if node.type == "pair" and (value := node.child_by_field_name("value")) and value.type in _FUNCTIONS:
        key = node.child_by_field_name("key")
        return "function", parsed.text(key) if key and key.type == "property_identifier" else "", node
    if node.type in {"declaration", "field_declaration"}:
        return _declared(parsed, node)
    kind = _KINDS.get(node.type)
    if kind is None or (node.type in _RECORDS and node.child_by_field_name("body") is None):
        return "variable", "", node
    value = node.child_by_field_name("value")
    if kind == "variable" and value is not None and value.type in _FUNCTIONS:
        kind = "function"
    if node.type == "type_definition":
        record = node.child_by_field_name("type")
        if record is None or record.type not in _RECORDS or record.child_by_field_name("body") is None:
            return "variable", "", node
    return kind, _plain_name(parsed, node), node


def _assigned(parsed: Parsed, node: Node) -> str:
    """`f` of `exports.f = function () {}`, `C.m` of `C.prototype.m = function () {}`."""
    left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
    if node.type != "assignment_expression" or left is None or right is None or right.type not in _FUNCTIONS:
        return ""
    written = parsed.text(left).replace(".prototype.", ".")
    if written in _EXPORTS:
        return "default"
    match = _TARGET.fullmatch(written)
    return match[2] if match and "." in written and not written.startswith("this.") else ""


def _declared(parsed: Parsed, node: Node) -> tuple[Literal["class", "function", "variable"], str, Node]:
    """C's declarations: of a record, of a function, of a variable."""
    record = node.child_by_field_name("type")
    if record is not None and record.type in _RECORDS and record.child_by_field_name("body") is not None:
        return "class", _plain_name(parsed, record), record
    inner: Node | None = node
    while inner is not None and inner.type != "function_declarator":
        inner = _below(inner)
    to_function = (
        inner is not None and (deeper := _below(inner)) and deeper.type == "parenthesized_declarator"
    )
    return "variable" if inner is None or to_function else "function", _plain_name(parsed, node), node


def _below(node: Node) -> Node | None:
    """The declarator in a declaration or declarator."""
    unnamed = node.type in {"reference_declarator", "parenthesized_declarator"} and node.named_children
    return node.child_by_field_name("declarator") or (node.named_children[-1] if unnamed else None)


def _name_node(node: Node) -> Node | None:
    if node.type in {"function_definition", "field_declaration", "declaration", "type_definition"}:
        inner = node
        while deeper := _below(inner):
            inner = deeper
        return None if inner is node else inner
    if node.type in {"field_definition", "public_field_definition"}:
        return node.child_by_field_name("property") or node.child_by_field_name("name")
    if node.type == "pair":
        return node.child_by_field_name("key")
    if node.type == "assignment_expression":
        return node.child_by_field_name("left")
    return node.child_by_field_name("name")


def _plain_name(parsed: Parsed, node: Node) -> str:
    named = _name_node(node)
    if named is None or named.type in {"object_pattern", "array_pattern", "computed_property_name"}:
        return ""
    text = parsed.text(named)
    if node.type == "method_declaration":
        receiver = node.child_by_field_name("receiver")
        words = _WORD.findall(parsed.text(receiver).partition("[")[0]) if receiver else []
        return f"{words[-1]}.{text}" if words else text
    if text in _GTEST and node.type == "function_definition":
        given = named.parent.child_by_field_name("parameters") if named.parent else None
        return ".".join(_WORD.findall(parsed.text(given))) if given else ""
    plain = _PARAMETERS.sub("", text).replace("::", ".").strip("\"'`").lstrip(".")
    return plain if _NAME.fullmatch(plain) else ""


def _body(node: Node) -> Node | None:
    if node.type in {"variable_declarator", "pair", "field_definition", "public_field_definition"}:
        value = node.child_by_field_name("value")
        return value.child_by_field_name("body") if value is not None else None
    if node.type == "assignment_expression":
        right = node.child_by_field_name("right")
        return right.child_by_field_name("body") if right is not None else None
    if node.type in {"type_definition", "type_spec"}:
        of = node.child_by_field_name("type")
        if of is None:
            return None
        lists = [one for one in of.named_children if one.type == "field_declaration_list"]
        return of.child_by_field_name("body") or next(iter(lists), None)
    if node.type == "preproc_function_def":
        return node.child_by_field_name("value")
    return node.child_by_field_name("body")


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


def _above(node: Node) -> tuple[Node, ...]:
    """Comments, attributes and decorators that stand right above, without a blank line between."""
    found: list[Node] = []
    below, sibling = node, node.prev_sibling
    while sibling is not None and sibling.type in _ABOVE and below.start_point[0] - last_row(sibling) <= 1:
        before = sibling.prev_sibling
        if before is not None and last_row(before) == sibling.start_point[0] and before.type not in _ABOVE:
            break  # it ends another's line
        found.append(sibling)
        below, sibling = sibling, before
    return tuple(reversed(found))


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
