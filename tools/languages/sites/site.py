"""The type of a site: a piece of code that a rule can replace, alike in all languages. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SiteKind = Literal["operator", "number", "truth", "negation", "arguments", "statement", "branch", "name"]


@dataclass(frozen=True, slots=True)
class Site:
    """A piece of a text, by offsets in code points."""

    kind: SiteKind
    """`operator`: an infix operator's words. `number`: a whole number. `truth`: a boolean constant. `negation`: a
    negated expression. `arguments`: the plain arguments of a call. `statement`: one without a body. `branch`: a
    condition with its body. `name`: a variable that is read."""
    start: int
    end: int
    text: str
    parts: tuple[tuple[int, int], ...] = ()
    """Offsets: a negation's operand; each argument; a branch's condition, and its body where there is no `else`."""
    scope: int = 0
    """Offset at which the innermost function around it begins."""
