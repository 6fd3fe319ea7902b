"""Finds definitions of Python that have to keep one name: overrides, twins of `try`/`except`, stubs.

In: the texts of a workspace, a symbol. Out: the classes that may share a member, and why two definitions belong
together. Classes are joined by the bare names of their bases, so some count as related that are not. Pure. Not
covered: classes made by calls.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from forklock.tools.contract import Symbol
from forklock.tools.languages.by_eye.naming import Classes
from forklock.tools.languages.definitions import bare, owner

_CLASS = re.compile(r"^[ \t]*class[ \t]+(\w+)[ \t]*(?:\[[^\]]*\])?[ \t]*(?:\(([^)]*)\))?", re.MULTILINE)
_BASE = re.compile(r"(?:[\w]+\.)*(\w+)(?:\[.*\])?")
_OPEN = frozenset(
    {"object", "ABC", "Generic", "Enum", "IntEnum", "StrEnum", "Flag", "Exception", "BaseException", "NamedTuple",
     "TypedDict", "Protocol", "BaseModel", "ValueError", "RuntimeError", "TypeError", "KeyError", "str", "int", "dict",
     "list", "tuple", "float", "TestCase", "Thread"}
)  # fmt: skip
"""Bases that join nothing: what two classes have of them is not what they share in this workspace."""


class PythonClasses(Classes):
    """The classes of Python texts, joined where one is a base of the other."""

    def __init__(self, texts: Iterable[tuple[str, str]]) -> None:
        """`texts`: (path, text)."""
        super().__init__()
        self._near: dict[str, set[str]] = defaultdict(set)
        self._bases: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for path, text in texts:
            if "class" in text:
                self._read(path, text)

    def _read(self, path: str, text: str) -> None:
        for match in _CLASS.finditer(text):
            name = match[1]
            self._bases[name] |= set()
            for part in _split(match[2] or ""):
                found = _BASE.match(part)
                if found is None or "=" in part:
                    continue
                base = found[1]
                self._bases[name].add((path, part.partition("[")[0].strip()))
                if base == "Protocol":
                    self.protocols.add(name)
                if base not in _OPEN:
                    self._near[name].add(base)
                    self._near[base].add(name)

    def family(self, name: str) -> set[str]:
        """All classes that are joined with this one, itself included, and every protocol: which classes fit a
        protocol is written nowhere."""
        found, waiting = {name}, [name]
        while waiting:
            for other in self._near.get(waiting.pop(), ()):
                if other not in found:
                    found.add(other)
                    waiting.append(other)
        return found | self.protocols

    def outer_bases(self, name: str) -> list[tuple[str, str]]:
        """(file, base as written) for each base that is not in these texts, of this class and those that are joined
        with it."""
        family = self.family(name) - (self.protocols - {name})
        found = {pair for one in family for pair in self._bases.get(one, ())}
        plain = (pair for pair in found if re.fullmatch(r"[\w.]+", pair[1]))
        return sorted(
            (path, base) for path, base in plain if bare(base) not in self._bases and base != "object"
        )


def _split(bases: str) -> list[str]:
    """Split at commas outside of brackets."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(bases):
        depth += (char in "[(") - (char in "])")
        if char == "," and depth == 0:
            parts.append(bases[start:at])
            start = at + 1
    return [part.strip() for part in [*parts, bases[start:]] if part.strip()]


def stub_of(path: str) -> str:
    """The stub of a module, or the module of a stub."""
    pure = PurePosixPath(path)
    return str(pure.with_suffix(".py" if pure.suffix == ".pyi" else ".pyi"))


def relation(symbol: Symbol, other: Symbol, family: Iterable[str]) -> str:
    """Why `other` may have to keep the name of `symbol`; "" where it is a definition of its own."""
    if bare(symbol.name_path) != bare(other.name_path):
        return ""
    same_scope = symbol.name_path.partition("#")[0] == other.name_path.partition("#")[0]
    if same_scope and other.path == symbol.path:
        return "another definition of the same name in the same scope"
    if same_scope and other.path == stub_of(symbol.path):
        return "the definition in the stub"
    if owner(symbol) and owner(other) and owner(other) in family:
        return f"may override or be overridden: {other.name_path}"
    return ""


def reachable(symbol: Symbol, kinds: Mapping[str, str]) -> bool:
    """Whether code outside of its function can name the symbol. `kinds` are those of the file's definitions, by name
    path."""
    outer = symbol.name_path.rpartition(".")[0]
    while outer:
        if kinds.get(outer) in ("function", "method"):
            return False
        outer = outer.rpartition(".")[0]
    return True
