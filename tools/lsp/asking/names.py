"""Finds a definition by its name path, in any language that a server reads.

In: name paths, perhaps a file. Out: a symbol and its file's text, or an answer that says why there is not exactly
one. Candidate files must contain the name; then `outlines` reads them. Not covered: names that are not written where
they are defined.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from forklock.tools.contract import Freshness, LookupAnswer, Symbol
from forklock.tools.languages.known import language_of
from forklock.tools.lsp.asking import answers
from forklock.tools.lsp.asking.asker import Asker

OUTLINED = 60
"""Files that a name alone may cost an outline by a server."""


class Names:
    """Name paths of one workspace."""

    def __init__(self, asker: Asker, max_chars: int) -> None:
        self._asker = asker
        self._max_chars = max_chars

    def place(self, symbol: Symbol, text: str) -> tuple[int, int]:
        """(line, column) of the symbol's own name."""
        return self._asker.outlines.name_place(self._asker.root / symbol.path, text, symbol)

    def one(self, name_path: str, path: str | None) -> tuple[Symbol, str] | LookupAnswer:
        """The one definition of that name, and the text of its file; or an answer that says what is wrong."""
        with self._asker.lock:
            return self._in(name_path, path) if path is not None else self._anywhere(name_path)

    def _in(self, name_path: str, path: str) -> tuple[Symbol, str] | LookupAnswer:
        file = self._asker.file(path)
        if isinstance(file, LookupAnswer):
            return file
        found = self._asker.symbols(*file)
        if isinstance(found, LookupAnswer):
            return found
        exact = [s for s in found if s.name_path == name_path]
        ending = [s for s in found if s.name_path.endswith(f".{name_path}")]
        if exact or len(ending) == 1:
            return (exact or ending)[0], file[1]
        shown = answers.shown_path(file[0], self._asker.root)
        return LookupAnswer(Freshness.CLEAN, detail=f"no definition {name_path!r} in {shown}")

    def _anywhere(self, name_path: str) -> tuple[Symbol, str] | LookupAnswer:
        silent: list[LookupAnswer] = []
        found = list(self._candidates(name_path, silent))
        exact = [f for f in found if f[0].name_path == name_path] or found
        if len(exact) == 1:
            return exact[0]
        if not exact:
            if silent:
                return silent[0]
            return LookupAnswer(Freshness.CLEAN, detail=f"no definition {name_path!r} in the workspace")
        names = ", ".join(f"{symbol.path}:{symbol.name_path}" for symbol, _ in exact[:20])
        told = [answers.told_symbol(s, t, *self.place(s, t)) for s, t in exact]
        packed = answers.pack(told, self._max_chars)
        return replace(packed, detail=f"{name_path!r} is ambiguous, name the path too: {names}")

    def _candidates(self, name_path: str, silent: list[LookupAnswer]) -> Iterator[tuple[Symbol, str]]:
        """Definitions of that name. Adds the answers of servers that could not tell to `silent`."""
        asked = 0
        for file in self._asker.sources.mentioning(answers.last_name(name_path)):
            text = self._asker.sources.read(file) or ""
            asked += not language_of(file.name).outlined
            if asked > OUTLINED:
                detail = f"{name_path!r} is in more than {OUTLINED} files: name the path too"
                silent.append(LookupAnswer(Freshness.UNAVAILABLE, detail=detail))
                return
            found = self._asker.symbols(Path(file), text)
            if isinstance(found, LookupAnswer):
                silent.append(found)
                continue
            for symbol in found:
                if symbol.name_path == name_path or symbol.name_path.endswith(f".{name_path}"):
                    yield symbol, text
