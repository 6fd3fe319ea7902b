"""Monthly budgets with rollover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Envelope:
    """A monthly amount for one category. What is left moves on to the next month, up to `cap`."""

    category: str
    monthly: int
    cap: int | None = None
    notes: list[str] = field(default_factory=list)

    def available(self, spent: Sequence[int]) -> list[int]:
        """Cents left at the end of each month, given what was spent in each.

        A month that overspends starts the next one in the red. The cap bounds what is carried over.
        """
        left: list[int] = []
        carried = 0
        for cents in spent:
            rest = carried + self.monthly - cents
            left.append(rest)
            carried = rest if self.cap is None else min(rest, self.cap)
        return left


def plan(income: int, wishes: Mapping[str, int]) -> dict[str, int]:
    """Grant wishes in order until the income is used up; the one that does not fit gets what is left."""
    granted: dict[str, int] = {}
    for name, cents in wishes.items():
        part = min(cents, income)
        granted[name] = part
        income -= part
    return granted


def with_note(note: str, notes: list[str] | None = None) -> list[str]:
    """A list of notes with one more at its end; the given list is not changed."""
    return [*(notes or []), note]
