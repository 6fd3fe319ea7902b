"""Which definitions of a repo its Python files refer to, told by imports and by what a name belongs to.

In: an index. Out: for each file the definitions that it refers to, by (path, name path), weighted. A word in a
string, a comment or a document refers to nothing, nor does `x.pop` where nothing says what `x` is. Linear in the size
of the repo, by regular expressions. Not covered: types beyond `x = Class(...)`, names that parameters shadow.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import PurePosixPath

from forklock.tools.languages.definitions import Index, IndexedFile, Reference
from forklock.tools.languages.language import Language, References

Target = tuple[str, str]
"""(path, name path) of a definition."""
GUESSED = 0.3
"""Weight of `x.name` where one definition has the name and its module is imported."""
_FROM = re.compile(r"^[ \t]*from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n]+)", re.MULTILINE)
_IMPORT = re.compile(r"^[ \t]*import[ \t]+([^\n]+)", re.MULTILINE)
_CHAIN = re.compile(r"(?<![\w.])([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*)*)")
_MADE = re.compile(r"(?<![\w.])([A-Za-z_]\w*)[ \t]*(?::[^=\n]*)?=[ \t]*([A-Za-z_][\w.]*)\(")
_EVERYDAY = frozenset(
    name for kind in (str, bytes, list, dict, set, tuple, int, float, object, property) for name in dir(kind)
) | frozenset(
    {"args", "call", "close", "fileno", "flush", "func", "getvalue", "group", "id", "isatty", "kwargs", "len", "main",
     "match", "name", "next", "open", "parse", "path", "read", "reversed", "run", "search", "seek", "send", "sorted",
     "start", "stop", "tell", "throw", "type", "value", "wait", "write"}
)  # fmt: skip
"""Attributes that things of Python's own have, too."""


class PythonReferences(References):
    """What Python files refer to."""

    def __init__(self, index: Index, language: Language) -> None:
        super().__init__(index, language)
        self._files = {path: file for path, file in index.files.items() if file.group == language.group}
        self._named: dict[str, dict[str, Target | str]] = {}
        """By file: local name → a definition, or the path of a module."""

    def of(self, file: IndexedFile) -> Iterator[Reference]:
        return self._python(file)

    def _python(self, file: IndexedFile) -> Iterator[tuple[Target, int, float]]:
        names, made = self._names(file), self._made(file)
        near = {held if isinstance(held, str) else held[0] for held in names.values()} | {file.path}
        for target in names.values():
            if not isinstance(target, str):
                yield target, 1, 1.0  # the import itself
        heads = Counter(head.name for head in file.heads)
        for (base, rest), count in Counter(_CHAIN.findall(file.code)).items():
            attributes = rest.split(".")[1:]
            if not attributes:
                count -= heads[base]
            if count <= 0:
                continue
            owner = names.get(base) or made.get(base) or self._own.get(file.path, {}).get(base)
            if owner is not None:
                yield from ((target, count, 1.0) for target in self._along(owner, attributes))
            elif base in ("self", "cls") and attributes:
                yield from (
                    (t, count, 1.0) for t in self._members.get(attributes[0], ()) if t[0] == file.path
                )
            elif attributes:
                yield from ((target, count, weight) for target, weight in self._guessed(attributes[0], near))

    def _along(self, owner: Target | str, attributes: list[str]) -> Iterator[Target]:
        """The definitions on a way from a definition or module along attributes."""
        at: Target | str | None = owner
        for name in [*attributes, ""]:
            if isinstance(at, tuple):
                yield at
                path, name_path = at
                inner = f"{name_path}.{name}"
                at = (path, inner) if inner in self._paths.get(path, ()) else None
            elif at is not None:
                at = self._in_module(at, name, 0) if name else None
            if at is None:
                return

    def _guessed(self, name: str, near: set[str]) -> Iterator[tuple[Target, float]]:
        targets = self._members.get(name, ())
        if name in _EVERYDAY or not 0 < len(targets) <= self.COMMON:
            return
        for target in targets:
            if target[0] in near:
                yield target, GUESSED / len(targets)

    def _made(self, file: IndexedFile) -> dict[str, Target]:
        """Variables that are set to a new object of a class, and to nothing else."""
        names, found = self._names(file), dict[str, set[Target]]()
        for variable, maker in _MADE.findall(file.code):
            base, *attributes = maker.split(".")
            owner = names.get(base) or self._own.get(file.path, {}).get(base)
            way = list(self._along(owner, attributes)) if owner is not None else []
            ends = {way[-1]} if way and way[-1] in self._classes else {("", "")}
            found.setdefault(variable, set()).update(ends)
        return {
            name: next(iter(targets))
            for name, targets in found.items()
            if len(targets) == 1 and ("", "") not in targets
        }

    def _names(self, file: IndexedFile) -> dict[str, Target | str]:
        if file.path not in self._named:
            self._named[file.path] = {}  # modules that import each other
            self._named[file.path] = dict(self._imported(file))
        return self._named[file.path]

    def _imported(self, file: IndexedFile) -> Iterator[tuple[str, Target | str]]:
        for dots, module, names in _FROM.findall(file.code):
            path = self._module(_absolute(file, len(dots), module))
            for part in names.strip("() \t\n").replace("\n", " ").split(","):
                words = part.split()
                if path is None or not words:
                    continue
                if words[0] == "*":
                    yield from self._all_of(path)
                elif (held := self._in_module(path, words[0], 0)) is not None:
                    yield words[-1], held
        for names in _IMPORT.findall(file.code):
            for part in names.split(","):
                words = part.split()
                whole = words[0] if words else ""
                path = self._module(whole if len(words) == 3 else whole.partition(".")[0])
                if path is not None:
                    yield words[-1].partition(".")[0], path

    def _all_of(self, path: str) -> Iterator[tuple[str, Target | str]]:
        for name, target in self._own.get(path, {}).items():
            if not name.startswith("_"):
                yield name, target
        yield from self._named.get(path, {}).items()

    def _in_module(self, path: str, name: str, depth: int) -> Target | str | None:
        """What a name of a module is, through a few modules that pass it on."""
        own = self._own.get(path, {}).get(name)
        if own is not None or depth > 5:
            return own
        file = self._files.get(path)
        passed_on = self._names(file).get(name) if file is not None else None
        if passed_on is not None:
            return passed_on
        module = file.module if file is not None else ""
        return self._module(f"{module}.{name}" if module else name)

    def _module(self, dotted: str) -> str | None:
        return self._modules.get(dotted)

    @cached_property
    def _modules(self) -> dict[str, str]:
        """As `CodeIndex.modules`, a module before its stub, and by what is behind `src`, too."""
        found: dict[str, str] = {}
        for path in sorted(self._files, key=lambda p: (p.endswith(".pyi"), p)):
            module = self._files[path].module
            found.setdefault(module, path)
            _, source, behind = f".{module}".rpartition(".src.")
            if source:
                found.setdefault(behind, path)
        return found

    @cached_property
    def _own(self) -> dict[str, dict[str, Target]]:
        """By file: its functions and classes at the top."""
        return {
            path: {head.name: (path, head.name_path) for head in file.heads if head.depth == 0}
            for path, file in self._files.items()
        }

    @cached_property
    def _paths(self) -> dict[str, set[str]]:
        return {path: {head.name_path for head in file.heads} for path, file in self._files.items()}

    @cached_property
    def _classes(self) -> set[Target]:
        return {(p, h.name_path) for p, file in self._files.items() for h in file.heads if h.kind == "class"}

    @cached_property
    def _members(self) -> dict[str, list[Target]]:
        found: dict[str, list[Target]] = defaultdict(list)
        for path, file in self._files.items():
            for head in file.heads:
                if head.kind == "method":
                    found[head.name].append((path, head.name_path))
        return found


def _absolute(file: IndexedFile, dots: int, module: str) -> str:
    if not dots:
        return module
    package = file.module if PurePosixPath(file.path).stem == "__init__" else file.module.rpartition(".")[0]
    parts = package.split(".") if package else []
    kept = parts[: len(parts) - (dots - 1)] if dots > 1 else parts
    return ".".join([*kept, *([module] if module else [])])
