"""Says why a new name cannot be used.

In: a definition, a new name, the texts after the rename. Out: the reason as text; "" where the name is free. Scopes
and classes are what the language knows of them (`Naming`); everything else is found by asking servers about the places
that have the new name already.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from lsprotocol import types as lsp

from forklock.tools.contract import LookupAnswer, Symbol, Uncovered
from forklock.tools.languages.definitions import bare, owner
from forklock.tools.languages.known import language_of
from forklock.tools.lsp.asking import answers
from forklock.tools.lsp.asking.asker import Asker
from forklock.tools.lsp.asking.names import Names
from forklock.tools.lsp.asking.outlines import holder
from forklock.tools.lsp.renames.coverage import Coverage
from forklock.tools.lsp.renames.occurrences import occurrences

MOST_PLACES = 500


class Taken:
    """New names in one workspace."""

    def __init__(self, asker: Asker, names: Names, coverage: Coverage) -> None:
        self._asker = asker
        self._names = names
        self._coverage = coverage

    def before(self, symbol: Symbol, text: str, new: str) -> str:
        """What is wrong with the name, as far as that is known without an edit."""
        if new == bare(symbol.name_path):
            return f"{symbol.name_path} has that name already"
        if problem := language_of(symbol.path).naming.problem(new):
            return problem
        member = bool(owner(symbol))
        if not member and language_of(symbol.path).brings(new):
            return f"{new} is the name of a builtin of Python"
        file = self._asker.root / symbol.path
        outline = self._asker.symbols(file, text)
        outer = symbol.name_path.rpartition(".")[0]
        for other in outline if isinstance(outline, list) else []:
            if other.name_path.partition("#")[0] == (f"{outer}.{new}" if outer else new):
                return f"{new} is taken: {other.path}:{other.start_line} defines {other.name_path}"
        if not outer and PurePosixPath(symbol.path).stem == "__init__":
            for taken in (file.parent / new, file.parent / f"{new}.py"):
                if taken.exists():
                    return f"{new} is taken: it is a module of the same package"
        return self._member_taken(symbol, new)

    def after(self, symbol: Symbol, text: str, new: str, texts: Mapping[str, str]) -> str:
        """What the edit would capture."""
        old = bare(symbol.name_path)
        for path, changed in texts.items():
            before = self._asker.sources.read(self._asker.root / path) or ""
            if problem := language_of(path).naming.changed_meaning(before, changed, old, new):
                return f"{new} is taken in {path}, in the scope at line {problem[0]}: {problem[1]}"
        return self._captured(symbol, text, new, texts)

    def called_for(self, symbol: Symbol, text: str, new: str) -> list[Uncovered]:
        """The definition itself, where others find it by name: the language, a test runner, a class of a library."""
        name = bare(symbol.name_path)
        shown = answers.line_of(text, symbol.start_line)
        for who, pattern in language_of(symbol.path).called_for.items():
            if re.match(pattern, name) and (re.match(pattern, new) is None or not who.startswith("test")):
                return [Uncovered(symbol.path, symbol.start_line, f"{who} find it by this name", shown)]
        if not owner(symbol):
            return []
        found = []
        for path, base, known, has in self._outer_bases(symbol, name):
            why = (
                f"may override {base}.{name}"
                if has
                else f"{base}, a base class, is not known here"
                if not known
                else ""
            )
            if why:
                found.append(Uncovered(path, symbol.start_line, why, shown))
        return found

    # --- members -----------------------------------------------------------------------------------

    def _member_taken(self, symbol: Symbol, new: str) -> str:
        if not owner(symbol):
            return ""
        for _, base, _, has in self._outer_bases(symbol, new):
            if has:
                return f"{new} is taken: {base} has a member of that name"
        family = self._coverage.family(symbol) - self._coverage.protocols(symbol)
        for file in self._asker.sources.mentioning(new) if family else ():
            content = self._asker.sources.read(file) or ""
            outline = self._asker.symbols(file, content)
            around = outline if isinstance(outline, list) else []
            for one in occurrences(answers.shown_path(file, self._asker.root), content, new):
                inner = holder([s for s in around if s.kind == "class"], one.line)
                if inner is None or bare(inner.name_path) not in family:
                    continue
                line = answers.lines_of(content)[one.line - 1]
                stored = re.search(r"\bself\.$", line[: one.column]) and re.match(
                    rf"{new}\s*(?::[^=]*)?=(?!=)", line[one.column :]
                )
                defined = any(s.name_path.partition("#")[0] == f"{inner.name_path}.{new}" for s in around)
                if stored or defined:
                    return f"{new} is taken: {one.path}:{one.line} has it in {inner.name_path}"
        return ""

    def _outer_bases(self, symbol: Symbol, name: str) -> Iterator[tuple[str, str, bool, bool]]:
        """(file of the symbol, base, whether it is known, whether it has the member) for each base of the class's
        family that is not of this workspace."""
        for path, base in self._coverage.outer_bases(symbol):
            file = self._asker.root / path
            content = (self._asker.sources.read(file) or "").rstrip("\r\n")
            line = len(answers.lines_of(content)) + 1
            asked = f"{content}\n{base}.{name}\n"
            has = self._defined(path, line, len(base) + 1, asked)
            known = has or self._defined(path, line, base.rfind(".") + 1, asked)
            yield symbol.path, base, known, has

    def _defined(self, path: str, line: int, column: int, text: str) -> bool:
        found = self._asker.at(lsp.TEXT_DOCUMENT_DEFINITION, path, line, column, text)
        return not isinstance(found, LookupAnswer) and bool(answers.as_list(found.result))

    # --- places that have the new name already -------------------------------------------------------

    def _captured(self, symbol: Symbol, text: str, new: str, texts: Mapping[str, str]) -> str:
        """A place that meant something else and would mean what is renamed."""
        line, column = self._names.place(symbol, text)
        target = (symbol.path, line, column)
        overlay = {self._asker.root / path: changed for path, changed in texts.items()}
        asked = 0
        for file in list(self._asker.sources.mentioning(new)):
            shown = answers.shown_path(file, self._asker.root)
            before = self._asker.sources.read(file) or ""
            if shown in texts:
                if not language_of(shown).naming.knows_scopes and (
                    problem := self._shadowed(symbol, line, new, shown, before, overlay)
                ):
                    return problem
                continue
            for one in occurrences(shown, before, new):
                asked += 1
                if one.kind != "code" or asked > MOST_PLACES or not self._asker.looks_up(file):
                    continue
                found = self._coverage.at_with(overlay, shown, one.line, one.column)
                places = [] if isinstance(found, LookupAnswer) else answers.as_list(found.result)
                if any(self._coverage.place_of(p, found.codec) == target for p in places):  # type: ignore[union-attr]
                    return (
                        f"{new} is taken: {shown}:{one.line} uses it already and would mean what is renamed"
                    )
        return ""

    def _shadowed(
        self, symbol: Symbol, target: int, new: str, path: str, before: str, overlay: Mapping[Path, str]
    ) -> str:
        """In a changed file: a renamed place that would mean what has the new name already, or the other way round.
        `target` is the line of the definition."""
        old, after = bare(symbol.name_path), overlay[self._asker.root / path]
        was, now = _words(path, before, old, new), _words(path, after, old, new)
        if len(was) != len(now) or len(now) > MOST_PLACES:
            return ""
        pairs = list(zip(was, now, strict=True))
        kept = {two[:2] for one, two in pairs if one[2] == new}
        for one, two in pairs if kept else []:
            if two[2] != new:
                continue
            found = self._coverage.at_with(overlay, path, two[0], two[1])
            if isinstance(found, LookupAnswer):
                continue
            places = {self._coverage.place_of(p, found.codec) for p in answers.as_list(found.result)}
            hit = (symbol.path, target) in {place[:2] for place in places}
            if one[2] == new and hit:
                return f"{new} is taken: {path}:{two[0]} uses it already and would mean what is renamed"
            if one[2] == old and any(place[0] == path and place[1:] in kept for place in places):
                return f"{new} is taken: at {path}:{two[0]} it means something else already"
        return ""


def _words(path: str, text: str, old: str, new: str) -> list[tuple[int, int, str]]:
    """(line, column, name) of both names in the code."""
    found = ((one, name) for name in (old, new) for one in occurrences(path, text, name))
    return sorted((one.line, one.column, name) for one, name in found if one.kind == "code")
