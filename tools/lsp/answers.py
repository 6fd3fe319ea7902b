"""From what servers say to what the room promises: lines from 1, code points, code rather than positions
(room `tools/`).

In: lsprotocol results and texts. Out: `Location`s, `Diagnostic`s, `LookupAnswer`s within `max_chars`. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from lsprotocol import types as lsp
from pygls.workspace import PositionCodec

from tools.contract import Diagnostic, Freshness, Location, LookupAnswer, Symbol
from tools.symbols import doc, signature, symbols
from tools.workspace import split_lines

Read = Callable[[Path], str | None]
_SEVERITY: dict[int, Literal["error", "warning", "information", "hint"]] = {
    1: "error", 2: "warning", 3: "information", 4: "hint",
}  # fmt: skip


# A question looks at one text many times over; texts come from a cache, so their hash is known.


@lru_cache(maxsize=64)
def _lines(text: str) -> list[str]:
    return split_lines(text)


@lru_cache(maxsize=64)
def _symbols(path: str, text: str) -> list[Symbol]:
    return symbols(path, text)


def enclosing(path: str, text: str, line: int) -> Symbol | None:
    """As `tools.symbols.enclosing`, fast for many lines of one text."""
    holding = [s for s in _symbols(path, text) if s.start_line <= line <= s.end_line]
    return min(holding, key=lambda s: (s.end_line - s.start_line, -s.start_line), default=None)


def shown_path(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


# --- positions -------------------------------------------------------------------------------------


def to_position(text: str, line: int, column: int, codec: PositionCodec) -> lsp.Position:
    lines = _lines(text)
    return codec.position_to_client_units(lines, lsp.Position(line=line - 1, character=column))


def to_column(text: str, position: lsp.Position, codec: PositionCodec) -> int:
    lines = _lines(text)
    if position.line >= len(lines):
        return 0
    return codec.position_from_client_units(lines, position).character


def name_position(text: str, symbol: Symbol) -> tuple[int, int]:
    """(line, column) of the symbol's own name."""
    name = re.escape(last_name(symbol.name_path))
    lines = _lines(text)[symbol.start_line - 1 : symbol.end_line]
    for pattern in (rf"^\s*(?:async\s+)?(?:def|class)\s+({name})\b", rf"\b({name})\b"):
        for offset, line in enumerate(lines):
            if found := re.search(pattern, line):
                return symbol.start_line + offset, found.start(1)
    return symbol.start_line, 0


def last_name(name_path: str) -> str:
    return name_path.rpartition(".")[2].partition("#")[0]


def word_at(text: str, line: int, column: int) -> str:
    lines = _lines(text)
    tail = lines[line - 1][column:] if 0 < line <= len(lines) else ""
    found = re.match(r"\w+", tail)
    return found.group() if found else ""


def as_list(found: Any) -> list[Any]:
    """One, several or none, as a list."""
    return [] if found is None else list(found) if isinstance(found, list | tuple) else [found]


# --- the ladder ------------------------------------------------------------------------------------


def rungs(text: str, symbol: Symbol) -> tuple[str, str, str]:
    """A definition told at full length, as signature and doc, and as its first line."""
    head = signature(text, symbol) or line_of(text, symbol.start_line)
    words = doc(text, symbol)
    short = f'{head}:\n    """{words}"""' if words else head
    whole = "".join(_lines(text)[symbol.start_line - 1 : symbol.end_line])
    return whole.rstrip("\r\n"), short, head


def line_of(text: str, line: int) -> str:
    lines = _lines(text)
    return lines[line - 1].strip() if 0 < line <= len(lines) else ""


def pack(told: Sequence[tuple[Location, Sequence[str]]], max_chars: int) -> LookupAnswer:
    """Locations on the highest rung at which all of them fit; past the lowest, as many as fit, and how many
    more there are."""
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
    """(text, note): whole lines while they fit."""
    total, kept = 0, list[str]()
    for line in lines:
        total += len(line) + 1
        if total > max_chars and kept:
            return "\n".join(kept), f"{len(lines) - len(kept)} more not shown"
        kept.append(line[:max_chars])
    return "\n".join(kept), ""


# --- places ----------------------------------------------------------------------------------------


def place_of(path: Path, text: str, line: int, column: int, root: Path) -> tuple[Location, Symbol | None]:
    """Where that is, and the definition that holds it."""
    shown = shown_path(path, root)
    holder = enclosing(shown, text, line)
    name_path = holder.name_path if holder else ""
    return Location(shown, line, column, name_path, line_of(text, line)), holder


def told_definition(
    path: Path, text: str, line: int, column: int, root: Path
) -> tuple[Location, tuple[str, ...]]:
    place, holder = place_of(path, text, line, column, root)
    if holder is not None and word_at(text, line, column) == last_name(holder.name_path):
        return place, rungs(text, holder)
    return place, (place.snippet,)


def told_symbol(symbol: Symbol, text: str) -> tuple[Location, tuple[str, ...]]:
    line, column = name_position(text, symbol)
    ladder = rungs(text, symbol)
    return Location(symbol.path, line, column, symbol.name_path, ladder[0]), ladder


# --- hover, completion, diagnostics ----------------------------------------------------------------


def hover_text(hover: lsp.Hover | None) -> str:
    if hover is None:
        return ""
    contents = hover.contents
    parts: Iterable[Any] = contents if isinstance(contents, list | tuple) else [contents]
    return "\n\n".join(p if isinstance(p, str) else p.value for p in parts).strip()


def completion_lines(result: Any) -> tuple[list[str], bool]:
    """(`label: detail`, best first; whether the server says the list is complete)."""
    items = result.items if isinstance(result, lsp.CompletionList) else result or []
    ordered = sorted(items, key=lambda i: (i.sort_text or i.label, i.label))
    lines = [f"{i.label}: {' '.join(i.detail.split())}" if i.detail else i.label for i in ordered]
    return list(dict.fromkeys(lines)), not (isinstance(result, lsp.CompletionList) and result.is_incomplete)


def to_diagnostics(path: str, text: str, found: Iterable[lsp.Diagnostic], server: str) -> list[Diagnostic]:
    """Hints are editor decoration and left out."""
    kept = [d for d in found if d.severity != lsp.DiagnosticSeverity.Hint]
    return [_diagnostic(path, text, d, server) for d in kept]


def _diagnostic(path: str, text: str, found: lsp.Diagnostic, server: str) -> Diagnostic:
    line = found.range.start.line + 1
    return Diagnostic(
        path=path,
        line=line,
        severity=_SEVERITY[int(found.severity or 1)],
        code=str(found.code) if found.code is not None else "",
        message=_message(found.message),
        symbol=_holder(path, text, line),
        source=server,
    )


def _message(message: Any) -> str:
    text = message if isinstance(message, str) else message.value
    return str(text).partition("\n\nhelp:")[0].replace("\u00a0", " ").strip()


def _holder(path: str, text: str, line: int) -> str:
    """Variables are no scopes: a message in `x = f()` belongs to the scope of x."""
    holder = enclosing(path, text, line)
    if holder is None:
        return ""
    return holder.name_path.rpartition(".")[0] if holder.kind == "variable" else holder.name_path


def united(items: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """By line; what two servers say in the same words (syntax errors) is said once."""
    ordered = sorted(items, key=lambda d: (d.path, d.line, d.source, d.code, d.message))
    first: dict[tuple[int, str, str, str, str], str] = {}
    return tuple(d for d in ordered if first.setdefault((d.line, *d.identity), d.source) == d.source)


def only_new(items: Iterable[Diagnostic], baseline: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Those whose identity the baseline does not have as often."""
    known = Counter(d.identity for d in baseline)
    new = []
    for item in items:
        if known[item.identity] > 0:
            known[item.identity] -= 1
        else:
            new.append(item)
    return tuple(new)


def outline(found: Iterable[Any], outer: str = "") -> Iterable[tuple[str, int]]:
    """(name path, line) of documentSymbol, nested or flat."""
    for item in found:
        if isinstance(item, lsp.DocumentSymbol):
            yield outer + item.name, item.selection_range.start.line + 1
            if item.kind not in (
                lsp.SymbolKind.Function,
                lsp.SymbolKind.Method,
            ):  # their locals are no outline
                yield from outline(item.children or [], f"{outer}{item.name}.")
        else:
            prefix = f"{item.container_name}." if item.container_name else ""
            yield prefix + item.name, item.location.range.start.line + 1
