"""Finds where a name is written as a whole word, and in what kind of text.

In: a path, a text, a name. Out: `Occurrence`s in source order: code, a string or a comment that can name something to
a program (`getattr`, `__all__`, a dotted path, a doctest), or prose. The file's language tells them apart
(`Naming.mentions`). Pure. Not covered: names that are put together while a program runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from forklock.tools.languages.by_eye.naming import Kind
from forklock.tools.languages.known import language_of
from forklock.tools.lsp.asking.answers import lines_of


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One whole word in a text."""

    path: str
    line: int
    column: int
    """From 0, code points."""
    kind: Kind
    snippet: str
    why: str = ""
    """For `named`: in what it is named."""

    @property
    def place(self) -> tuple[str, int, int]:
        """(path, line, column)."""
        return self.path, self.line, self.column


def word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w$]){re.escape(name)}(?![\w$])")


def occurrences(path: str, text: str, name: str) -> list[Occurrence]:
    """Every whole word `name` of a text."""
    if name not in text:
        return []
    pattern, found = word(name), list[tuple[int, int, str]]()
    for number, line in enumerate(lines_of(text), 1):
        if name in line:
            found += [(number, match.start(), line) for match in pattern.finditer(line)]
    mentions = language_of(path).naming.mentions(path, text, name, found) if found else ()
    return [
        Occurrence(path, number, column, mention.kind, line.strip(), mention.why)
        for (number, column, line), mention in zip(found, mentions, strict=True)
    ]
