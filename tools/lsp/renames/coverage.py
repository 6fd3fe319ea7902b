"""Says which places of a workspace an answer about a definition covers, and which it does not.

In: a symbol, the places that an answer covers. Out: a `Survey`: every whole word of the name in every file, sorted
into places that surely mean the symbol, places that may, and prose. A word is left out if the server gives its
definition, and that is neither the symbol's nor one that has to keep the same name. Not covered: names
that a program puts together while it runs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp

from forklock.tools.contract import LookupAnswer, Symbol, Uncovered
from forklock.tools.languages.by_eye.naming import Classes, Naming
from forklock.tools.languages.definitions import bare, owner
from forklock.tools.languages.known import language_of
from forklock.tools.lsp.asking import answers
from forklock.tools.lsp.asking.asker import Asker, Found
from forklock.tools.lsp.asking.names import Names
from forklock.tools.lsp.asking.outlines import holder
from forklock.tools.lsp.renames.occurrences import Occurrence, occurrences
from forklock.tools.lsp.renames.scanning import composed, texts_with
from forklock.tools.lsp.wire.documents import path_of, uri_of

Place = tuple[str, int, int]
"""(path, line, column) of a name."""
SURVEY_S = 60.0
"""Seconds that the servers may be asked about single places; those that are left count as not covered."""
MOST_ASKED = 3000


@dataclass
class Survey:
    """Every whole word of a name, sorted."""

    covered: set[Place] = field(default_factory=set)
    same: list[Occurrence] = field(default_factory=list)
    """Not covered, and surely the symbol."""
    doubtful: list[Uncovered] = field(default_factory=list)
    prose: list[Uncovered] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    """Texts of the files that hold the name."""


class Coverage:
    """Surveys of one workspace."""

    def __init__(self, asker: Asker, names: Names) -> None:
        self._asker = asker
        self._names = names

    def survey(self, symbol: Symbol, text: str, covered: Iterable[Place]) -> Survey:
        """Sort every whole word of the symbol's name."""
        name, found = bare(symbol.name_path), Survey(covered=set(covered))
        place = (symbol.path, *self._names.place(symbol, text))
        found.covered.add(place)
        found.texts = dict(self._texts(symbol, name))
        words = [one for path, content in found.texts.items() for one in occurrences(path, content, name)]
        code = [one for one in words if one.kind == "code" and self._is_read(one.path)]
        meanings = self._meanings(code, found.texts)
        targets, twins = _targets(found.covered, meanings)
        unknown = {place for place, meant in meanings.items() if not meant}
        family = self.family(symbol)
        found.doubtful += self._composed(symbol, name)
        for one in words:
            if one.place in found.covered:
                continue
            if one.kind == "prose":
                found.prose.append(_told(one, "text"))
            elif one.kind == "named":
                found.doubtful.append(_told(one, f"{one.why} has the name"))
            elif one.place not in meanings:
                found.doubtful.append(_told(one, "no server has looked at it"))
            else:
                meant = meanings[one.place]
                known = frozenset[Place]() if meant <= unknown - {one.place} else meant
                self._judge(one, known, targets, twins, found, partial(self._why, symbol, family))
        return found

    def beside(self, symbol: Symbol, text: str, known: Iterable[Place]) -> tuple[Uncovered, ...]:
        """Places that may be uses of a definition, and are not among the known ones."""
        found = self.survey(symbol, text, known)
        missed = [_told(one, "the servers left it out of the uses") for one in found.same]
        return tuple(sorted([*missed, *found.doubtful], key=lambda u: (u.path, u.line)))

    def _judge(
        self,
        one: Occurrence,
        meant: frozenset[Place],
        targets: set[Place],
        twins: set[Place],
        found: Survey,
        why: Any,
    ) -> None:
        if not meant:
            found.doubtful.append(_told(one, "no server can tell what it is"))
        elif meant <= targets:
            found.same.append(one)
        elif meant & (targets | twins):
            found.doubtful.append(_told(one, "may be this definition or another one"))
        else:
            reasons = [reason for place in sorted(meant) if (reason := why(place))]
            if reasons:
                found.doubtful.append(_told(one, reasons[0]))

    def _composed(self, symbol: Symbol, name: str) -> list[Uncovered]:
        """Places where a program puts together a name that may be this one."""
        texts = (
            (answers.shown_path(f, self._asker.root), self._asker.sources.read(f))
            for f in self._asker.sources.files()
        )
        own = "" if self._is_reachable(symbol) else symbol.path
        return [
            place
            for path, text in texts
            if text and own in ("", path)
            for place in composed(path, text, name)
        ]

    # --- files and places ------------------------------------------------------------------------

    def _texts(self, symbol: Symbol, name: str) -> Iterator[tuple[str, str]]:
        """Files that hold the name, as the servers see them. If only the symbol's own function can name it: that
        file."""
        if not self._is_reachable(symbol):
            yield symbol.path, self._asker.sources.read(self._asker.root / symbol.path) or ""
            return
        for path, content in texts_with(self._asker.root, name):
            if self._is_read(path):
                content = self._asker.sources.read(self._asker.root / path) or ""
            yield path, content

    def _is_reachable(self, symbol: Symbol) -> bool:
        outline = self._outline(self._asker.root / symbol.path)
        return not _naming(symbol).is_local(symbol, {s.name_path: s.kind for s in outline})

    def _is_read(self, path: str) -> bool:
        return self._asker.looks_up(Path(path))

    def _meanings(self, code: list[Occurrence], texts: Mapping[str, str]) -> dict[Place, frozenset[Place]]:
        """What each place stands for, as far as the time allows."""
        end, found = time.monotonic() + SURVEY_S, dict[Place, frozenset[Place]]()
        for one in code[:MOST_ASKED]:
            if time.monotonic() > end:
                break
            result = self._asker.at(
                lsp.TEXT_DOCUMENT_DEFINITION, one.path, one.line, one.column, texts[one.path]
            )
            if not isinstance(result, LookupAnswer):
                places = answers.as_list(result.result)
                found[one.place] = frozenset(self.place_of(place, result.codec) for place in places)
        return found

    def place_of(self, place: Any, codec: Any) -> Place:
        """The place that a position of a server means."""
        file = path_of(place.uri)
        text = self._asker.read(file) or ""
        start = place.range.start
        shown = answers.shown_path(file, self._asker.root)
        return shown, start.line + 1, answers.to_column(text, start, codec)

    def at_with(self, overlay: Mapping[Path, str], path: str, line: int, column: int) -> Found | LookupAnswer:
        """The definition of the name at a place, as if other files held these texts."""
        found = self._asker.file(path, overlay.get(self._asker.root / path))
        if isinstance(found, LookupAnswer):
            return found
        file, content = found

        def params(codec: Any) -> Any:
            position = answers.to_position(content, line, column, codec)
            return lsp.DefinitionParams(lsp.TextDocumentIdentifier(uri_of(file)), position)

        return self._asker.lookup(lsp.TEXT_DOCUMENT_DEFINITION, {**overlay, file: content}, params)

    # --- definitions that have to keep one name ----------------------------------------------------

    def family(self, symbol: Symbol) -> set[str]:
        """Bare names of the classes that may share a member with the symbol's class."""
        return self._classes(symbol).family(owner(symbol)) if owner(symbol) else set()

    def protocols(self, symbol: Symbol) -> Set[str]:
        """Bare names of the protocols of the workspace, in the symbol's language."""
        return self._classes(symbol).protocols

    def outer_bases(self, symbol: Symbol) -> list[tuple[str, str]]:
        """(file, base as written there) for each base that is no class of the workspace, of the symbol's class and
        those that are joined with it."""
        return self._classes(symbol).outer_bases(owner(symbol))

    def _classes(self, symbol: Symbol) -> Classes:
        language = language_of(symbol.path)
        return language.naming.classes(
            (answers.shown_path(file, self._asker.root), self._asker.sources.read(file) or "")
            for file in self._asker.sources.files()
            if language_of(file.name) is language
        )

    def _why(self, symbol: Symbol, family: set[str], place: Place) -> str:
        """Why a definition at a place has to keep the symbol's name; "" where it is something else."""
        path, line, _ = place
        if path.startswith("/"):
            return ""
        around = self._outline(self._asker.root / path)
        last = bare(symbol.name_path)
        for other in around:
            if other.start_line <= line <= other.end_line and bare(other.name_path) == last:
                if other.path == symbol.path and other.name_path == symbol.name_path:
                    continue
                if reason := _naming(symbol).relation(symbol, other, family):
                    return reason
        within = holder([s for s in around if s.kind == "class"], line)
        lines = answers.lines_of(self._asker.sources.read(self._asker.root / path) or "")
        attribute = 0 < line <= len(lines) and lines[line - 1][: place[2]].endswith(".")
        if attribute and within is not None and bare(within.name_path) in family:
            return f"may be the same member: it is one of {within.name_path}"
        return self._parameter(symbol, place)

    def _parameter(self, symbol: Symbol, place: Place) -> str:
        """A decorated function can be asked for by the name of a parameter, as pytest's fixtures are."""
        if owner(symbol):
            return ""
        own = answers.lines_of(self._asker.sources.read(self._asker.root / symbol.path) or "")
        if not _naming(symbol).found_by_parameter(own[symbol.start_line - 1]):
            return ""
        path, line, column = place
        lines = answers.lines_of(self._asker.sources.read(self._asker.root / path) or "")
        function = holder(
            [s for s in self._outline(self._asker.root / path) if s.kind in ("function", "method")], line
        )
        if function is None or line > len(lines):
            return ""
        head = "".join(lines[function.start_line - 1 : line - 1]) + lines[line - 1][:column]
        inside = head.count("(") > head.count(")")
        return "a parameter of that name may ask for the decorated definition" if inside else ""

    def _outline(self, file: Path) -> list[Symbol]:
        text = self._asker.sources.read(file)
        found = self._asker.symbols(file, text) if text is not None else []
        return found if isinstance(found, list) else []


def _naming(symbol: Symbol) -> Naming:
    return language_of(symbol.path).naming


def _targets(
    covered: set[Place], meanings: Mapping[Place, frozenset[Place]]
) -> tuple[set[Place], set[Place]]:
    """(definitions that are covered, definitions that one covered use may mean as well)."""
    targets = set(covered)
    for place in covered:
        meant = meanings.get(place, frozenset())
        if len(meant) == 1:
            targets |= meant
    twins = set[Place]()
    while True:
        joined = {
            p for meant in meanings.values() if len(meant) > 1 and meant & (targets | twins) for p in meant
        }
        if joined <= targets | twins:
            return targets, twins
        twins |= joined - targets


def _told(one: Occurrence, why: str) -> Uncovered:
    return Uncovered(one.path, one.line, why, one.snippet)
