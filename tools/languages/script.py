"""TypeScript and JavaScript, by their grammars. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from forklock.tools.languages.definitions import Parsed
from forklock.tools.languages.tree.language import TreeLanguage
from forklock.tools.languages.tree.tables import Import, NodeKind, TreeDefinition

if TYPE_CHECKING:
    from tree_sitter import Node

_FUNCTIONS = {"arrow_function", "function_expression", "function", "generator_function"}
_EXPORTS = {"module.exports", "exports"}
_TARGET = re.compile(r"(?:module\.)?(exports)?\.?((?:[A-Za-z_$][\w$]*\.)*[A-Za-z_$][\w$]*)")
_REQUIRED = re.compile(r"\brequire\s*\(")
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
_STANDARD = re.compile(r"/typescript/lib/lib\.[\w.]*d\.ts$")
_LISTS = {"lexical_declaration", "variable_declaration"}
_VALUES = {"variable_declarator", "pair", "field_definition", "public_field_definition"}


class Script(TreeLanguage):
    group = "script"
    unwritten = 'throw new Error("not implemented");'
    kinds: ClassVar = {
        "class_declaration": "class", "abstract_class_declaration": "class", "interface_declaration": "class",
        "enum_declaration": "class", "type_alias_declaration": "class", "function_declaration": "function",
        "generator_function_declaration": "function", "function_signature": "function",
        "method_definition": "function", "abstract_method_signature": "function", "method_signature": "function",
        "variable_declarator": "variable", "public_field_definition": "variable", "field_definition": "variable",
        "property_signature": "variable",
    }  # fmt: skip
    entered = frozenset({
        "program", "export_statement", "ambient_declaration", "class_body", "interface_body", "lexical_declaration",
        "variable_declaration", "statement_block", "expression_statement", "internal_module", "module", "ERROR",
    })  # fmt: skip
    spaces = frozenset({"internal_module", "module"})
    wrappers = frozenset({
        "export_statement", "ambient_declaration", "lexical_declaration", "variable_declaration",
        "expression_statement",
    })  # fmt: skip
    shown_inside = frozenset({"export_statement", "ambient_declaration"})
    above = frozenset({"comment", "decorator"})
    functions = frozenset({
        "function_declaration", "generator_function_declaration", "method_definition", "arrow_function",
        "function_expression", "generator_function",
    })  # fmt: skip
    lists = frozenset({"statement_block", "switch_case", "switch_default"})
    names = frozenset({
        "identifier", "property_identifier", "type_identifier", "private_property_identifier",
        "shorthand_property_identifier",
    })  # fmt: skip
    around: ClassVar = {
        "class_body": ("class C {", "}"), "interface_body": ("interface C {", "}"),
        "object_type": ("interface C {", "}"), "object": ("const C = {", "};"),
        "lexical_declaration": ("const", ";"), "variable_declaration": ("var", ";"),
    }  # fmt: skip
    import_nodes = frozenset({"import_statement"})
    heading = frozenset({"comment", "hash_bang_line"})
    ended = frozenset({"function_declaration", "generator_function_declaration", "class_declaration"})
    specs = frozenset({"variable_declarator"})
    roles = frozenset({"get", "set", "static"})
    decorators = frozenset({"decorator"})
    kept_wrappers = frozenset({"export_statement"})
    strings = re.compile(r"template_string|^string$")
    itself = frozenset({"this", "super"})
    titles = True

    def named(self, parsed: Parsed, node: Node) -> tuple[NodeKind, str, Node]:
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
        kind, name, core = super().named(parsed, node)
        value = node.child_by_field_name("value")
        is_function = kind == "variable" and value is not None and value.type in _FUNCTIONS
        return "function" if is_function else kind, name, core

    def name_node(self, node: Node) -> Node | None:
        if node.type in {"field_definition", "public_field_definition"}:
            return node.child_by_field_name("property") or node.child_by_field_name("name")
        field = {"pair": "key", "assignment_expression": "left"}.get(node.type, "name")
        return node.child_by_field_name(field)

    def plain_name(self, parsed: Parsed, node: Node) -> str:
        named = self.name_node(node)
        if named is None or named.type in {"object_pattern", "array_pattern", "computed_property_name"}:
            return ""
        return super().plain_name(parsed, node)

    def body_of(self, node: Node) -> Node | None:
        field = "value" if node.type in _VALUES else "right" if node.type == "assignment_expression" else ""
        holder = node.child_by_field_name(field) if field else node
        return holder.child_by_field_name("body") if holder is not None else None

    def members(self, one: TreeDefinition) -> Node | None:
        if one.kind != "class" and one.node.type == "variable_declarator":
            value = one.node.child_by_field_name("value")
            return value if value is not None and value.type == "object" else None
        return super().members(one)

    def held(self, parsed: Parsed, node: Node) -> Node | None:
        """Return the object of `module.exports = {…}`."""
        inside = node.type == "expression_statement" and node.named_children
        assignment = node.named_children[0] if inside else node
        left, right = assignment.child_by_field_name("left"), assignment.child_by_field_name("right")
        is_it = left is not None and right is not None and right.type == "object"
        return right if is_it and left and parsed.text(left) in _EXPORTS else None

    def wraps(self, node: Node) -> bool:
        one = sum(child.type not in self.above for child in node.named_children) <= 1
        return node.type not in _LISTS or one

    def imports_of(self, parsed: Parsed, node: Node) -> list[Import]:
        text = " ".join(parsed.text(node).split())
        if node.type == "import_statement":
            clause = next((c for c in node.named_children if c.type == "import_clause"), None)
            return [Import(text, tuple(_bound(parsed, clause)) if clause else ())]
        if node.type in _LISTS and _REQUIRED.search(text):
            return [Import(text, tuple(_WORD.findall(text.partition("=")[0])[1:]))]
        return []

    def as_member(self, old: Node, new: Node, line: str) -> str:
        """A method that was written as a function of its own."""
        if old.type == "method_definition" and new.type == "function_declaration":
            return re.sub(r"\bfunction\b\s*", "", line, count=1)
        return line

    def described(self, name_path: str, path: str, source: str) -> str:
        return "" if _STANDARD.search(path) else super().described(name_path, path, source)


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


def _bound(parsed: Parsed, clause: Node) -> list[str]:
    found: list[str] = []
    for node in clause.named_children:
        if node.type == "identifier":
            found.append(parsed.text(node))
        elif node.type == "namespace_import":
            found.append(parsed.text(node.named_children[-1]))
        else:
            names = (
                n.child_by_field_name("alias") or n.child_by_field_name("name") for n in node.named_children
            )
            found += [parsed.text(name) for name in names if name is not None]
    return found


_TYPESCRIPT = ("tree_sitter_typescript", "language_typescript")
_JAVASCRIPT = ("tree_sitter_javascript", "language")
SCRIPTS = (
    Script("typescript", (".ts", ".mts", ".cts"), _TYPESCRIPT),
    Script("tsx", (".tsx",), ("tree_sitter_typescript", "language_tsx")),
    Script("javascript", (".js", ".mjs", ".cjs"), _JAVASCRIPT),
    Script("jsx", (".jsx",), _JAVASCRIPT),
)
