"""Rust, by its grammar. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from forklock.tools.languages.definitions import Parsed
from forklock.tools.languages.tree.language import TreeLanguage
from forklock.tools.languages.tree.tables import Import

if TYPE_CHECKING:
    from tree_sitter import Node

_WORD = re.compile(r"[A-Za-z_]\w*")
_BOUND = re.compile(r"([A-Za-z_]\w*)\s*(?=[,;}]|$)")


class Rust(TreeLanguage):
    group = "rust"
    unwritten = "todo!()"
    tested_comments = ("///", "//!")
    called_for: ClassVar = {"the linker and callers of the program": r"main$"}
    kinds: ClassVar = {
        "function_item": "function", "function_signature_item": "function", "struct_item": "class",
        "enum_item": "class", "trait_item": "class", "union_item": "class", "type_item": "class",
        "const_item": "variable", "static_item": "variable", "macro_definition": "function",
    }  # fmt: skip
    entered = frozenset({
        "source_file", "declaration_list", "field_declaration_list", "impl_item", "mod_item", "ERROR",
    })  # fmt: skip
    spaces = frozenset({"mod_item"})
    above = frozenset({"line_comment", "block_comment", "attribute_item"})
    functions = frozenset({"function_item"})
    lists = frozenset({"block", "match_block"})
    names = frozenset({"identifier", "field_identifier", "type_identifier"})
    around: ClassVar = {
        "impl_item": ("impl C {", "}"), "trait_item": ("trait C {", "}"),
        "field_declaration_list": ("struct C {", "};"),
    }  # fmt: skip
    import_nodes = frozenset({"use_declaration"})
    heading = frozenset({"line_comment", "block_comment", "inner_attribute_item"})
    visibility = frozenset({"visibility_modifier"})
    strings = re.compile(r"raw_string_literal|string_literal")
    itself = frozenset({"self", "Self", "super"})

    def lent(self, parsed: Parsed, node: Node) -> tuple[str, bool]:
        if node.type != "impl_item":
            return super().lent(parsed, node)
        of = node.child_by_field_name("type")
        words = _WORD.findall(parsed.text(of).partition("<")[0]) if of else []
        return words[-1] if words else "", True

    def cut_head(self, node: Node, text: str) -> str:
        return text.partition("{")[0] if node.type in {"struct_item", "enum_item"} else text

    def is_test_mark(self, text: str) -> bool:
        return re.search(r"\btest\b", text) is not None

    def imports_of(self, parsed: Parsed, node: Node) -> list[Import]:
        text = " ".join(parsed.text(node).split())
        return [Import(text, tuple(_BOUND.findall(text)))] if node.type == "use_declaration" else []


RUST = Rust("rust", (".rs",), ("tree_sitter_rust", "language"))
