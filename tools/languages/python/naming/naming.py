"""What Python says about a change of names: scopes by `symtable`, strings by tokens, classes by their text. Pure."""

# ruff: noqa: ARG002
from __future__ import annotations

import ast
import keyword
import symtable
from collections.abc import Iterable, Iterator, Mapping, Sequence

from forklock.sandbox.files.reading import parse_python
from forklock.tools.contract import Symbol
from forklock.tools.languages.by_eye.naming import Mention, Naming, Word, no_name
from forklock.tools.languages.python.naming import mentions, scopes
from forklock.tools.languages.python.naming.classes import PythonClasses, reachable, relation
from forklock.tools.languages.text import split_lines


class PythonNaming(Naming):
    edits_uses = True
    knows_scopes = True

    def mentions(self, path: str, text: str, name: str, words: Sequence[Word]) -> Iterator[Mention]:
        return mentions.mentions(text, name, words)

    def problem(self, new: str) -> str:
        if not new.isidentifier():
            return no_name(new)
        return f"{new} is a keyword of Python" if keyword.iskeyword(new) else ""

    def changed_meaning(self, before: str, after: str, old: str, new: str) -> tuple[int, str] | None:
        return scopes.changed_meaning(before, after, old, new)

    def half_renamed(self, before: str, after: str, old: str, new: str) -> int | None:
        return scopes.half_renamed(before, after, old, new)

    def exports(self, text: str, name: str) -> Iterator[tuple[int, int]]:
        """In strings of `__all__`."""
        if "__all__" not in text:
            return
        try:
            tree = parse_python(text)
        except SyntaxError:
            return
        lines = split_lines(text)
        for statement in tree.body:
            if not _is_all(statement):
                continue
            for node in ast.walk(statement):
                if isinstance(node, ast.Constant) and node.value == name:
                    column = lines[node.lineno - 1].find(name, node.col_offset)
                    if 0 <= column <= node.col_offset + 3:
                        yield node.lineno, column

    def moves_export(self, before: str, after: str, old: str, new: str) -> bool:
        try:
            was, now = (
                symtable.symtable(text, "<text>", "exec").get_identifiers() for text in (before, after)
            )
        except (SyntaxError, ValueError, RecursionError):
            return False
        return old in was and new in now and old not in now

    def is_local(self, symbol: Symbol, kinds: Mapping[str, str]) -> bool:
        return not reachable(symbol, kinds)

    def relation(self, symbol: Symbol, other: Symbol, family: Iterable[str]) -> str:
        return relation(symbol, other, family)

    def classes(self, texts: Iterable[tuple[str, str]]) -> PythonClasses:
        return PythonClasses(texts)

    def found_by_parameter(self, line: str) -> bool:
        """A decorated function, as pytest's fixtures are."""
        return line.lstrip().startswith("@")


def _is_all(statement: ast.stmt) -> bool:
    targets: Sequence[ast.expr] = ()
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AugAssign | ast.AnnAssign):
        targets = [statement.target]
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets)
