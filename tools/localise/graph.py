"""Definitions of an index's files, and what they lead to, each file by its language.

Comes in: an index. Goes out: definitions by name path, and calls with how sure they are. Made where they are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from forklock.tools.index.files import CodeIndex
from forklock.tools.languages.definitions import Call, Definition
from forklock.tools.languages.language import Calls


class Scope:
    """One file's definitions."""

    def __init__(self, all_of_them: tuple[Definition, ...]) -> None:
        self.all = all_of_them
        self.by_path = {one.name_path: one for one in all_of_them}
        self.tests = frozenset(one.name_path for one in all_of_them if one.test)
        """Definitions in a file of code that are compiled for tests alone."""
        self.declared = frozenset(one.name_path for one in all_of_them if one.declared)
        """Functions that are only declared here."""


@dataclass
class Graph:
    """Look-ups over one index."""

    index: CodeIndex
    _scopes: dict[str, Scope] = field(default_factory=dict)
    _languages: dict[int, Calls] = field(default_factory=dict)

    def scope(self, path: str) -> Scope:
        if path not in self._scopes:
            file = self.index.files[path]
            self._scopes[path] = Scope(file.language.definitions(file.text))
        return self._scopes[path]

    def language(self, path: str) -> Calls:
        """Return what answers for the language of a file."""
        language = self.index.files[path].language
        if id(language) not in self._languages:
            self._languages[id(language)] = language.calls(self.index)
        return self._languages[id(language)]

    def calls(self, path: str, definition: Definition) -> list[Call]:
        """Return what a definition leads to, in source order."""
        return self.language(path).calls(path, definition)

    def is_test(self, path: str, name_path: str = "") -> bool:
        """Whether a file, or a definition in it, is there for tests alone."""
        return self.index.files[path].is_test or name_path in self.scope(path).tests
