"""Reports: sums by group, and tables as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tidyledger.ledger import Entry
from tidyledger.money import format_cents


def sums_by(entries: Iterable[Entry], key: Callable[[Entry], str]) -> dict[str, int]:
    """Cents by group, groups in order of first appearance."""
    sums: dict[str, int] = {}
    for entry in entries:
        name = key(entry)
        sums[name] = sums.get(name, 0) + entry.cents
    return sums


def largest(sums: dict[str, int], count: int) -> list[tuple[str, int]]:
    """The `count` groups with the largest amounts either way; equal amounts by name."""
    return sorted(sums.items(), key=lambda item: (-abs(item[1]), item[0]))[:count]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A text table: the first column is left-aligned, all others right-aligned, two spaces between.

    Each column is as wide as its widest cell.
    """
    grid = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[column]) for row in grid) for column in range(len(header))]
    lines = []
    for row in grid:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def category_report(entries: Iterable[Entry], count: int = 10) -> str:
    """The largest categories as a table."""
    sums = sums_by(entries, lambda entry: entry.category or "none")
    rows = [(name, format_cents(cents)) for name, cents in largest(sums, count)]
    return table(("category", "amount"), rows)
