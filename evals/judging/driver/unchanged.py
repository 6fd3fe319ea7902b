"""evals: is a loaded program still as it was when it had been loaded? Pure; runs inside the sandbox.

In: the namespace of a program that `driver_contained` let through. Out: whether all that it holds is the same, thing by
thing, where none of it can change inside: then the next test meets what a newly loaded program would be, and loading it
again can be spared. Where anything can hold more than itself (a list, a cache, a closure) the answer is no.
"""

from __future__ import annotations

import operator
import types
from collections.abc import Iterable
from typing import Any

_PLAIN = frozenset({int, float, complex, str, bytes, bool, type(None), range, type(...)})
_SLOTS = (types.GetSetDescriptorType, types.MemberDescriptorType)


class Kept:
    """A namespace as it was when this was made."""

    def __init__(self, space: dict[str, Any]) -> None:
        self._space = space
        self._own: list[Any] = []
        """Its functions and classes, which could be given something."""
        self.can_hold = not all(map(self._is_fixed, space.values(), space))
        """Something in it can hold more than itself: then it never counts as it was."""
        self._names, self._values, self._insides = list(space), list(space.values()), self._within()

    def is_as_before(self) -> bool:
        if self.can_hold:
            return False
        space = self._space
        if len(space) != len(self._names):
            return False
        if not (
            _same(space, self._names) and _same(space.values(), self._values)
        ):  # a name may hold more, too
            return False
        within = self._within()
        return len(within) == len(self._insides) and _same(within, self._insides)

    def _within(self) -> list[Any]:
        found: list[Any] = []
        for one in self._own:
            if isinstance(one, type):
                found += (one.__bases__, *vars(one), *vars(one).values())
            else:
                found += (one.__code__, one.__defaults__, one.__kwdefaults__, *one.__dict__.values())
        return found

    def _is_fixed(self, value: Any, name: str = "") -> bool:
        """Nothing can be put into it that is not looked at."""
        kind = type(value)
        if kind in _PLAIN or kind is types.ModuleType or name == "__builtins__":  # no program here names that
            return True
        if kind in (tuple, frozenset):
            return all(map(self._is_fixed, value))
        if kind is types.FunctionType:
            return value.__globals__ is not self._space or self._is_fixed_function(value)
        if isinstance(value, type):
            own = value.__module__ == self._space["__name__"]
            return not own or (kind is type and self._is_fixed_class(value))
        if kind is types.BuiltinFunctionType:
            return isinstance(value.__self__, (types.ModuleType, type(None)))
        return kind.__module__ == "typing"

    def _is_fixed_function(self, value: types.FunctionType) -> bool:
        self._own.append(value)
        return not (value.__closure__ or value.__kwdefaults__ or value.__dict__) and self._is_fixed(
            value.__defaults__
        )

    def _is_fixed_class(self, value: type) -> bool:
        self._own.append(value)
        return all(type(one) in _SLOTS or self._is_fixed(one) for one in vars(value).values())


def _same(these: Iterable[Any], those: Iterable[Any]) -> bool:
    """Of two that are as long: thing by thing the very same."""
    return all(map(operator.is_, these, those))
