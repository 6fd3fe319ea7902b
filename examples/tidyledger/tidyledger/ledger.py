"""Entries and the ledger that holds them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Entry:
    """One booking. Positive cents come in, negative go out."""

    day: date
    account: str
    cents: int
    description: str
    category: str = ""


class Ledger:
    """Entries in the order of their days; entries of one day keep the order in which they were posted."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(sorted(self._entries, key=lambda entry: entry.day))

    def post(self, entry: Entry) -> None:
        """Add an entry.

        Raises:
            ValueError: the account has no name.
        """
        if not entry.account:
            raise ValueError("an entry needs an account")
        self._entries.append(entry)

    def transfer(self, day: date, source: str, target: str, cents: int, note: str = "transfer") -> None:
        """Move money between two accounts: out of one, into the other."""
        if cents <= 0:
            raise ValueError("a transfer moves a positive amount")
        self.post(Entry(day, source, -cents, note))
        self.post(Entry(day, target, cents, note))

    def balance(self, account: str, on: date | None = None) -> int:
        """Cents in an account at the end of a day, or after all entries."""
        return sum(
            entry.cents for entry in self if entry.account == account and (on is None or entry.day <= on)
        )

    def running(self) -> list[tuple[Entry, int]]:
        """Each entry, by day, with the balance of *its* account after it."""
        balances: dict[str, int] = {}
        rows: list[tuple[Entry, int]] = []
        for entry in self:
            balances[entry.account] = balances.get(entry.account, 0) + entry.cents
            rows.append((entry, balances[entry.account]))
        return rows

    def lowest(self, account: str) -> int:
        """The lowest balance that an account ever had, 0 before its first entry included."""
        return min([0, *(balance for entry, balance in self.running() if entry.account == account)])
