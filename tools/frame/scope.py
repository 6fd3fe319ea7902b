"""What a definition can see and who sees it, asked of the servers (room `tools/`).

In: an `Intel`, a symbol and its file's text. Out: one-line facts in source order (used names with signature
and first doc line, members of typed receivers, callers). Asking stops at the first question that is not
answered, and says so. Python only where it needs the text's tree; [] otherwise.
"""

from __future__ import annotations

import builtins
import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from forklock.tools.contract import Freshness, Location, LookupAnswer, Symbol
from forklock.tools.edits.files import is_python, split_lines
from forklock.tools.languages import cstyle
from forklock.tools.languages.symbols import doc, signature, symbols
from forklock.tools.languages.uses import Use, uses

if TYPE_CHECKING:
    from forklock.tools.lsp.intel import Intel

MAX_NAMES = 80
MAX_RECEIVERS = 6
MAX_MEMBERS = 16
_WHOLE = 400_000
"""Characters of an answer: definitions are wanted whole here, to be told by their signature."""
MAX_CALLERS = 12
_KNOWN = frozenset({"builtins", "typing", "typing_extensions", "types"})
"""Modules that any model knows by heart."""
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
    names = uses(symbol.path, text, symbol.start_line, symbol.end_line)[:MAX_NAMES]
    try:
        local = _used(intel, symbol, names, found)
        found.callers = _callers(intel, symbol)
        if is_python(symbol.path):
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
        if not use.attribute and is_python(symbol.path) and hasattr(builtins, use.name):
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
    """`signature  # name path in module: first doc line`; None for modules and Python's own types."""
    module = module_name(place.path)
    if not is_python(place.path):
        return _braced(place, module)
    if module in _KNOWN or not place.name_path:
        return _constant(place, module)
    head, words = told(place.snippet)
    if not head:
        return _constant(place, module)
    where = f"{place.name_path} in {module}" if "." in place.name_path else module
    return Fact(
        _cut(f"{head}  # {where}{': ' + words if words else ''}"), _near(place), place.name_path, place.path
    )


def _braced(place: Location, module: str) -> Fact | None:
    """A definition in a language with braces; None for what the language itself brings."""
    head = cstyle.head(place.snippet.split("\n"))
    if not head or not place.name_path or re.search(r"/typescript/lib/lib\.[\w.]*d\.ts$", place.path):
        return None
    return Fact(_cut(f"{head}  // {place.name_path} in {module}"), _near(place), place.name_path, place.path)


def _constant(place: Location, module: str) -> Fact | None:
    line = place.snippet.split("\n")[0].strip()
    if module in _KNOWN or "=" not in line or line.startswith(("import ", "from ")):
        return None
    return Fact(_cut(f"{line}  # {module}"), _near(place), place.name_path, place.path)


def told(source: str) -> tuple[str, str]:
    """(signature, first doc line) of a definition's source. A class is told with what makes an instance."""
    text = textwrap.dedent(source)
    inside = symbols("x.py", text)
    if not inside or inside[0].kind == "variable":
        return "", ""
    top = inside[0]
    head, words = signature(text, top), doc(text, top).split("\n")[0].strip()
    if top.kind == "class":
        made = next((s for s in inside if s.name_path == f"{top.name_path}.__init__"), None)
        own = [s for s in inside if s.kind == "variable" and s.name_path.count(".") == 1]
        fields = [signature(text, s) for s in own[:8] if ":" in signature(text, s).split("=")[0]]
        extra = signature(text, made).removeprefix("def ") if made else "; ".join(fields)
        head += f": {extra}" if extra else ""
    return head, words


def module_name(path: str) -> str:
    """`pkg.mod` for a file of a library or of the standard library; the path itself in the workspace."""
    if not path.startswith("/"):
        return path
    if not is_python(path):
        return path.rpartition("/node_modules/")[2] if "/node_modules/" in path else path
    parts = PurePosixPath(path).with_suffix("").parts
    cuts = [i for i, p in enumerate(parts) if p in ("site-packages", "dist-packages", "stdlib", "stubs")]
    cuts += [i for i, p in enumerate(parts) if re.fullmatch(r"python3\.\d+", p)]
    inner = parts[max(cuts) + 1 :] if cuts else parts[-1:]
    return ".".join(p for p in inner if p != "__init__") or parts[-1]


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


def _is_use(place: Location, symbol: Symbol) -> bool:
    inside = place.path == symbol.path and symbol.start_line <= place.line <= symbol.end_line
    return (
        not inside
        and _near(place)
        and not re.match(r"(from\s+\S+\s+)?import\b|#include\b|export\b.*\bfrom\b", place.snippet)
    )


def _call(place: Location) -> Fact:
    holder = f" in {place.name_path}" if place.name_path else ""
    mark = "#" if is_python(place.path) else "//"
    line = f"{place.snippet}  {mark} {place.path}:{place.line}{holder}"
    return Fact(_cut(line), True, place.name_path, place.path)
