"""Compares what names of a Python text mean by its scopes, before and after a rename.

In: a text before and after, the old and the new name. Out: what would mean something else afterwards. It uses
`symtable`, which the compiler uses, too. Pure. Not covered: attributes, and star imports of names.
"""

from __future__ import annotations

import builtins
import symtable
from collections.abc import Iterator
from dataclasses import dataclass

MODULE = ()
_BUILTIN = (-1,)
_NOWHERE = (-2,)
Path = tuple[int, ...]
"""A scope, by the indices of the scopes that lead to it."""


@dataclass(frozen=True)
class _Scope:
    table: symtable.SymbolTable
    outer: tuple[_Scope, ...]
    """From the module on."""
    path: Path

    def has(self, name: str) -> bool:
        return name in self.table.get_identifiers()

    def binds(self, name: str) -> bool:
        if not self.has(name):
            return False
        found = self.table.lookup(name)
        if found.is_declared_global() and self.path:
            return False
        return found.is_assigned() or found.is_imported() or found.is_parameter() or found.is_namespace()

    def meaning(self, name: str) -> Path:
        """The scope that binds the name as this scope sees it."""
        found = self.table.lookup(name)
        if self.binds(name) and not found.is_nonlocal():
            return self.path
        if not found.is_declared_global():
            for scope in reversed(self.outer[1:]):
                if scope.table.get_type() != "class" and scope.binds(name):
                    return scope.path
        module = (*self.outer, self)[0]
        if module.binds(name) or _declared_global(module.table, name):
            return MODULE
        return _BUILTIN if hasattr(builtins, name) else _NOWHERE


def _declared_global(table: symtable.SymbolTable, name: str) -> bool:
    for child in table.get_children():
        found = child.lookup(name) if name in child.get_identifiers() else None
        if found is not None and found.is_declared_global() and found.is_assigned():
            return True
        if _declared_global(child, name):
            return True
    return False


def changed_meaning(before: str, after: str, old: str, new: str) -> tuple[int, str] | None:
    """(line of the scope, what is wrong) where a name stands for something else after the rename; None where nothing
    changed, or a text does not parse."""
    try:
        was = list(_scopes(symtable.symtable(before, "<before>", "exec")))
        now = list(_scopes(symtable.symtable(after, "<after>", "exec")))
    except (SyntaxError, ValueError, RecursionError):
        return None
    if len(was) != len(now):
        return 1, f"{new} changes the scopes of the file"
    for one, two in zip(was, now, strict=True):
        if problem := _problem(one, two, old, new):
            return max(1, one.table.get_lineno()), problem
    return None


def _problem(was: _Scope, now: _Scope, old: str, new: str) -> str:
    renamed = was.has(old) and now.has(new) and not now.has(old)
    if was.has(new):
        meant = was.meaning(new)
        if now.has(new) and now.meaning(new) != meant:
            return f"{new}, which is used here already, would mean what is renamed"
        if renamed and meant not in (_BUILTIN, _NOWHERE) and was.meaning(old) == meant:
            return f"{new} is defined here already"
        if renamed:
            return f"{new} is used here already and means something else"
        return ""
    if renamed and was.meaning(old) != now.meaning(new):
        return f"{new} means something else here"
    return ""


def half_renamed(before: str, after: str, old: str, new: str) -> int | None:
    """A line of a scope that binds both names after the rename, because only some of several bindings were renamed;
    else None."""
    try:
        was = list(_scopes(symtable.symtable(before, "<before>", "exec")))
        now = list(_scopes(symtable.symtable(after, "<after>", "exec")))
    except (SyntaxError, ValueError, RecursionError):
        return None
    for one, two in zip(was, now, strict=False):
        if one.binds(old) and not one.has(new) and two.has(old) and two.binds(new):
            return max(1, one.table.get_lineno())
    return None


def _scopes(table: symtable.SymbolTable) -> Iterator[_Scope]:
    waiting = [_Scope(table, (), MODULE)]
    while waiting:
        scope = waiting.pop()
        yield scope
        inner = [
            _Scope(child, (*scope.outer, scope), (*scope.path, index))
            for index, child in enumerate(scope.table.get_children())
        ]
        waiting += reversed(inner)
