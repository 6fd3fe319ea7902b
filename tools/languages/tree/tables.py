"""Tables of a grammar's nodes, and what it does in a way of its own: what a language's file gives to the engine here.

Names of nodes are those of the grammar's `node-types.json`; a table may name nodes that a variant of the grammar lacks.
Pure.
"""

# ruff: noqa: ARG002 (what a language overrides)
from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal

from forklock.tools.languages.definitions import Definition, Parsed
from forklock.tools.languages.tree.parsing import Grammar, parsed_by

if TYPE_CHECKING:
    from tree_sitter import Node

NodeKind = Literal["class", "function", "variable"]
_PARAMETERS = re.compile(r"<[^<>]*>")
_NAME = re.compile(r"(?:[\w$~#]+\.)*(?:[\w$~#]+[?!=]?|operator *[^\w\s]+)")


@dataclass(frozen=True, slots=True)
class Import:
    """One import: as a statement, and the names that it binds ("" for those that bind none that can be told)."""

    text: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeDefinition(Definition):
    """A definition with the nodes around it. `node` is what is named: `function f() {}`, or the `f = () => {}` of a
    declaration."""

    parsed: Parsed = field(compare=False, repr=False)
    whole: Node
    """With what is around it: `export`, `template <…>`, `const …;`."""
    above: tuple[Node, ...]
    """Comments, attributes and decorators right above."""
    body: Node | None


class Tables:
    """The tables of one language."""

    # --- tables of nodes ---------------------------------------------------------------------------

    kinds: ClassVar[Mapping[str, NodeKind]] = {}
    """Nodes that define the name in their field `name`."""
    bodiless: ClassVar[frozenset[str]] = frozenset()
    """Members of `kinds` that define only with a body."""
    entered: ClassVar[frozenset[str]] = frozenset()
    """Nodes whose children are looked at for definitions; bodies of functions are not."""
    spaces: ClassVar[frozenset[str]] = frozenset()
    """Members of `entered` that lend a name to what is in them, and define nothing."""
    wrappers: ClassVar[frozenset[str]] = frozenset()
    """Nodes that belong to the one definition in them."""
    shown_inside: ClassVar[frozenset[str]] = frozenset()
    """Members of `wrappers` that a signature leaves out."""
    above: ClassVar[frozenset[str]] = frozenset({"comment", "line_comment", "block_comment"})
    """Nodes right above a definition that belong to it."""
    functions: ClassVar[frozenset[str]] = frozenset()
    """Nodes with a body of statements."""
    lists: ClassVar[frozenset[str]] = frozenset()
    """Nodes whose children are statements."""
    names: ClassVar[frozenset[str]] = frozenset({"identifier"})
    """Leaves that are names."""
    around: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """What a definition may stand in, and lines that make such a thing of it."""
    import_nodes: ClassVar[frozenset[str]] = frozenset()
    """Statements that import."""
    heading: ClassVar[frozenset[str]] = frozenset({"comment", "line_comment", "block_comment"})
    """Nodes that stay above a file's first import."""
    ended: ClassVar[frozenset[str]] = frozenset()
    """Nodes that need no semicolon behind them, also where the original had one."""
    specs: ClassVar[frozenset[str]] = frozenset()
    """Definitions that stand in a group with others."""
    roles: ClassVar[frozenset[str]] = frozenset()
    """Words that tell definitions of one name apart."""
    decorators: ClassVar[frozenset[str]] = frozenset()
    """Children of a definition that belong to it and may be left out of new source."""
    kept_wrappers: ClassVar[frozenset[str]] = frozenset()
    """Members of `wrappers` that new source may leave out."""
    visibility: ClassVar[frozenset[str]] = frozenset()
    """Children that say who sees a definition, which new source may leave out."""
    strings: ClassVar[re.Pattern[str]] = re.compile(r"^string$|string_literal")
    """Strings whose lines may not be moved."""
    tail: ClassVar[re.Pattern[str]] = re.compile(r"\s*[;,]?\s*(?://.*|/\*.*\*/\s*)?")
    """What may follow a definition on its last line."""
    doc_marks: ClassVar[tuple[str, ...]] = ("/**", "///", "/*!", "//!")
    itself: ClassVar[frozenset[str]] = frozenset({"this", "self", "super"})
    """Receivers that mean the own class."""
    calls_bare: ClassVar[bool] = False
    """Whether a name alone may be a call, without parentheses."""
    made: ClassVar[re.Pattern[str] | None] = None
    """Where a variable and its type are written, in two groups; None for the usual forms."""
    set_ups: ClassVar[frozenset[str]] = frozenset()
    """Methods of a test's class that run before each of its tests."""

    grammars: tuple[Grammar, ...] = ()

    def tree(self, text: str) -> Parsed:
        """Return the tree of a text (LF line ends)."""
        return tree_of(self, text)

    # --- what a grammar does in a way of its own ---------------------------------------------------

    def named(self, parsed: Parsed, node: Node) -> tuple[NodeKind, str, Node]:
        """Return kind, name ("" for none) and the node that is named."""
        kind = self.kinds.get(node.type)
        if kind is None or (node.type in self.bodiless and node.child_by_field_name("body") is None):
            return "variable", "", node
        return kind, self.plain_name(parsed, node), node

    def name_node(self, node: Node) -> Node | None:
        return node.child_by_field_name("name")

    def plain_name(self, parsed: Parsed, node: Node) -> str:
        """Return a node's name, dotted and relative to what is around it."""
        named = self.name_node(node)
        text = parsed.text(named) if named is not None else ""
        plain = _PARAMETERS.sub("", text).replace("::", ".").strip("\"'`").lstrip(".")
        return plain if _NAME.fullmatch(plain) else ""

    def body_of(self, node: Node) -> Node | None:
        return node.child_by_field_name("body")

    def members(self, one: TreeDefinition) -> Node | None:
        """Return the node whose children are a definition's members."""
        body = one.body if one.kind == "class" else None
        return body if body is not None and body.type in self.entered else None

    def lent(self, parsed: Parsed, node: Node) -> tuple[str, bool]:
        """Return the name that an entered node lends to what is in it, and whether that is a class's."""
        return (self.plain_name(parsed, node), False) if node.type in self.spaces else ("", False)

    def held(self, parsed: Parsed, node: Node) -> Node | None:
        """Return a node in a statement that is entered as if it stood there."""
        return None

    def wraps(self, node: Node) -> bool:
        """Whether one of `wrappers` belongs to the definition in it, and not to several."""
        return True

    def head_end(self, one: TreeDefinition, node: Node) -> int:
        """Return the byte at which a signature in `node` ends."""
        return one.body.start_byte if one.body is not None else node.end_byte

    def header_row(self, function: Node, body: Node) -> int:
        """Return the row on which a function's header ends; a statement there shares its line."""
        return body.start_point[0]

    def is_test_mark(self, text: str) -> bool:
        """Whether an attribute above a definition keeps it for tests."""
        return False

    def cut_head(self, node: Node, text: str) -> str:
        """Return a signature's text without what is no part of it."""
        return text

    def imports_of(self, parsed: Parsed, node: Node) -> list[Import]:
        """Return what a statement imports: statements, and the names that each binds; [] for other statements."""
        return [Import(" ".join(parsed.text(node).split()))] if node.type in self.import_nodes else []

    def as_member(self, old: Node, new: Node, line: str) -> str:
        """Return the first line of new source, fitted to where the original stands."""
        return line

    def receiver(self, line: str) -> str:
        """Return the name that the first line of a method gives to its own object."""
        return ""


@lru_cache(maxsize=128)
def tree_of(tables: Tables, text: str) -> Parsed:
    """Return the tree of a text (LF line ends)."""
    return parsed_by(tables.grammars, text)
