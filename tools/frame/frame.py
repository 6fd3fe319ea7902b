"""The intellisense frame: what a developer sees around a definition without asking (room `tools/`).

In: an `Intel`, a symbol, a token budget and the model's own token counter. Out: markdown within the budget,
the same for the same repo: the source, live diagnostics, what it uses, members of typed receivers, its class,
its callers, its module. Items are ranked and packed whole. Without a server what the text itself says is
shown, and one line tells so. Not covered: members of typed receivers in other languages than Python.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from forklock.tools.contract import Diagnostic, EditRefused, Freshness, Symbol
from forklock.tools.files import read_document
from forklock.tools.frame.scope import Surroundings, survey
from forklock.tools.languages.known import doc, language_of, signature, symbols
from forklock.tools.languages.text import split_lines, to_lf

if TYPE_CHECKING:
    from forklock.tools.lsp.intel import Intel

CountTokens = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    language: str
    lines: tuple[str, ...]
    cut: int = 0
    """Lines that did not fit."""


def intellisense_frame(
    intel: Intel | None,
    root: Path,
    symbol: Symbol,
    *,
    budget_tokens: int,
    count_tokens: CountTokens,
    numbered: bool = True,
    with_source: bool = True,
) -> str:
    """Markdown about `symbol`, of at most `budget_tokens` by `count_tokens`; "" where nothing fits.

    `numbered` puts the file's line numbers before the lines of the symbol's source; without `with_source`
    only what is around the symbol is told.
    """
    try:
        text = to_lf(read_document(root / symbol.path, symbol.path).text)
    except EditRefused as refused:
        return _pack([_Section("Unreadable", "text", (refused.message,))], budget_tokens, count_tokens)
    own = _outline(intel, symbol.path, text)
    current = next((s for s in own if s.name_path == symbol.name_path), symbol)
    found = survey(intel, current, text) if intel is not None else Surroundings(silent="not started")
    sections = list(_sections(intel, current, text, own, found, numbered))
    return _pack(sections if with_source else sections[1:], budget_tokens, count_tokens)


def _outline(intel: Intel | None, path: str, text: str) -> list[Symbol]:
    """The definitions of the symbol's own file."""
    if intel is None or language_of(path).reads:
        return symbols(path, text)
    told = intel.outline(path)
    return told if isinstance(told, list) else []


def _sections(
    intel: Intel | None, symbol: Symbol, text: str, own: list[Symbol], found: Surroundings, numbered: bool
) -> Iterator[_Section]:
    """Best first: where tokens run out, the last ones go."""
    language = language_of(symbol.path).name or "text"
    where = f"`{symbol.name_path}` in `{symbol.path}`, lines {symbol.start_line}-{symbol.end_line}"
    yield _Section(where, language, tuple(_source(text, symbol, numbered)))
    if found.silent:
        yield _Section(
            "No language server: below is what the source text alone says", "text", (found.silent,)
        )
    if intel is not None and (lines := _diagnostics(intel, symbol)):
        yield _Section("Diagnostics now", "text", lines)
    used = sorted(found.used, key=lambda fact: not fact.near)  # stable: source order within each
    yield _Section(
        "Used here", language, tuple(f.text for f in used) or tuple(_used_nearby(text, symbol, own))
    )
    yield _Section("Members of what it holds", "text", tuple(f.text for f in found.members))
    shown = {f.name_path for f in used if f.path == symbol.path} | {symbol.name_path}
    yield from _class(text, symbol, own, shown, language)
    yield _Section("Callers", language, tuple(f.text for f in found.callers))
    yield _Section("Also in this file", language, tuple(_module(text, symbol, own, shown)))


# --- what the text says ----------------------------------------------------------------------------


def _source(text: str, symbol: Symbol, numbered: bool) -> Iterator[str]:
    width = len(str(symbol.end_line))
    lines = split_lines(text)[symbol.start_line - 1 : symbol.end_line]
    for number, line in enumerate(lines, symbol.start_line):
        yield f"{number:>{width}} | {line.rstrip()}".rstrip() if numbered else line.rstrip()


def _class(
    text: str, symbol: Symbol, own: list[Symbol], shown: set[str], language: str
) -> Iterator[_Section]:
    """The enclosing class: its header, fields, and the signatures of the symbol's siblings."""
    container = symbol.name_path.rpartition(".")[0]
    outer = next((s for s in own if s.name_path == container), None)
    if outer is None:
        return
    first_line = doc(text, outer).split("\n")[0]
    own_language = language_of(symbol.path)
    head = f"{signature(text, outer)}{own_language.opener}"
    head += f"  {own_language.comment} {first_line}" if first_line else ""
    siblings = [s for s in own if s.name_path.rpartition(".")[0] == container and s.name_path not in shown]
    yield _Section(f"Its {outer.kind}", language, (head, *(f"    {_stub(text, s)}" for s in siblings)))


def _module(text: str, symbol: Symbol, own: list[Symbol], shown: set[str]) -> Iterator[str]:
    """Imports, then the other top-level definitions."""
    yield from map(_short, language_of(symbol.path).imports(text))
    outermost = symbol.name_path.partition(".")[0]
    for other in own:
        if "." not in other.name_path and other.name_path not in shown | {outermost}:
            yield _stub(text, other)


def _used_nearby(text: str, symbol: Symbol, own: list[Symbol]) -> Iterator[str]:
    """Without a server: definitions of this file, by name alone."""
    names = {use.name for use in language_of(symbol.path).uses(text, symbol.start_line, symbol.end_line)}
    container = symbol.name_path.rpartition(".")[0]
    for other in own:
        scope, _, name = other.name_path.rpartition(".")
        if name in names and scope in ("", container) and other.name_path != symbol.name_path:
            yield _stub(text, other)


def _stub(text: str, symbol: Symbol) -> str:
    first = doc(text, symbol).split("\n")[0].strip()
    mark = language_of(symbol.path).comment
    return _short(signature(text, symbol)) + (f"  {mark} {first}" if first else "")


def _short(line: str) -> str:
    return line if len(line) <= 160 else line[:157] + "..."


def _diagnostics(intel: Intel, symbol: Symbol) -> tuple[str, ...]:
    answer = intel.diagnostics(symbol.path)
    inside = [d for d in answer.items if symbol.start_line <= d.line <= symbol.end_line]
    return tuple(_told(d) for d in inside) if answer.freshness is Freshness.FOUND else ()


def _told(found: Diagnostic) -> str:
    message = " ".join(found.message.split())
    return f"line {found.line}: {found.severity} [{found.code or found.source}] {message}"


# --- packing ---------------------------------------------------------------------------------------


def _pack(sections: list[_Section], budget: int, count: CountTokens) -> str:
    """Lines in order of rank while they fit; what is cut is cut from a section's end, and counted.

    Lines are counted one by one, which misjudges joined text by little; the whole is counted at the end, and
    shortened until it fits.
    """
    kept: list[_Section] = []
    left = budget
    for section in sections:
        if section.lines and left > 0:
            lines, left = _fit(section, left, count)
            kept += [lines] if lines.lines else []
    while kept and count(_render(kept)) > budget:
        kept[-1] = _shorter(kept[-1])
        if not kept[-1].lines:
            kept.pop()
    return _render(kept)


def _fit(section: _Section, left: int, count: CountTokens) -> tuple[_Section, int]:
    """The lines that `left` tokens hold, and what is left then (0 where some were cut)."""
    left -= count(_block(replace(section, lines=("",))))
    for index, line in enumerate(section.lines):
        left -= count(line + "\n")
        if left < 0:
            return replace(section, lines=section.lines[:index], cut=len(section.lines) - index), 0
    return section, left


def _shorter(section: _Section) -> _Section:
    drop = max(1, len(section.lines) // 8)
    return replace(section, lines=section.lines[:-drop], cut=section.cut + drop)


def _render(sections: list[_Section]) -> str:
    return "\n".join(_block(section) for section in sections)


def _block(section: _Section) -> str:
    more = (f"… {section.cut} more line{'s' * (section.cut > 1)}",) if section.cut else ()
    body = "\n".join((*section.lines, *more))
    # Longer than any fence inside, so that a docstring cannot close it.
    longest = max((len(run) for run in re.findall(r"`{3,}", body)), default=2)
    fence = "`" * max(3, longest + 1)
    return f"### {section.title}\n{fence}{section.language}\n{body}\n{fence}\n"
