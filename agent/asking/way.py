"""The types that every way of asking shares: the question that goes in, what is asked, and the way itself.

A way is two functions. `ask` turns a `Question` into a request, or returns None where it cannot be asked; `read` turns
a completion into edits. The ways themselves lie in `forklock.agent.asking.ways`, one file each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from forklock.agent.asking.material import Material
from forklock.agent.asking.openings import function_header, openings
from forklock.agent.asking.prompts import Attempt
from forklock.agent.asking.protocol import Protocol
from forklock.agent.contract import Place, Reading
from forklock.models.contract import Completion, Request
from forklock.tools.contract import TestReport
from forklock.tools.languages.known import language_of
from forklock.tools.languages.language import Language


@dataclass(frozen=True, slots=True)
class Question:
    """One place to ask about, and what is known of it."""

    material: Material
    place: Place
    code: str
    """Source of the place as it stands, dedented; the whole file where the place is no definition."""
    report: TestReport
    turn: int = 0
    """How often this way was asked about this place before."""
    attempt: Attempt | None = None

    @property
    def language(self) -> Language:
        return language_of(self.place.path)

    @property
    def is_function(self) -> bool:
        """Whether the model is to rewrite one function. All ways but `repair` need that."""
        whole = self.material.protocol.name != "symbol" or self.place.symbol is None
        return not whole and bool(function_header(self.code, self.language))

    @property
    def openings(self) -> list[str]:
        """Beginnings of the code, each up to one of its statements (`forklock.agent.asking.openings`)."""
        return openings(self.code, self.language)

    @property
    def tests(self) -> tuple[str, ...]:
        """Sources of the first failing tests."""
        return self.material.tests(self.report)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and what is needed to read its answer."""

    request: Request
    place: Place
    code: str
    """The definition as it stands, dedented; "" for a whole file."""
    protocol: Protocol
    opening: str = ""
    """The beginning of `code` that the answer continues, where it is not the whole prefill."""
    indent: int = 0
    """Columns by which the answer is indented more than `code`."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way of asking a model for a change."""

    name: str
    """As `styles` in the settings and in logs has it."""
    ask: Callable[[Question], Asked | None]
    """Makes the request. Returns None where the engine or the code does not allow this way."""
    read: Callable[[Asked, Completion], Reading]
    """Reads one answer. Never raises: what is wrong with an answer is part of the `Reading`."""
    instead: str = "rewrite"
    """Name of the way that is asked where this one cannot be."""
