"""C and C++, by their grammars. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from forklock.tools.languages.definitions import Parsed
from forklock.tools.languages.tree.language import TreeLanguage
from forklock.tools.languages.tree.tables import NodeKind, TreeDefinition

if TYPE_CHECKING:
    from tree_sitter import Node

_RECORDS = frozenset({"class_specifier", "struct_specifier", "union_specifier", "enum_specifier"})
_DECLARED = frozenset({"function_definition", "field_declaration", "declaration", "type_definition"})
_GTEST = {"TEST", "TEST_F", "TEST_P", "TYPED_TEST"}
_WORD = re.compile(r"[A-Za-z_]\w*")


class C(TreeLanguage):
    group = "c"
    unwritten = "__builtin_trap();"
    called_for: ClassVar = {"the linker and callers of the program": r"main$"}
    kinds: ClassVar = {
        "class_specifier": "class", "struct_specifier": "class", "union_specifier": "class",
        "enum_specifier": "class", "type_definition": "class", "function_definition": "function",
        "field_declaration": "variable", "declaration": "variable", "preproc_function_def": "function",
        "preproc_def": "variable",
    }  # fmt: skip
    bodiless = _RECORDS
    entered = frozenset({
        "translation_unit", "declaration_list", "field_declaration_list", "linkage_specification",
        "template_declaration", "expression_statement", "preproc_if", "preproc_ifdef", "preproc_else",
        "preproc_elif", "namespace_definition", "ERROR",
    })  # fmt: skip
    spaces = frozenset({"namespace_definition"})
    wrappers = frozenset({"template_declaration", "expression_statement", "field_declaration", "declaration"})
    shown_inside = frozenset({"template_declaration"})
    above = frozenset({"comment"})
    functions = frozenset({"function_definition"})
    lists = frozenset({"compound_statement", "case_statement"})
    names = frozenset({
        "identifier", "field_identifier", "type_identifier", "namespace_identifier", "destructor_name",
    })  # fmt: skip
    around: ClassVar = {"field_declaration_list": ("struct C {", "};")}
    import_nodes = frozenset({"preproc_include"})
    kept_wrappers = frozenset({"template_declaration"})
    strings = re.compile(r"raw_string_literal|string_literal")
    itself = frozenset({"this"})

    def named(self, parsed: Parsed, node: Node) -> tuple[NodeKind, str, Node]:
        record = node.child_by_field_name("type")
        whole = (
            record is not None and record.type in _RECORDS and record.child_by_field_name("body") is not None
        )
        if node.type == "type_definition" and not whole:
            return "variable", "", node
        if node.type not in {"declaration", "field_declaration"}:
            return super().named(parsed, node)
        if whole and record is not None:
            return "class", self.plain_name(parsed, record), record
        inner: Node | None = node
        while inner is not None and inner.type != "function_declarator":
            inner = _below(inner)
        deeper = _below(inner) if inner is not None else None
        to_function = deeper is not None and deeper.type == "parenthesized_declarator"
        return "variable" if inner is None or to_function else "function", self.plain_name(parsed, node), node

    def name_node(self, node: Node) -> Node | None:
        if node.type not in _DECLARED:
            return super().name_node(node)
        inner = node
        while deeper := _below(inner):
            inner = deeper
        return None if inner is node else inner

    def plain_name(self, parsed: Parsed, node: Node) -> str:
        named = self.name_node(node)
        if named is not None and node.type == "function_definition" and parsed.text(named) in _GTEST:
            given = named.parent.child_by_field_name("parameters") if named.parent else None
            return ".".join(_WORD.findall(parsed.text(given))) if given else ""
        return super().plain_name(parsed, node)

    def body_of(self, node: Node) -> Node | None:
        if node.type == "type_definition":
            of = node.child_by_field_name("type")
            return of.child_by_field_name("body") if of is not None else None
        return node.child_by_field_name("value" if node.type == "preproc_function_def" else "body")

    def wraps(self, node: Node) -> bool:
        """A record in the declaration of a variable does not take all of it."""
        of_variable = node.type in {"declaration", "field_declaration"}
        return not (of_variable and node.child_by_field_name("declarator"))

    def head_end(self, one: TreeDefinition, node: Node) -> int:
        macro = one.body is not None and one.body.type == "preproc_arg"
        return node.end_byte if macro else super().head_end(one, node)


def _below(node: Node) -> Node | None:
    """Return the declarator in a declaration or declarator."""
    unnamed = node.type in {"reference_declarator", "parenthesized_declarator"} and node.named_children
    return node.child_by_field_name("declarator") or (node.named_children[-1] if unnamed else None)


_C, _CPP = ("tree_sitter_c", "language"), ("tree_sitter_cpp", "language")
C_AND_CPP = (
    C("c", (".c",), _C),
    C("c", (".h",), _CPP, _C),  # of C or of C++: nothing but the text tells
    C("cpp", (".cc", ".cpp", ".cxx", ".hh", ".hpp"), _CPP),
)
