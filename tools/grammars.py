"""Definitions of other languages than Python, for the repo map: TypeScript, JavaScript, C, C++, Go and Rust.

In: a path and a text. Out: heads (name path, kind, line, depth) with their signatures, and the words of the code
without strings and comments. Trees are tree-sitter's, which read broken files too; a table says which nodes define a
name. Not covered: macros, names that are computed, definitions inside functions.
"""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tools.codeindex import MAX_FILES, CodeIndex, Head, SourceFile, all_files, index_of, python_files

if TYPE_CHECKING:
    from tree_sitter import Language, Node

_GRAMMARS = {
    ".ts": ("tree_sitter_typescript", "language_typescript"), ".mts": ("tree_sitter_typescript", "language_typescript"),
    ".cts": ("tree_sitter_typescript", "language_typescript"), ".tsx": ("tree_sitter_typescript", "language_tsx"),
    ".js": ("tree_sitter_javascript", "language"), ".jsx": ("tree_sitter_javascript", "language"),
    ".mjs": ("tree_sitter_javascript", "language"), ".cjs": ("tree_sitter_javascript", "language"),
    ".c": ("tree_sitter_c", "language"), ".h": ("tree_sitter_cpp", "language"),
    ".cc": ("tree_sitter_cpp", "language"), ".cpp": ("tree_sitter_cpp", "language"),
    ".cxx": ("tree_sitter_cpp", "language"), ".hh": ("tree_sitter_cpp", "language"),
    ".hpp": ("tree_sitter_cpp", "language"), ".go": ("tree_sitter_go", "language"),
    ".rs": ("tree_sitter_rust", "language"),
}  # fmt: skip
SUFFIXES = frozenset(_GRAMMARS)

_KINDS = {
    # TypeScript and JavaScript
    "class_declaration": "class", "abstract_class_declaration": "class", "interface_declaration": "class",
    "enum_declaration": "class", "type_alias_declaration": "class", "function_declaration": "function",
    "generator_function_declaration": "function", "function_signature": "function", "method_definition": "function",
    "abstract_method_signature": "function", "method_signature": "function", "variable_declarator": "function",
    # C and C++
    "class_specifier": "class", "struct_specifier": "class", "union_specifier": "class", "enum_specifier": "class",
    "function_definition": "function", "field_declaration": "function", "declaration": "function",
    # Go
    "method_declaration": "function", "type_spec": "class",
    # Rust
    "function_item": "function", "function_signature_item": "function", "struct_item": "class", "enum_item": "class",
    "trait_item": "class", "union_item": "class",
}  # fmt: skip
_ENTERED = {
    "program", "translation_unit", "source_file", "export_statement", "declaration_list", "field_declaration_list",
    "class_body", "interface_body", "lexical_declaration", "variable_declaration", "namespace_definition",
    "linkage_specification", "template_declaration", "type_declaration", "impl_item", "mod_item", "trait_item",
    "class_declaration", "abstract_class_declaration", "interface_declaration", "class_specifier", "struct_specifier",
    "internal_module", "statement_block", "expression_statement", "preproc_if", "preproc_ifdef", "preproc_else",
    "ERROR",
}  # fmt: skip
"""Nodes whose children are looked at; bodies of functions are not."""
_FUNCTIONS = {"arrow_function", "function_expression", "function", "generator_function"}
_DEEPEST = 40
"""Levels of nodes; code is not that deep, and what is means to overflow us."""
_STATEMENTS = {"program", "export_statement", "internal_module"}
_QUIET = re.compile(r"comment|string|char_literal|raw_string|template_string|interpreted_string|regex")
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
_PARAMETERS = re.compile(r"<[^<>]*>")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class OtherFile(SourceFile):
    """A file of one of these languages."""

    @cached_property
    def _read(self) -> tuple[tuple[Head, ...], dict[tuple[str, int], str], Counter[str]]:
        data = self.text.encode("utf-8", "replace")
        root = _parse(PurePosixPath(self.path).suffix, data)
        found = sorted(_definitions(root, data), key=lambda one: one[0].line)
        signatures = {(head.name_path, head.line): signature for head, signature in found}
        return tuple(head for head, _ in found), signatures, Counter(_WORD.findall(_code(root, data)))

    @property
    def heads(self) -> tuple[Head, ...]:
        return self._read[0]

    @property
    def words(self) -> Counter[str]:
        return self._read[2]

    def signature(self, head: Head) -> str:
        return self._read[1][head.name_path, head.line]

    @property
    def is_test(self) -> bool:
        pure = PurePosixPath(self.path)
        marks = {"test", "tests", "testing", "__tests__", "spec"}
        return bool(marks & {*pure.parts[:-1], *re.split(r"[._-]", pure.stem)})


def load_all(root: Path) -> CodeIndex:
    """The repo's files of all languages that we read, Python included."""
    kinds: dict[str, Callable[[str, str], SourceFile]] = {path: SourceFile for path in python_files(root)}
    others = [path for path in all_files(root) if PurePosixPath(path).suffix in SUFFIXES]
    return index_of(root, kinds | dict.fromkeys(others[:MAX_FILES], OtherFile))


@lru_cache(maxsize=16)
def _language(module: str, function: str) -> Language:
    from tree_sitter import Language

    return Language(getattr(importlib.import_module(module), function)())


def _parse(suffix: str, data: bytes) -> Node:
    from tree_sitter import Parser

    return Parser(_language(*_GRAMMARS[suffix])).parse(data).root_node


def _definitions(node: Node, data: bytes, scope: str = "", level: int = 0) -> Iterator[tuple[Head, str]]:
    """Below `node`, without the bodies of functions. `scope`: "" or the name path around, with its dot."""
    for child in node.named_children if level < _DEEPEST else ():
        kind = _KINDS.get(child.type)
        named = _name(child, data) if kind and _defines(child) else None
        inner = scope
        if kind and named:
            path = scope + named
            outer = path.rpartition(".")[0]
            told = "method" if kind == "function" and outer else kind
            yield Head(path, told, child.start_point[0] + 1, path.count(".")), _signature(child, data)
            inner = f"{path}."
        elif child.type == "impl_item" and (of := child.child_by_field_name("type")):
            inner = f"{_text(of, data).partition('<')[0]}."
        if child.type in _ENTERED:
            yield from _definitions(child, data, inner, level + 1)


def _defines(node: Node) -> bool:
    """Whether a node of a kind that may define a name does so here."""
    if node.type == "variable_declarator":
        value = node.child_by_field_name("value")
        outer = node.parent.parent if node.parent else None
        return (
            value is not None and value.type in _FUNCTIONS and outer is not None and outer.type in _STATEMENTS
        )
    if node.type in {"class_specifier", "struct_specifier", "union_specifier", "enum_specifier"}:
        return node.child_by_field_name("body") is not None
    if node.type in {"field_declaration", "declaration"}:
        return _declarator(node) is not None
    return True


def _declarator(node: Node) -> Node | None:
    """What C declares as a function: `*f(int)`, `Shape::area() const`."""
    inner = node.child_by_field_name("declarator")
    while inner is not None and inner.type != "function_declarator":
        inner = inner.child_by_field_name("declarator") or (
            inner.named_children[0] if inner.type == "reference_declarator" and inner.named_children else None
        )
    return inner


def _name(node: Node, data: bytes) -> str | None:
    if node.type in {"function_definition", "field_declaration", "declaration"}:
        declarator = _declarator(node)
        inner = declarator.child_by_field_name("declarator") if declarator else None
        return _PARAMETERS.sub("", _text(inner, data)).replace("::", ".").replace(" ", "") if inner else None
    named = node.child_by_field_name("name")
    if named is None:
        return None
    receiver = node.child_by_field_name("receiver")
    if receiver is None:
        return _text(named, data)
    words = _WORD.findall(_text(receiver, data).partition("[")[0])
    return f"{words[-1]}.{_text(named, data)}" if words else _text(named, data)


def _signature(node: Node, data: bytes) -> str:
    """Up to the body, on one line."""
    whole = node.parent if node.type == "variable_declarator" and node.parent else node
    value = node.child_by_field_name("value") if node.type == "variable_declarator" else None
    body = (value or node).child_by_field_name("body")
    if body is None and node.type == "type_spec":
        kind = node.child_by_field_name("type")
        body = (
            kind.named_children[0] if kind and kind.named_children and kind.type.endswith("_type") else None
        )
        body = body if body and body.type in {"field_declaration_list", "method_elem"} else None
    text = data[whole.start_byte : body.start_byte if body else whole.end_byte].decode("utf-8", "replace")
    line = _SPACE.sub(
        " ", text.partition("{")[0] if node.type in {"struct_item", "enum_item"} else text
    ).strip()
    return line.removesuffix("=>").removesuffix("=").rstrip(" {;")


def _text(node: Node, data: bytes) -> str:
    return data[node.start_byte : node.end_byte].decode("utf-8", "replace")


def _code(root: Node, data: bytes) -> str:
    """The text without strings and comments."""
    kept, at = [], 0
    cursor = root.walk()
    while True:
        node = cursor.node
        assert node is not None
        quiet = _QUIET.search(node.type) is not None and node.is_named
        if quiet:
            kept.append(data[at : node.start_byte])
            at = node.end_byte
        if not quiet and cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return b" ".join([*kept, data[at:]]).decode("utf-8", "replace")
