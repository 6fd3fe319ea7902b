"""Which nodes of a tree define a name, which name, and where its body is: tables and special cases of TypeScript,
JavaScript, C, C++, Go and Rust, for `forklock.tools.languages.outline`. Names are dotted and relative to what is around
the node. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from forklock.tools.languages.treesitter import Parsed

if TYPE_CHECKING:
    from tree_sitter import Node

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
_RECORDS = {"class_specifier", "struct_specifier", "union_specifier", "enum_specifier"}
_FUNCTIONS = {"arrow_function", "function_expression", "function", "generator_function"}
_GTEST = {"TEST", "TEST_F", "TEST_P", "TYPED_TEST"}
_NAME = re.compile(r"(?:[\w$~#]+\.)*(?:[\w$~#]+|operator *[^\w\s]+)")
_PARAMETERS = re.compile(r"<[^<>]*>")
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
_EXPORTS = {"module.exports", "exports"}
_TARGET = re.compile(r"(?:module\.)?(exports)?\.?((?:[A-Za-z_$][\w$]*\.)*[A-Za-z_$][\w$]*)")


def exported_object(parsed: Parsed, node: Node) -> Node | None:
    """The object of `module.exports = {…}`."""
    assignment = (
        node.named_children[0] if node.type == "expression_statement" and node.named_children else node
    )
    left, right = assignment.child_by_field_name("left"), assignment.child_by_field_name("right")
    is_it = left is not None and right is not None and right.type == "object"
    return right if is_it and left and parsed.text(left) in _EXPORTS else None


def named(parsed: Parsed, node: Node) -> tuple[Literal["class", "function", "variable"], str, Node]:
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
    return kind, plain_name(parsed, node), node


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
        return "class", plain_name(parsed, record), record
    inner: Node | None = node
    while inner is not None and inner.type != "function_declarator":
        inner = _below(inner)
    to_function = (
        inner is not None and (deeper := _below(inner)) and deeper.type == "parenthesized_declarator"
    )
    return "variable" if inner is None or to_function else "function", plain_name(parsed, node), node


def _below(node: Node) -> Node | None:
    """The declarator in a declaration or declarator."""
    unnamed = node.type in {"reference_declarator", "parenthesized_declarator"} and node.named_children
    return node.child_by_field_name("declarator") or (node.named_children[-1] if unnamed else None)


def name_node(node: Node) -> Node | None:
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


def plain_name(parsed: Parsed, node: Node) -> str:
    named = name_node(node)
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


def body_of(node: Node) -> Node | None:
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
