"""Renames a definition, and says what the rename leaves.

In: a definition, a new name. Out: `ChangesAnswer` with the server's edit, extended by the places that surely mean the
definition and that the server left out, and by `__all__`. Uncovered are the places that may mean it, and what the
change breaks in the diagnostics of any file. A new name that is taken is refused (`taken`). Nothing is written.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp

from forklock.tools.contract import (
    Change,
    ChangesAnswer,
    Diagnostic,
    Freshness,
    LookupAnswer,
    Symbol,
    Uncovered,
)
from forklock.tools.languages.definitions import bare
from forklock.tools.languages.known import language_of
from forklock.tools.lsp.asking import answers
from forklock.tools.lsp.asking.asker import Asker, Found
from forklock.tools.lsp.asking.editing import Edits, Outside, edited
from forklock.tools.lsp.asking.names import Names
from forklock.tools.lsp.renames.coverage import Coverage, Survey
from forklock.tools.lsp.renames.occurrences import word
from forklock.tools.lsp.renames.taken import Taken
from forklock.tools.lsp.wire.documents import uri_of

CHECK_S = 30.0
"""Seconds for the diagnostics of files that hold neither name."""


class Renames:
    """Renames in one workspace."""

    def __init__(self, asker: Asker, names: Names) -> None:
        self._asker = asker
        self._names = names
        self._coverage = Coverage(asker, names)
        self._taken = Taken(asker, names, self._coverage)

    def of(self, symbol: Symbol, text: str, new_name: str) -> ChangesAnswer:
        """The rename of one definition."""
        old = bare(symbol.name_path)
        if refused := self._taken.before(symbol, text, new_name):
            return ChangesAnswer(Freshness.CLEAN, refused=refused)
        found = self._asked(symbol, text, new_name)
        if isinstance(found, LookupAnswer):
            return ChangesAnswer(found.freshness, detail=found.detail)
        try:
            edits = Edits.of(self._asker, found.result)
            survey = self._coverage.survey(symbol, text, edits.words(self._asker, found.codec, old))
            if survey.same:  # the survey has shown the server more files
                again = self._asked(symbol, text, new_name)
                if not isinstance(again, LookupAnswer):
                    edits = Edits.of(self._asker, again.result)
            left = self._extend(edits, survey, found.codec, old, new_name)
            texts = edits.texts(self._asker, found.codec)
        except Outside as refused_edit:
            detail = f"{symbol.name_path} is not renamed: {refused_edit}"
            return ChangesAnswer(Freshness.UNAVAILABLE, detail=detail)
        if not texts:
            return ChangesAnswer(Freshness.CLEAN, detail=f"no server can rename {symbol.name_path}")
        if refused := self._taken.after(symbol, text, new_name, texts):
            return ChangesAnswer(Freshness.CLEAN, refused=refused)
        uncovered = [
            *left,
            *self._taken.called_for(symbol, text, new_name),
            *self._halves(texts, old, new_name),
            *self._broken(symbol, texts, old, new_name),
            *([Uncovered(symbol.path, symbol.start_line, found.note, "")] if found.note else []),
        ]
        change = Change(f"rename {symbol.name_path} to {new_name}", "rename", texts)
        ordered = tuple(dict.fromkeys(sorted(uncovered, key=lambda u: (u.path, u.line, u.why))))
        return ChangesAnswer(Freshness.FOUND, (change,), uncovered=ordered, mentions=tuple(survey.prose))

    def _asked(self, symbol: Symbol, text: str, new_name: str) -> Found | LookupAnswer:
        line, column = self._names.place(symbol, text)
        file = self._asker.root / symbol.path

        def params(codec: Any) -> lsp.RenameParams:
            position = answers.to_position(text, line, column, codec)
            return lsp.RenameParams(lsp.TextDocumentIdentifier(uri_of(file)), position, new_name)

        return self._asker.lookup(
            lsp.TEXT_DOCUMENT_RENAME, {file: text}, params, answers.last_name(symbol.name_path)
        )

    # --- what the server left out ------------------------------------------------------------------

    def _extend(self, edits: Edits, survey: Survey, codec: Any, old: str, new: str) -> list[Uncovered]:
        """Add places that surely are the definition's name. Returns what is left uncovered."""
        done = set(edits.words(self._asker, codec, old))
        left, exported = list(survey.doubtful), list[Uncovered]()
        for one in survey.same:
            if one.place in done:
                continue
            if language_of(one.path).naming.edits_uses:
                edits.add(self._asker, codec, one.path, one.line, one.column, old, new)
            else:
                left.append(Uncovered(one.path, one.line, "the server leaves this use as it is", one.snippet))
        for path in list(edits.by_path):
            text = survey.texts.get(path, "")
            for line, column in language_of(path).naming.exports(text, old):
                if _renamed_in_module(text, edits, self._asker, codec, path, old, new):
                    edits.add(self._asker, codec, path, line, column, old, new)
                    shown = answers.line_of(text, line)
                    exported += [u for u in left if (u.path, u.line, u.snippet) == (path, line, shown)]
        return [one for one in left if one not in exported]

    def _halves(self, texts: Mapping[str, str], old: str, new: str) -> Iterator[Uncovered]:
        """Scopes in which one of several bindings was renamed."""
        for path, after in texts.items():
            before = self._asker.sources.read(self._asker.root / path) or ""
            if line := language_of(path).naming.half_renamed(before, after, old, new):
                why = f"of several bindings of {old} here only some are renamed"
                yield Uncovered(path, line, why, answers.line_of(before, line))

    # --- what it breaks ------------------------------------------------------------------------------

    def _broken(self, symbol: Symbol, texts: Mapping[str, str], old: str, new: str) -> Iterator[Uncovered]:
        """New diagnostics of every file: first those that hold one of the names, then others while the time allows."""
        root = self._asker.root
        overlay = {root / path: text for path, text in texts.items()}
        near, far = self._checked(symbol, overlay, old, new)
        end = time.monotonic() + CHECK_S
        faulty: dict[Path, list[Diagnostic]] = {}
        for file in [*near, *far]:
            if file not in near and time.monotonic() > end:
                break
            now = self._faults(file, overlay)
            if now is None and file in overlay:
                why = "its diagnostics could not be had, so what breaks is not known"
                yield Uncovered(answers.shown_path(file, root), 1, why, "")
            if now:
                faulty[file] = now
        for file, now in faulty.items():
            known = Counter(_identity(item, old, new) for item in self._faults(file, {}) or ())
            text = overlay.get(file) or self._asker.sources.read(file) or ""
            for item in now:
                known[_identity(item, old, new)] -= 1
                if known[_identity(item, old, new)] < 0:
                    shown = answers.line_of(text, item.line)
                    yield Uncovered(item.path, item.line, f"breaks: {item.message}", shown)

    def _checked(
        self, symbol: Symbol, overlay: Mapping[Path, str], old: str, new: str
    ) -> tuple[list[Path], list[Path]]:
        """(files that hold a name or are changed, all others), of those that the definition's servers read."""
        near, far = list(overlay), list[Path]()
        patterns = word(old), word(new)
        same = self._asker.companions(self._asker.root / symbol.path)
        for file in self._asker.sources.files():
            if file in overlay or not same(file):
                continue
            text = self._asker.sources.read(file) or ""
            (near if any(p.search(text) for p in patterns) else far).append(file)
        return near, far

    def _faults(self, file: Path, overlay: Mapping[Path, str]) -> list[Diagnostic] | None:
        """The diagnostics of a file; None where the servers do not answer."""
        text = overlay.get(file, self._asker.sources.read(file))
        if text is None:
            return None
        answer = self._asker.diagnose(file, {**overlay, file: text})
        if answer.freshness not in (Freshness.CLEAN, Freshness.FOUND):
            return None
        return [item for item in answer.items if item.severity in ("error", "warning")]


def _identity(item: Diagnostic, old: str, new: str) -> tuple[str, ...]:
    """As `Diagnostic.identity`, but equal before and after the rename."""

    def plain(text: str) -> str:
        return word(new).sub("§", word(old).sub("§", text))

    return item.path, item.code, plain(item.message), plain(item.symbol)


def _renamed_in_module(
    text: str, edits: Edits, asker: Asker, codec: Any, path: str, old: str, new: str
) -> bool:
    """Whether these edits rename the module's own binding of the name, and leave none with the old name."""
    try:
        after = edited(asker.sources.read(asker.root / path) or "", edits.by_path[path], codec)
    except (ValueError, Outside):
        return False
    return language_of(path).naming.moves_export(text, after, old, new)
