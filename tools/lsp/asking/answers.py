"""Turns results of servers into our own types: lines from 1, code points, source text beside each position.

In: lsprotocol results and texts. Out: `Location`s, `Diagnostic`s, `LookupAnswer`s within `max_chars`. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, overload

from lsprotocol import types as lsp
from pygls.workspace import PositionCodec

from forklock.tools.contract import Diagnostic, Freshness, Location, LookupAnswer, Symbol
from forklock.tools.languages.known import doc, language_of, signature
from forklock.tools.languages.text import split_lines
from forklock.tools.lsp.asking.outlines import holder

Told = tuple[Location, Sequence[str]]
"""A place, and its texts at several lengths, the longest first."""
_SEVERITY: dict[int, Literal["error", "warning", "information", "hint"]] = {
    1: "error", 2: "warning", 3: "information", 4: "hint",
}  # fmt: skip


@lru_cache(maxsize=64)  # a question looks at one text many times over
def lines_of(text: str) -> list[str]:
    """The lines of a text, with their ends."""
    return split_lines(text)


@lru_cache(maxsize=4096)
def shown_path(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


# --- positions -------------------------------------------------------------------------------------


def to_position(text: str, line: int, column: int, codec: PositionCodec) -> lsp.Position:
    lines = lines_of(text)
    return codec.position_to_client_units(lines, lsp.Position(line=line - 1, character=column))


def to_column(text: str, position: lsp.Position, codec: PositionCodec) -> int:
    lines = lines_of(text)
    if position.line >= len(lines):
        return 0
    if lines[position.line].isascii():  # every unit is a code point
        return min(position.character, len(lines[position.line]))
    return codec.position_from_client_units(lines, position).character


def last_name(name_path: str) -> str:
    return name_path.rpartition(".")[2].partition("#")[0]


def word_at(text: str, line: int, column: int) -> str:
    lines = lines_of(text)
    tail = lines[line - 1][column:] if 0 < line <= len(lines) else ""
    found = re.match(r"\w+", tail)
    return found.group() if found else ""


def as_list(found: Any) -> list[Any]:
    """One result, several, or none, as a list."""
    return [] if found is None else list(found) if isinstance(found, list | tuple) else [found]


# --- the ladder ------------------------------------------------------------------------------------


class Rungs(Sequence[str]):
    """A definition at three lengths: whole, as signature and documentation, and as its first line. Each is made when
    it is needed: most answers show the whole, and a signature takes as long to make as all the rest."""

    def __init__(self, text: str, symbol: Symbol) -> None:
        self._text = text
        self._symbol = symbol

    def __len__(self) -> int:
        return 3

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[str, ...]: ...
    def __getitem__(self, at: int | slice) -> str | tuple[str, ...]:
        if isinstance(at, slice):
            return tuple(self[n] for n in range(*at.indices(3)))
        return (self._whole, self._short, self._head)[range(3)[at]]()

    def _whole(self) -> str:
        lines = lines_of(self._text)[self._symbol.start_line - 1 : self._symbol.end_line]
        return "".join(lines).rstrip("\r\n")

    def _short(self) -> str:
        head, words = self._head(), doc(self._text, self._symbol)
        return language_of(self._symbol.path).documented(head, words)

    def _head(self) -> str:
        return signature(self._text, self._symbol) or line_of(self._text, self._symbol.start_line)


def line_of(text: str, line: int) -> str:
    lines = lines_of(text)
    return lines[line - 1].strip() if 0 < line <= len(lines) else ""


def pack(told: Sequence[tuple[Location, Sequence[str]]], max_chars: int) -> LookupAnswer:
    """Pack locations into an answer at the greatest length at which all fit. Where not even the shortest fit, the
    answer has as many as fit, and says how many more there are."""
    if not told:
        return LookupAnswer(Freshness.CLEAN)
    steps = max(len(ladder) for _, ladder in told)
    for step in range(steps + 1):
        snippets = [ladder[min(step, len(ladder) - 1)] if step < steps else "" for _, ladder in told]
        chosen = tuple(_with_snippet(place, s) for (place, _), s in zip(told, snippets, strict=True))
        if sum(_size(place) for place in chosen) <= max_chars:
            return LookupAnswer(Freshness.FOUND, chosen, detail=_rung_note(step, steps))
    kept = _as_many_as_fit(chosen, max_chars)
    return LookupAnswer(Freshness.FOUND, kept, detail=f"{len(chosen) - len(kept)} more not shown")


def noted(answer: LookupAnswer, *notes: str) -> LookupAnswer:
    """Add notes to the answer's `detail`."""
    return replace(answer, detail="; ".join(part for part in (answer.detail, *notes) if part))


def _with_snippet(place: Location, snippet: str) -> Location:
    return Location(place.path, place.line, place.column, place.name_path, snippet)


def _size(place: Location) -> int:
    return len(place.path) + len(place.name_path) + len(place.snippet) + 8


def _rung_note(step: int, steps: int) -> str:
    if step == 0:
        return ""
    return "shortened: locations only" if step == steps else "shortened: signatures only"


def _as_many_as_fit(places: tuple[Location, ...], max_chars: int) -> tuple[Location, ...]:
    total, kept = 0, list[Location]()
    for place in places:
        total += _size(place)
        if total > max_chars and kept:
            break
        kept.append(place)
    return tuple(kept)


def pack_lines(lines: Sequence[str], max_chars: int) -> tuple[str, str]:
    """(text, note): as many whole lines as fit."""
    total, kept = 0, list[str]()
    for line in lines:
        total += len(line) + 1
        if total > max_chars and kept:
            return "\n".join(kept), f"{len(lines) - len(kept)} more not shown"
        kept.append(line[:max_chars])
    return "\n".join(kept), ""


# --- places ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a file, and the definition that holds it."""

    path: str
    text: str
    line: int
    column: int
    holder: Symbol | None

    @property
    def location(self) -> Location:
        name_path = self.holder.name_path if self.holder else ""
        return Location(self.path, self.line, self.column, name_path, line_of(self.text, self.line))


@dataclass(frozen=True, slots=True)
class File:
    """A file that a server's answer names."""

    shown: str
    text: str
    symbols: list[Symbol]
    """None known: []."""


def spot(file: File, place: Any, codec: PositionCodec) -> Spot:
    where = getattr(place, "range", None)
    start = where.start if where else lsp.Position(0, 0)
    line, column = start.line + 1, to_column(file.text, start, codec)
    return Spot(file.shown, file.text, line, column, holder(file.symbols, line))


def told_line(spot: Spot) -> Told:
    return spot.location, (spot.location.snippet, "")


def told_definition(spot: Spot) -> Told:
    word = word_at(spot.text, spot.line, spot.column)
    if spot.holder is not None and word == last_name(spot.holder.name_path).lstrip("~"):
        return spot.location, Rungs(spot.text, spot.holder)
    return spot.location, (spot.location.snippet,)


def told_symbol(symbol: Symbol, text: str, line: int, column: int) -> Told:
    ladder = Rungs(text, symbol)
    return Location(symbol.path, line, column, symbol.name_path, ladder[0]), ladder


# --- hover, completion, diagnostics ----------------------------------------------------------------


def hover_text(hover: lsp.Hover | None) -> str:
    if hover is None:
        return ""
    contents = hover.contents
    parts: Iterable[Any] = contents if isinstance(contents, list | tuple) else [contents]
    return "\n\n".join(p if isinstance(p, str) else p.value for p in parts).strip()


def text_answer(lines: Sequence[str], max_chars: int) -> LookupAnswer:
    text, note = pack_lines(lines, max_chars)
    return LookupAnswer(Freshness.FOUND if text else Freshness.CLEAN, text=text, detail=note)


def completion_lines(result: Any) -> tuple[list[str], bool]:
    """(lines `label: detail`, best first; whether the server says that the list is complete)."""
    items = result.items if isinstance(result, lsp.CompletionList) else result or []
    ordered = sorted(items, key=lambda i: (i.sort_text or i.label, i.label))
    lines = [f"{i.label}: {' '.join(i.detail.split())}" if i.detail else i.label for i in ordered]
    return list(dict.fromkeys(lines)), not (isinstance(result, lsp.CompletionList) and result.is_incomplete)


def kept_diagnostics(found: Iterable[lsp.Diagnostic]) -> list[lsp.Diagnostic]:
    """Leave out hints, which are decoration for editors."""
    return [d for d in found if d.severity != lsp.DiagnosticSeverity.Hint]


def to_diagnostics(
    path: str, found: Iterable[lsp.Diagnostic], server: str, symbols: Sequence[Symbol]
) -> list[Diagnostic]:
    return [_diagnostic(path, d, server, symbols) for d in kept_diagnostics(found)]


def _diagnostic(path: str, found: lsp.Diagnostic, server: str, symbols: Sequence[Symbol]) -> Diagnostic:
    line = found.range.start.line + 1
    return Diagnostic(
        path=path,
        line=line,
        severity=_SEVERITY[int(found.severity or 1)],
        code=str(found.code) if found.code is not None else "",
        message=_message(found.message),
        symbol=_holder(symbols, line),
        source=server,
    )


def _message(message: Any) -> str:
    text = message if isinstance(message, str) else message.value
    return str(text).partition("\n\nhelp:")[0].replace("\u00a0", " ").strip()


def _holder(symbols: Sequence[Symbol], line: int) -> str:
    """The definition around a line. Variables are left out: a message in `x = f()` belongs to the scope of x."""
    around = holder(symbols, line)
    if around is None:
        return ""
    return around.name_path.rpartition(".")[0] if around.kind == "variable" else around.name_path


def united(items: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Sort by line, and keep one of the messages that two servers word alike (syntax errors)."""
    ordered = sorted(items, key=lambda d: (d.path, d.line, d.source, d.code, d.message))
    first: dict[tuple[int, str, str, str, str], str] = {}
    return tuple(d for d in ordered if first.setdefault((d.line, *d.identity), d.source) == d.source)


def only_new(items: Iterable[Diagnostic], baseline: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """The diagnostics whose identity occurs more often than in the baseline."""
    known = Counter(d.identity for d in baseline)
    new = []
    for item in items:
        if known[item.identity] > 0:
            known[item.identity] -= 1
        else:
            new.append(item)
    return tuple(new)
