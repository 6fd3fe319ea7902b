"""Ruby, by its grammar. Blocks have no braces: `def … end`. Pure.

Not covered: methods that `define_method` or `attr_accessor` make, tests that are written as `describe` and `it`.
"""

# ruff: noqa: ARG002
from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from forklock.tools.languages.definitions import Parsed
from forklock.tools.languages.tree.language import TreeLanguage
from forklock.tools.languages.tree.tables import Import, NodeKind, TreeDefinition

if TYPE_CHECKING:
    from tree_sitter import Node

_METHODS = frozenset({"method", "singleton_method"})
_REQUIRES = {"require", "require_relative"}
_WORDS = """
__FILE__ __LINE__ alias and begin BEGIN break case class def defined do else elsif end END ensure false for if in
module next nil not or raise redo rescue retry return self super then true undef unless until when while yield
attr_accessor attr_reader attr_writer include extend private protected public puts require require_relative
"""


class Ruby(TreeLanguage):
    comment = "#"
    opener = ""
    closer = "end"
    group = "ruby"
    unwritten = "raise NotImplementedError"
    passed = re.compile(r"#[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'")
    reserved = frozenset(_WORDS.split())
    example = "def name(argument)\n  argument\nend"
    kinds: ClassVar = {
        "class": "class", "module": "class", "method": "function", "singleton_method": "function",
        "assignment": "variable",
    }  # fmt: skip
    entered = frozenset({"program", "body_statement", "singleton_class", "call", "argument_list", "ERROR"})
    wrappers = frozenset({"call", "argument_list"})
    above = frozenset({"comment"})
    functions = _METHODS
    lists = frozenset({"body_statement", "then", "else", "do", "ensure", "rescue", "begin", "block_body"})
    names = frozenset({"identifier", "constant"})
    around: ClassVar = {
        "class": ("class C", "end"), "module": ("module C", "end"), "singleton_class": ("class << self", "end"),
    }  # fmt: skip
    import_nodes = frozenset({"call"})
    heading = frozenset({"comment"})
    strings = re.compile(r"heredoc_body|^string$|string_array")
    tail = re.compile(r"\s*;?\s*(?:#.*)?")
    doc_marks = ("#",)
    itself = frozenset({"self"})
    calls_bare = True
    made = re.compile(r"(@?\w+)\s*\|?\|?=\s*([A-Z]\w*)\.new\b")
    set_ups = frozenset({"setup"})

    def named(self, parsed: Parsed, node: Node) -> tuple[NodeKind, str, Node]:
        """Constants are definitions, other variables are not."""
        left = node.child_by_field_name("left") if node.type == "assignment" else None
        if node.type == "assignment" and (left is None or left.type != "constant"):
            return "variable", "", node
        return super().named(parsed, node)

    def name_node(self, node: Node) -> Node | None:
        return node.child_by_field_name("left" if node.type == "assignment" else "name")

    def plain_name(self, parsed: Parsed, node: Node) -> str:
        """Return the name; operators such as `+` and `[]=` are names, too."""
        named = self.name_node(node)
        operator = named is not None and named.type == "operator"
        return parsed.text(named) if named is not None and operator else super().plain_name(parsed, node)

    def head_end(self, one: TreeDefinition, node: Node) -> int:
        named: Node = one.node
        fields = (named.child_by_field_name(name) for name in ("parameters", "superclass", "name"))
        return next((field.end_byte for field in fields if field is not None), node.end_byte)

    def header_row(self, function: Node, body: Node) -> int:
        last = function.child_by_field_name("parameters") or function.child_by_field_name("name") or function
        return last.end_point[0]

    def imports_of(self, parsed: Parsed, node: Node) -> list[Import]:
        method = node.child_by_field_name("method") if node.type == "call" else None
        bare = method is not None and node.child_by_field_name("receiver") is None
        is_one = bare and method is not None and parsed.text(method) in _REQUIRES
        return [Import(" ".join(parsed.text(node).split()))] if is_one else []

    def described(self, name_path: str, path: str, source: str) -> str:
        return f"{source.strip().partition(chr(10))[0]}  # {name_path} in {path}" if name_path else ""


RUBY = Ruby("ruby", (".rb", ".rake"), ("tree_sitter_ruby", "language"))
