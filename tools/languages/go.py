"""Go, by its grammar. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from forklock.tools.languages.definitions import Parsed
from forklock.tools.languages.tree.language import TreeLanguage
from forklock.tools.languages.tree.tables import Import

if TYPE_CHECKING:
    from tree_sitter import Node

_WORD = re.compile(r"[A-Za-z_]\w*")
_LAST_PART = re.compile(r"([\w-]+?)(?:/v\d+)?\"$")
_RECEIVER = re.compile(r"^func \((\w+) ")
_GROUPS = {"type_declaration", "const_declaration", "var_declaration"}


class Go(TreeLanguage):
    group = "go"
    unwritten = 'panic("not implemented")'
    called_for: ClassVar = {
        "test runners": r"(?:Test|Benchmark|Example|Fuzz)(?![a-z])", "Go's own rules": r"(?:main|init)$",
    }  # fmt: skip
    kinds: ClassVar = {
        "function_declaration": "function", "method_declaration": "function", "type_spec": "class",
        "type_alias": "class", "const_spec": "variable", "var_spec": "variable",
    }  # fmt: skip
    entered = frozenset({
        "source_file", "field_declaration_list", "type_declaration", "const_declaration", "var_declaration",
        "var_spec_list", "ERROR",
    })  # fmt: skip
    wrappers = frozenset(_GROUPS)
    shown_inside = frozenset({"type_declaration"})
    above = frozenset({"comment"})
    functions = frozenset({"function_declaration", "method_declaration", "func_literal"})
    lists = frozenset({
        "block", "statement_list", "expression_case", "default_case", "communication_case", "type_case",
    })  # fmt: skip
    names = frozenset({"identifier", "field_identifier", "type_identifier", "package_identifier"})
    around: ClassVar = {
        "type_declaration": ("type (", ")"), "const_declaration": ("const (", ")"),
        "var_declaration": ("var (", ")"), "var_spec_list": ("var (", ")"),
    }  # fmt: skip
    import_nodes = frozenset({"import_declaration"})
    heading = frozenset({"comment", "package_clause"})
    specs = frozenset({"type_spec", "type_alias", "const_spec", "var_spec"})
    strings = re.compile(r"raw_string_literal|string_literal")
    itself = frozenset()
    tests_by_folder = True

    def plain_name(self, parsed: Parsed, node: Node) -> str:
        text = super().plain_name(parsed, node)
        receiver = node.child_by_field_name("receiver") if node.type == "method_declaration" else None
        words = _WORD.findall(parsed.text(receiver).partition("[")[0]) if receiver else []
        return f"{words[-1]}.{text}" if words and text else text

    def body_of(self, node: Node) -> Node | None:
        of = node.child_by_field_name("type") if node.type == "type_spec" else None
        if of is None:
            return super().body_of(node)
        lists = [one for one in of.named_children if one.type == "field_declaration_list"]
        return of.child_by_field_name("body") or next(iter(lists), None)

    def wraps(self, node: Node) -> bool:
        one = sum(child.type not in self.above for child in node.named_children) <= 1
        return one and not any(child.type == "(" for child in node.children)

    def cut_head(self, node: Node, text: str) -> str:
        return text.partition("{")[0] if node.type == "type_spec" else text

    def imports_of(self, parsed: Parsed, node: Node) -> list[Import]:
        return [_import(parsed, one) for one in _specs(node)] if node.type == "import_declaration" else []

    def receiver(self, line: str) -> str:
        found = _RECEIVER.match(line)
        return found[1] if found else ""


def _specs(node: Node) -> Iterator[Node]:
    for child in node.named_children:
        if child.type == "import_spec":
            yield child
        else:
            yield from _specs(child)


def _import(parsed: Parsed, spec: Node) -> Import:
    text = parsed.text(spec)
    name = spec.child_by_field_name("name")
    last = _LAST_PART.search(text)
    return Import(f"import {text}", (parsed.text(name) if name else last[1] if last else "",))


GO = Go("go", (".go",), ("tree_sitter_go", "language"))
