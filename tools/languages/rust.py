"""Rust, by its grammar. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from forklock.tools.languages.definitions import Judging, Parsed
from forklock.tools.languages.tree.language import TreeLanguage
from forklock.tools.languages.tree.tables import Import

if TYPE_CHECKING:
    from tree_sitter import Node

_WORD = re.compile(r"[A-Za-z_]\w*")
_DOC = re.compile(r"^[ \t]*(///|//!)[ \t]?(.*)$")
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

    def judging_parts(self, text: str, judging: Judging) -> tuple[str, ...]:  # noqa: ARG002
        """What `#[cfg(test)]` and `#[test]` mark, and the code in documentation."""
        lines = text.split("\n")
        tests = (
            "\n".join(lines[one.start_line - 1 : one.end_line]) for one in self.definitions(text) if one.test
        )
        return (*tests, *_examples(text))

    def cut_head(self, node: Node, text: str) -> str:
        return text.partition("{")[0] if node.type in {"struct_item", "enum_item"} else text

    def is_test_mark(self, text: str) -> bool:
        return re.search(r"\btest\b", text) is not None

    def imports_of(self, parsed: Parsed, node: Node) -> list[Import]:
        text = " ".join(parsed.text(node).split())
        return [Import(text, tuple(_BOUND.findall(text)))] if node.type == "use_declaration" else []


def _examples(text: str) -> tuple[str, ...]:
    """Code in documentation, which `cargo test` runs."""
    found, block, inside = [], [], False
    for line in text.split("\n"):
        match = _DOC.match(line)
        if match is None:
            inside = False
            continue
        if match[2].lstrip().startswith("```"):
            inside = not inside
            block.append(match[2])
        elif inside:
            block.append(match[2])
    found += ["\n".join(block)] if block else []
    return tuple(found)


RUST = Rust("rust", (".rs",), ("tree_sitter_rust", "language"))
