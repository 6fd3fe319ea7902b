"""Which definitions Python code leads to, by its tree.

Comes in: an index and a definition. Goes out: the definitions that it calls or names, with how sure that is. Imports
are followed to files, through re-exports; `self.x` to the class and its bases; a method of an unknown receiver by its
name, sure in proportion to how few bear it. Not covered: types (that is the language server's work), and names made at
run time.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from forklock.tools.languages.definitions import Call, Definition, Index, SyntaxProblem
from forklock.tools.languages.language import Calls
from forklock.tools.languages.python.outline import Function, definitions
from forklock.tools.languages.python.parsing import parse

MANY = 6
"""A method name with more definitions than this says nothing about an unknown receiver."""
MAX_REEXPORTS = 4
DUNDERS = {
    "reversed": ("__reversed__",),
    "len": ("__len__",),
    "iter": ("__iter__",),
    "list": ("__iter__", "__next__"),
    "tuple": ("__iter__", "__next__"),
    "sum": ("__iter__",),
    "sorted": ("__iter__", "__lt__"),
    "next": ("__next__",),
    "str": ("__str__",),
    "repr": ("__repr__",),
    "hash": ("__hash__",),
    "bool": ("__bool__", "__len__"),
}


class PythonCalls(Calls):
    """Look-ups over one index, with exact trees made on demand."""

    def __init__(self, index: Index, group: str) -> None:
        self.index = index
        self.group = group
        self._scopes: dict[str, _Scope] = {}

    def scope(self, path: str) -> _Scope:
        if path not in self._scopes:
            self._scopes[path] = _Scope(self, path)
        return self._scopes[path]

    def member(self, path: str, class_path: str, name: str) -> tuple[str, str] | None:
        return self.scope(path).member(class_path, name)

    def set_up(self, path: str, test: Definition) -> list[Call]:
        """Return fixtures that a test's parameters name, and its class's `setUp`."""
        if not isinstance(test.node, Function):
            return []
        scope = self.scope(path)
        names = [argument.arg for argument in test.node.args.args if argument.arg != "self"]
        found = [Call(path, name, 0.6, test.start_line) for name in names if name in scope.by_path]
        for name in ("setUp", "setup_method"):
            hit = scope.member(test.container, name) if test.container else None
            if hit and hit != (path, test.name_path):
                found.append(Call(*hit, 0.6, test.start_line))
        return found

    def calls(self, path: str, definition: Definition) -> list[Call]:
        """Return what a definition leads to, in source order."""
        node, inside = definition.node, definition.name_path
        if node is None:
            return []
        scope = self.scope(path)
        found = []
        builtin_lines: list[tuple[str, int]] = []
        made = _made(node)
        for mention in _mentions(node):
            instance = made.get(mention.names[0])
            names = (*instance, *mention.names[1:]) if instance and mention.names[1:] else mention.names
            hits = scope.resolve(_Mention(names, mention.line, mention.called), inside)
            found += [Call(p, n, s, mention.line) for p, n, s in hits]
            if not hits and mention.names[0] in DUNDERS and mention.called:
                builtin_lines.append((mention.names[0], mention.line))
        return found + self._dunders(found, builtin_lines)

    def _dunders(self, found: list[Call], builtins: list[tuple[str, int]]) -> list[Call]:
        """`reversed(C())` leads to `C.__reversed__`; making a `C` leads to its `__init__`."""
        made = []
        for target in found:
            names = self.scope(target.path).by_path
            if target.name_path in names and names[target.name_path].kind == "class":
                wanted = [("__init__", target.line, 1.0), ("__new__", target.line, 1.0)]
                wanted += [(d, line, 0.9) for b, line in builtins for d in DUNDERS[b]]
                for name, line, weight in wanted:
                    hit = self.scope(target.path).member(target.name_path, name)
                    if hit:
                        made.append(Call(*hit, target.surety * weight, line))
        return made


class _Scope:
    """One file's definitions and imports."""

    def __init__(self, graph: PythonCalls, path: str) -> None:
        self._graph = graph
        self.path = path
        text = graph.index.files[path].text
        tree = parse(text)
        self.tree = None if isinstance(tree, SyntaxProblem) else tree
        self.by_path = {d.name_path: d for d in definitions(text)}

    @cached_property
    def imports(self) -> dict[str, tuple[str, str]]:
        """Local name to (module, name in it); name is "" for a module itself, "*" kept under "*module"."""
        found: dict[str, tuple[str, str]] = {}
        for node in ast.walk(self.tree) if self.tree else ():
            if isinstance(node, ast.Import):
                for alias in node.names:
                    whole = alias.name if alias.asname else alias.name.partition(".")[0]
                    found[alias.asname or whole] = (whole, "")
            elif isinstance(node, ast.ImportFrom):
                module = self._absolute(node.module or "", node.level)
                for alias in node.names:
                    key = f"*{module}" if alias.name == "*" else alias.asname or alias.name
                    found[key] = (module, alias.name)
        return found

    def _absolute(self, module: str, level: int) -> str:
        if not level:
            return module
        file = self._graph.index.files[self.path]
        parts = file.module.split(".")
        if PurePosixPath(self.path).stem != "__init__":
            parts = parts[:-1]
        base = parts[: len(parts) - (level - 1)]
        return ".".join([*base, module] if module else base)

    def resolve(self, mention: _Mention, inside: str) -> list[tuple[str, str, float]]:
        """(path, name path, surety) of what a name or dotted name may be."""
        first, *rest = mention.names
        if first in {"self", "cls", "super()"} and rest:
            hit = self._own_member(inside, rest[0], above=first == "super()")
            return [(*hit, 1.0)] if hit else self._by_method_name(rest[-1])
        hits = self._name(first, inside, MAX_REEXPORTS)
        if not hits:
            return self._by_method_name(rest[-1]) if rest else []
        for name in rest:
            deeper = [(*hit, s) for p, n, s in hits if (hit := self._graph.scope(p).inner(n, name))]
            if not deeper:
                return [(p, n, s) for p, n, s in hits if n] + self._by_method_name(rest[-1])
            hits = deeper
        return [(p, n, s) for p, n, s in hits if n]

    def _name(self, name: str, inside: str, hops: int) -> list[tuple[str, str, float]]:
        """A bare name: in the enclosing functions, in the module, or imported. Name path "" is a module."""
        scope = inside
        while True:
            candidate = f"{scope}.{name}" if scope else name
            known = self.by_path.get(candidate)
            if known and (not scope or self.by_path[scope].kind != "class"):
                return [(self.path, candidate, 1.0)]
            if not scope:
                break
            scope = scope.rpartition(".")[0]
        return self._imported(name, hops)

    def _imported(self, name: str, hops: int) -> list[tuple[str, str, float]]:
        modules = self._graph.index.modules
        pairs = [self.imports[name]] if name in self.imports else []
        pairs += [
            (module, name) for key, (module, _) in self.imports.items() if key.startswith("*") and not pairs
        ]
        for module, original in pairs:
            submodule = f"{module}.{original}" if original else module
            if submodule in modules:
                return [(modules[submodule], "", 1.0)]
            if module in modules and hops:
                other = self._graph.scope(modules[module])
                hits = other._name(original, "", hops - 1) if original else []
                if hits:
                    return hits
        return []

    def inner(self, name_path: str, name: str) -> tuple[str, str] | None:
        """A member of a class, or a name in a module (`name_path` "")."""
        if not name_path:
            hits = self._name(name, "", MAX_REEXPORTS)
            return hits[0][:2] if hits else None
        return self.member(name_path, name)

    def member(self, class_path: str, name: str, depth: int = 5) -> tuple[str, str] | None:
        """A class's own member, or its bases'."""
        if f"{class_path}.{name}" in self.by_path:
            return self.path, f"{class_path}.{name}"
        known = self.by_path.get(class_path)
        if not known or not isinstance(known.node, ast.ClassDef) or not depth:
            return None
        for base in known.node.bases:
            names = _dotted(base)
            hits = self.resolve(_Mention(tuple(names), base.lineno, False), "") if names else []
            for path, name_path, _ in hits[:1]:
                hit = self._graph.scope(path).member(name_path, name, depth - 1)
                if hit:
                    return hit
        return None

    def _own_member(self, inside: str, name: str, *, above: bool) -> tuple[str, str] | None:
        scope = inside
        while scope and (scope not in self.by_path or self.by_path[scope].kind != "class"):
            scope = scope.rpartition(".")[0]
        hit = self.member(scope, name) if scope else None
        return hit if hit != (self.path, inside) or not above else None

    def _counts(self, path: str) -> bool:
        file = self._graph.index.files[path]
        return file.group == self._graph.group and not file.is_test

    def _by_method_name(self, name: str) -> list[tuple[str, str, float]]:
        places = [
            (path, head)
            for path, head in self._graph.index.defined.get(name, ())
            if head.kind == "method" and self._counts(path)
        ]
        if not 0 < len(places) <= MANY:
            return []
        return [(path, head.name_path, 0.7 / len(places)) for path, head in places]


@dataclass(frozen=True, slots=True)
class _Mention:
    names: tuple[str, ...]
    """`a.b.c` as ("a", "b", "c")."""
    line: int
    called: bool


def _mentions(node: ast.AST) -> Iterator[_Mention]:
    """Names read in a node, the longest dotted form of each, calls marked; in source order."""
    called = {id(part.func) for part in ast.walk(node) if isinstance(part, ast.Call)}
    stack: list[ast.AST] = [node]
    while stack:
        part = stack.pop()
        if isinstance(part, ast.Name | ast.Attribute):
            names = _dotted(part)
            if names:
                yield _Mention(tuple(names), part.lineno, id(part) in called)
                stack.extend(_below(part))
                continue
        stack.extend(reversed(list(ast.iter_child_nodes(part))))


def _made(node: ast.AST) -> dict[str, tuple[str, ...]]:
    """Local variables set once, to a call: after `x = C()` a mention of `x.m` is one of `C.m`."""
    found: dict[str, tuple[str, ...]] = {}
    again: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Assign) and len(part.targets) == 1 and isinstance(part.targets[0], ast.Name):
            name = part.targets[0].id
            if name in found:
                again.add(name)
            if isinstance(part.value, ast.Call):
                found[name] = tuple(_dotted(part.value.func))
    return {name: made for name, made in found.items() if name not in again and made and made[0] != "?"}


def _dotted(node: ast.AST) -> list[str]:
    """`C().m` gives ["C", "m"]: where `C` is a class its members are meant. `a[0].c` gives ["?", "c"]."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        made = node.value.func if isinstance(node.value, ast.Call) else node.value
        inner = _dotted(made)
        return [*inner, node.attr] if inner else ["?", node.attr]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super":
        return ["super()"]
    return []


def _below(node: ast.AST) -> list[ast.AST]:
    """What is left to visit under a dotted name: the expression that it hangs on, unless that is a name."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return [] if isinstance(node, ast.Name) else list(ast.iter_child_nodes(node))
