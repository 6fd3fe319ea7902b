"""Lists the definitions of a text by name path, in any language that a server reads.

In: a path, a text, a server's documentSymbol. Out: `Outlined` symbols in source order. Languages that are
`outlined` are read by their text, whichever server is asked. In other languages the server's symbols are brought
to our form:
no locals except nested functions and classes; `A::b` is `A.b`; where several have one name, the longest, the
implementation, has the plain name.
"""

from __future__ import annotations

import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from lsprotocol import types as lsp

from forklock.tools.contract import Symbol
from forklock.tools.languages.known import language_of, symbols
from forklock.tools.languages.text import split_lines

Kind = Literal["class", "function", "method", "variable", "other"]
_K = lsp.SymbolKind
_KINDS: dict[lsp.SymbolKind, Kind] = {
    _K.Class: "class", _K.Struct: "class", _K.Interface: "class", _K.Enum: "class",
    _K.Function: "function", _K.Method: "method", _K.Constructor: "method", _K.Operator: "method",
    _K.Variable: "variable", _K.Constant: "variable", _K.Field: "variable", _K.Property: "variable",
    _K.EnumMember: "variable",
}  # fmt: skip
_NAME = re.compile(r"[\w$#@~][\w$#@~<>=!+*/%^&|,\[\]() -]*")
"""Servers also list callbacks and anonymous things for editors, by texts that are no names."""
_RECEIVER = re.compile(r"\(\*?(\w+)(?:\[[^\]]*\])?\)\.(\w+)")
"""gopls: `(*Shape).area`."""
_IMPL = re.compile(r"impl\b(?:.* for )? *[&*]*(?:'?\w+ )*(?:\w+::)*(\w+)(?: where .*)?")
"""rust-analyzer: `impl fmt::Display for Shape`, type parameters taken off."""


@dataclass(frozen=True, slots=True)
class Outlined:
    symbol: Symbol
    line: int
    """Line of its name, from 1."""
    column: int
    """Where its name begins."""


ToColumn = Callable[[lsp.Position], int]
_HELD = 256
"""Outlines kept."""


class Outlines:
    """The definitions of texts that servers were asked about."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[Path, str], list[Outlined]] = OrderedDict()

    def known(self, file: Path, shown: str, text: str) -> list[Symbol] | None:
        """The definitions if they are known without a server; else None."""
        if language_of(file.name).outlined:
            return _by_text(shown, text)
        held = self._held.get((file, text))
        return None if held is None else [one.symbol for one in held]

    def keep(self, file: Path, shown: str, text: str, found: Sequence[Any], column: ToColumn) -> list[Symbol]:
        """Keep the server's outline of this text, in our form."""
        if language_of(file.name).outlined:
            return _by_text(shown, text)
        self._held[file, text] = outlined(shown, text, found, column)
        while len(self._held) > _HELD:
            self._held.popitem(last=False)
        return [one.symbol for one in self._held[file, text]]

    def name_place(self, file: Path, text: str, symbol: Symbol) -> tuple[int, int]:
        """(line, column) of the symbol's own name."""
        for one in self._held.get((file, text), ()):
            if one.symbol == symbol:
                return one.line, one.column
        return _name_place(text, symbol)


@lru_cache(maxsize=64)
def _by_text(path: str, text: str) -> list[Symbol]:
    return symbols(path, text)


def _name_place(text: str, symbol: Symbol) -> tuple[int, int]:
    name = re.escape(symbol.name_path.rpartition(".")[2].partition("#")[0])
    lines = split_lines(text)[symbol.start_line - 1 : symbol.end_line]
    for pattern in (rf"^\s*(?:async\s+)?(?:def|class)\s+({name})\b", rf"\b({name})\b"):
        for offset, line in enumerate(lines):
            if found := re.search(pattern, line):
                return symbol.start_line + offset, found.start(1)
    return symbol.start_line, 0


def outlined(path: str, text: str, found: Sequence[Any], column: ToColumn) -> list[Outlined]:
    """Read a documentSymbol result, nested or flat."""
    if found and isinstance(found[0], lsp.SymbolInformation):
        told = [_flat(path, item, column) for item in found]
    else:
        told = list(_nested(path, found, "", "other", column))
    lines = split_lines(text)
    return _numbered([replace(one, symbol=_bare(one.symbol, one.line, lines)) for one in told])


def _bare(symbol: Symbol, name_line: int, lines: list[str]) -> Symbol:
    """Leave out the comment that rust-analyzer counts to a definition: its documentation stands before it."""
    start, block = symbol.start_line, False
    for line in (text.strip() for text in lines[start - 1 : name_line - 1]):
        block = block or line.startswith("/*")
        if not (block or line.startswith("//")):
            break
        block = block and not line.endswith("*/")
        start += 1
    return replace(symbol, start_line=start)


def holder(among: Iterable[Symbol], line: int) -> Symbol | None:
    """The innermost definition that holds a line."""
    holding = [s for s in among if s.start_line <= line <= s.end_line]
    return min(holding, key=lambda s: (s.end_line - s.start_line, -s.start_line), default=None)


def _nested(
    path: str, found: Iterable[Any], outer: str, inside: Kind, column: ToColumn
) -> Iterator[Outlined]:
    for item in sorted(found, key=lambda i: (i.range.start.line, i.range.start.character)):
        kind = _KINDS.get(item.kind, "other")
        if owner := _implemented(item.name):
            # No definition of its own: what it holds belongs to the type.
            yield from _nested(path, item.children or [], f"{outer}{owner}.", "class", column)
            continue
        name = _plain(item.name)
        if not name or (inside in ("function", "method") and kind in ("variable", "other")):
            # Not a name of ours, but what it holds may be.
            yield from _nested(path, item.children or [], outer, inside, column)
            continue
        if kind == "function" and inside == "class":
            kind = "method"
        start = item.selection_range.start
        symbol = _symbol(path, outer + name, kind, item.range)
        yield Outlined(symbol, start.line + 1, column(start))
        yield from _nested(path, item.children or [], f"{outer}{name}.", kind, column)


def _flat(path: str, item: Any, column: ToColumn) -> Outlined:
    container = _plain(item.container_name or "")
    name = (f"{container}." if container else "") + (_plain(item.name) or item.name)
    where = item.location.range
    symbol = _symbol(path, name, _KINDS.get(item.kind, "other"), where)
    return Outlined(symbol, where.start.line + 1, column(where.start))


def _plain(name: str) -> str:
    """`Shape::area`, `(*Shape).area` → `Shape.area`; "" where it is no name."""
    if method := _RECEIVER.fullmatch(name):
        return ".".join(method.groups())
    dotted = re.sub(r"<[^<>]*>(?=::)", "", name).replace("::", ".")
    return dotted if all(_NAME.fullmatch(part) for part in dotted.split(".")) and " " not in name else ""


def _implemented(name: str) -> str:
    """The type that a Rust `impl` is of; "" for anything else."""
    if not name.startswith("impl"):
        return ""
    while (plain := re.sub(r"<[^<>]*>", "", name)) != name:
        name = plain
    found = _IMPL.fullmatch(name)
    return found.group(1) if found else ""


def _symbol(path: str, name_path: str, kind: Kind, where: lsp.Range) -> Symbol:
    last = where.end.line + (1 if where.end.character or where.end.line == where.start.line else 0)
    return Symbol(path, name_path, kind, where.start.line + 1, last)


def _numbered(found: list[Outlined]) -> list[Outlined]:
    same: dict[str, list[int]] = defaultdict(list)
    for index, one in enumerate(found):
        same[one.symbol.name_path].append(index)
    for name_path, indices in same.items():
        ranked = sorted(indices, key=lambda i: (found[i].symbol.start_line - found[i].symbol.end_line, i))
        for number, index in enumerate([ranked[0], *sorted(ranked[1:])], 1):
            if number > 1:
                one = found[index]
                symbol = replace(one.symbol, name_path=f"{name_path}#{number}")
                found[index] = replace(one, symbol=symbol)
    return found
