"""A language that is read by a tree-sitter grammar: `Language`, answered by its tables and the engine here. Pure."""

# ruff: noqa: ARG002
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from forklock.tools.contract import Symbol
from forklock.tools.languages import by_eye
from forklock.tools.languages.definitions import Definition, Index, Shape, Site, SyntaxProblem, Target
from forklock.tools.languages.language import Calls, Language
from forklock.tools.languages.text import lf, line_at
from forklock.tools.languages.tree import sites as found_sites
from forklock.tools.languages.tree.calls import TreeCalls
from forklock.tools.languages.tree.editor import TreeEditor
from forklock.tools.languages.tree.naming import TreeNaming
from forklock.tools.languages.tree.outline import found, head_of, outline
from forklock.tools.languages.tree.parsing import Flaw, Grammar, first_flaw
from forklock.tools.languages.tree.statements import shape, words
from forklock.tools.languages.tree.tables import Tables, TreeDefinition

if TYPE_CHECKING:
    from tree_sitter import Node

_QUIET = re.compile(r"comment|string|char_literal|raw_string|template_string|interpreted_string|regex")
_WORD = re.compile(r"[A-Za-z_$][\w$]*")


class TreeLanguage(Tables, Language):
    """The base of the languages with a grammar."""

    comment = "//"
    reads = True
    tested_comments: ClassVar[tuple[str, ...]] = ()
    """What begins a comment whose examples are tested."""

    def __init__(self, name: str, suffixes: Sequence[str], *grammars: Grammar) -> None:
        super().__init__(name, suffixes)
        self.grammars = grammars
        self.naming = TreeNaming(self, self.tested_comments)

    def flaw(self, text: str) -> Flaw | None:
        return first_flaw(self.tree(text))

    def check(self, text: str, target: Target | None = None) -> SyntaxProblem | None:
        flaw = self.flaw(text)
        return SyntaxProblem(flaw.line, flaw.column, flaw.message, line_at(text, flaw.line)) if flaw else None

    def definitions(self, text: str) -> tuple[TreeDefinition, ...]:
        return outline(self, text)

    def signature(self, text: str, symbol: Symbol) -> str:
        one = found(self, lf(text), symbol)
        return head_of(self, one) if one is not None else super().signature(lf(text), symbol)

    def doc(self, text: str, symbol: Symbol) -> str:
        one = found(self, lf(text), symbol)
        if one is None:
            return super().doc(lf(text), symbol)
        comments = [one.parsed.text(node) for node in one.above if "comment" in node.type]
        return by_eye.unmarked("\n".join(comments).split("\n"))

    def shape(self, code: str) -> Shape | None:
        return shape(self, code)

    def sites(self, text: str) -> Iterator[Site]:
        return found_sites.sites(self, self.tree(text))

    def program_words(self, text: str) -> str:
        return words(self.tree(text)) if self.flaw(text) is None else text

    def code(self, text: str) -> str:
        parsed = self.tree(text)
        return _code(parsed.root, parsed.data)

    def words(self, code: str) -> Counter[str]:
        return Counter(_WORD.findall(code))

    def heads(self, text: str, code: str) -> tuple[Definition, ...]:
        found = (one for one in self.definitions(text) if one.kind != "variable")
        return tuple(replace(one, name_path=one.plain) if one.number > 1 else one for one in found)

    def head_line(self, text: str, head: Definition) -> str:
        return head_of(self, head) if isinstance(head, TreeDefinition) else ""

    def calls(self, index: Index) -> Calls:
        return TreeCalls(index, self, self.group)

    def editor(self, path: str, text: str, target: Target | None) -> TreeEditor:
        return TreeEditor(self, path, text)


def _code(root: Node, data: bytes) -> str:
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
