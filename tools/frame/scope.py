"""What a definition can see and who sees it, asked of the servers (room `tools/`).

In: an `Intel`, a symbol and its file's text. Out: one-line facts in source order (used names with signature
and first doc line, members of typed receivers, callers). Asking stops at the first question that is not
answered, and says so. Python only where it needs the text's tree; [] otherwise.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forklock.tools.contract import Freshness, Location, LookupAnswer, Symbol
from forklock.tools.languages.definitions import Use
from forklock.tools.languages.known import language_of
from forklock.tools.languages.text import split_lines

if TYPE_CHECKING:
    from forklock.tools.lsp.intel import Intel

MAX_NAMES = 80
MAX_RECEIVERS = 6
MAX_MEMBERS = 16
_WHOLE = 400_000
"""Characters of an answer: definitions are wanted whole here, to be told by their signature."""
MAX_CALLERS = 12
_LINE = 200


@dataclass(frozen=True, slots=True)
class Fact:
    text: str
    """One line, ready to show."""
    near: bool
    """In the workspace, not in a library."""
    name_path: str = ""
    path: str = ""


@dataclass(slots=True)
class Surroundings:
    used: list[Fact] = field(default_factory=list)
    members: list[Fact] = field(default_factory=list)
    callers: list[Fact] = field(default_factory=list)
    silent: str = ""
    """Why the servers did not answer; "" where they did."""


class _Silent(Exception):
    pass


def survey(intel: Intel, symbol: Symbol, text: str) -> Surroundings:
    """Ask about every name in the symbol, its typed receivers, and its callers."""
    found = Surroundings()
    language = language_of(symbol.path)
    names = language.uses(text, symbol.start_line, symbol.end_line)[:MAX_NAMES]
    try:
        local = _used(intel, symbol, names, found)
        found.callers = _callers(intel, symbol)
        if language.lists_members:
            found.members = list(_members(intel, symbol, text, [n for n in names if n.dotted in local]))
    except _Silent as exc:
        found.silent = str(exc)
    return found


def _answered(answer: LookupAnswer) -> LookupAnswer:
    if answer.freshness in (Freshness.TIMED_OUT, Freshness.UNAVAILABLE):
        raise _Silent(f"{answer.freshness.value}: {answer.detail}")
    return answer


# --- used names ------------------------------------------------------------------------------------


def _used(intel: Intel, symbol: Symbol, names: list[Use], found: Surroundings) -> set[str]:
    """Fill `found.used`; return the names that are the symbol's own variables and parameters."""
    local = set()
    for use in names:
        if not use.attribute and language_of(symbol.path).brings(use.name):
            continue
        answer = _answered(intel.definition(symbol.path, use.line, use.column, max_chars=_WHOLE))
        place = next(iter(answer.locations), None)
        if place is None:
            continue
        if place.path == symbol.path and symbol.start_line <= place.line <= symbol.end_line:
            if not use.attribute and place.name_path != use.name:
                local.add(use.dotted)
            continue
        fact = _fact(place)
        if fact and all(fact.text != other.text for other in found.used):
            found.used.append(fact)
    return local


def _fact(place: Location) -> Fact | None:
    """`signature  # name path in module: first doc line`; None for modules and the language's own types."""
    line = language_of(place.path).described(place.name_path, place.path, place.snippet)
    return Fact(_cut(line), _near(place), place.name_path, place.path) if line else None


def _near(place: Location) -> bool:
    return not place.path.startswith("/")


def _cut(line: str) -> str:
    return line if len(line) <= _LINE else line[: _LINE - 3] + "..."


# --- members ---------------------------------------------------------------------------------------


def _members(intel: Intel, symbol: Symbol, text: str, local: list[Use]) -> Iterator[Fact]:
    """What could follow the dot after each local name whose type is known, one line a type."""
    seen: set[str] = set()
    for use in [u for u in local if u.name not in ("self", "cls")]:
        if len(seen) == MAX_RECEIVERS:
            return
        kind = _type_of(_answered(intel.hover(symbol.path, use.line, use.column)).text)
        if not kind or kind in seen or kind in _PLAIN or kind.startswith(_OPEN):
            continue
        lines = _complete(intel, symbol.path, text, use)
        if lines:
            seen.add(kind)
            yield Fact(f"{use.name}: {kind}  →  {', '.join(lines)}", near=True)


_PLAIN = frozenset({"str", "int", "float", "bool", "bytes", "None", "Any", "Unknown", "object"})
_OPEN = ("list[", "dict[", "set[", "tuple[", "Literal[", "type[", "<module", "<class", "def ", "(")


def _type_of(hover: str) -> str:
    """The first line of a hover, without what basedpyright puts before it."""
    line = hover.strip().split("\n")[0].removeprefix("```python").strip()
    plain = re.sub(r"^\((?:variable|parameter|constant)\)\s+\w+:\s*", "", line)
    return plain if len(plain) <= 80 else ""


def _complete(intel: Intel, path: str, text: str, use: Use) -> list[str]:
    """Members of a local, asked as `name.` in a line of its own before the statement that uses it."""
    lines = split_lines(text)
    indent = re.match(r"[ \t]*", lines[use.statement - 1])
    probe = f"{indent.group() if indent else ''}{use.name}."
    asked = "".join([*lines[: use.statement - 1], probe, "\n", *lines[use.statement - 1 :]])
    answer = _answered(intel.completion(path, use.statement, len(probe), text=asked, max_chars=_WHOLE))
    shown = [_member(line) for line in answer.text.split("\n") if line and not line.startswith("_")]
    return [*shown[:MAX_MEMBERS], f"{len(shown) - MAX_MEMBERS} more"] if len(shown) > MAX_MEMBERS else shown


def _member(line: str) -> str:
    """`add: bound method C.add(x: int) -> int` → `add(x: int) -> int`."""
    label, _, detail = line.partition(": ")
    call = re.match(r"(?:bound method |def |Overload).*?(\(.*)", detail)
    full = f"{label}{call.group(1)}" if call else f"{label}: {detail}" if detail else label
    return full if len(full) <= 90 else label + ("(…)" if call else "")


# --- callers ---------------------------------------------------------------------------------------


def _callers(intel: Intel, symbol: Symbol) -> list[Fact]:
    """Lines that use the symbol. Of many, one from each definition comes before a second from any."""
    answer = _answered(intel.references_of(symbol.name_path, symbol.path, max_chars=_WHOLE))
    places = [place for place in answer.locations if _is_use(place, symbol)]
    turns: Counter[tuple[str, str]] = Counter()
    ranked = []
    for index, place in enumerate(places):
        holder = (place.path, place.name_path)
        ranked.append((turns[holder], index, place))
        turns[holder] += 1
    return [_call(place) for _, _, place in sorted(ranked, key=lambda r: r[:2])[:MAX_CALLERS]]


_IMPORT = re.compile(r"(from\s+\S+\s+)?import\b|#include\b|export\b.*\bfrom\b")


def _is_use(place: Location, symbol: Symbol) -> bool:
    inside = place.path == symbol.path and symbol.start_line <= place.line <= symbol.end_line
    return not inside and _near(place) and not _IMPORT.match(place.snippet)


def _call(place: Location) -> Fact:
    holder = f" in {place.name_path}" if place.name_path else ""
    mark = language_of(place.path).comment
    line = f"{place.snippet}  {mark} {place.path}:{place.line}{holder}"
    return Fact(_cut(line), True, place.name_path, place.path)
