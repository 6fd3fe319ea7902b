"""Bank statements: from CSV text to entries, and duplicates among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

from tidyledger.ledger import Entry
from tidyledger.money import parse_cents
from tidyledger.text import normalise

ALIASES = {
    "day": ("date", "day", "booking date", "datum"),
    "cents": ("amount", "value", "betrag"),
    "description": ("description", "text", "payee", "verwendungszweck"),
}


def split_line(line: str, separator: str = ",") -> list[str]:
    """Fields of one CSV line. A field in double quotes may hold separators; `""` in it is one quote."""
    fields: list[str] = []
    current = ""
    quoted = False
    position = 0
    while position < len(line):
        char = line[position]
        if quoted and char == '"' and line[position + 1 : position + 2] == '"':
            current += '"'
            position += 1
        elif char == '"':
            quoted = not quoted
        elif char == separator and not quoted:
            fields.append(current)
            current = ""
        else:
            current += char
        position += 1
    fields.append(current)
    return fields


def columns(header: Sequence[str]) -> dict[str, int]:
    """Where each known column stands in the header.

    Raises:
        ValueError: a needed column is missing.
    """
    names = [normalise(name) for name in header]
    found: dict[str, int] = {}
    for column, aliases in ALIASES.items():
        for position, name in enumerate(names):
            if name in aliases:
                found[column] = position
                break
        else:
            raise ValueError(f"no column for {column}")
    return found


def read_statement(text: str, account: str, separator: str = ",") -> list[Entry]:
    """Entries of a statement; the first line names the columns, empty lines are skipped."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return []
    where = columns(split_line(lines[0], separator))
    entries = []
    for line in lines[1:]:
        fields = split_line(line, separator)
        entries.append(
            Entry(
                day=date.fromisoformat(fields[where["day"]].strip()),
                account=account,
                cents=parse_cents(fields[where["cents"]]),
                description=fields[where["description"]].strip(),
            )
        )
    return entries


def duplicates(entries: Iterable[Entry], window_days: int = 3) -> list[tuple[Entry, Entry]]:
    """Pairs that look like one booking imported twice.

    Same account and amount, same description after normalising, at most `window_days` apart. Each entry
    is paired with the latest earlier one that matches it.
    """
    latest: dict[tuple[str, int, str], Entry] = {}
    pairs: list[tuple[Entry, Entry]] = []
    for entry in sorted(entries, key=lambda entry: entry.day):
        key = (entry.account, entry.cents, normalise(entry.description))
        earlier = latest.get(key)
        if earlier is not None and entry.day - earlier.day <= timedelta(days=window_days):
            pairs.append((earlier, entry))
        latest[key] = entry
    return pairs
