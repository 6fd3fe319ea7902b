"""Where a name is written in a text with a grammar: code, a string or comment that names it, or prose. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from forklock.tools.languages.by_eye.naming import DIRECTIVE, Mention, Naming, Word, hinted, names
from forklock.tools.languages.text import split_lines
from forklock.tools.languages.tree.tables import Tables

if TYPE_CHECKING:
    from tree_sitter import Node

_QUIET = re.compile(r"comment|string|char_literal|regex|jsx_text")


class TreeNaming(Naming):
    def __init__(self, tables: Tables, examples: tuple[str, ...] = ()) -> None:
        """`examples`: what begins a comment whose code is tested."""
        self._tables = tables
        self._examples = examples

    def mentions(self, path: str, text: str, name: str, words: Sequence[Word]) -> Iterator[Mention]:  # noqa: ARG002
        parsed = self._tables.tree(text)
        starts, total = [0], 0
        for line in split_lines(text):
            total += len(line.encode("utf-8", "surrogatepass"))
            starts.append(total)
        for number, column, line in words:
            at = starts[number - 1] + len(line[:column].encode("utf-8", "surrogatepass"))
            quiet = _quiet(parsed.root.descendant_for_byte_range(at, at + 1))
            if quiet is None:
                yield Mention("code")
                continue
            why = self._why(quiet.type, parsed.text(quiet), line, column, name)
            yield Mention("named" if why else "prose", why)

    def _why(self, kind: str, whole: str, line: str, column: int, name: str) -> str:
        if "comment" in kind:
            example = whole.startswith(self._examples) and hinted(line, column, name)
            return "a directive" if DIRECTIVE.match(whole) else "a documentation test" if example else ""
        if kind == "jsx_text":
            return ""
        inner = whole.strip("\"'`")
        return "a string" if names(inner, name) or hinted(line, column, name) else ""


def _quiet(node: Node | None) -> Node | None:
    """The string or comment that holds a place; None for code, also in a template string."""
    outermost = None
    while node is not None:
        if node.type in ("template_substitution", "jsx_expression"):
            return outermost
        if node.is_named and _QUIET.search(node.type):
            outermost = node
        node = node.parent
    return outermost
