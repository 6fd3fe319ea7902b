"""Deadlines that callers set around calls of an engine, without a parameter in every signature.

In: `with within(seconds)`. Out: every request of the engines inside is bounded by what is left of it, and
`OutOfTime` is raised when nothing is. Deadlines nest; the nearest one counts. Threads that an engine starts get
their bound from the thread that called the engine.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from forklock.models.contract import ModelFault

_END: ContextVar[float | None] = ContextVar("forklock_deadline", default=None)
"""On `time.monotonic`'s clock."""


class OutOfTime(ModelFault):
    """The caller's time is used up; what was asked for is abandoned."""


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Bound the engine calls inside to `seconds` from now; None adds no bound."""
    if seconds is None:
        yield
        return
    end, outer = time.monotonic() + seconds, _END.get()
    token = _END.set(end if outer is None else min(end, outer))
    try:
        yield
    finally:
        _END.reset(token)


def remaining() -> float | None:
    """Seconds until the nearest deadline, negative once it has passed; None without one."""
    end = _END.get()
    return None if end is None else end - time.monotonic()


def bounded(seconds: float) -> float:
    """`seconds`, or what is left until the deadline if that is less.

    Raises:
        OutOfTime: nothing is left.
    """
    left = remaining()
    if left is not None and left <= 0:
        raise out_of_time()
    return seconds if left is None else min(seconds, left)


def check() -> None:
    """
    Raises:
        OutOfTime: the deadline has passed.
    """
    bounded(0.0)


@dataclass(slots=True)
class Until:
    """The deadline around the call of an engine, for the threads that work on it."""

    _left: float | None = field(default_factory=remaining)
    _began: float = field(default_factory=time.monotonic)

    def left(self, most: float) -> float:
        """`most` seconds, or what is left if that is less.

        Raises:
            OutOfTime: nothing is left.
        """
        if self._left is None:
            return most
        left = self._left - (time.monotonic() - self._began)
        if left <= 0:
            raise out_of_time()
        return min(left, most)


def out_of_time() -> OutOfTime:
    return OutOfTime("The time for this run is used up.", fix="Allow more with --seconds.")
