"""Wrong repairs of the example bugs, as small models write them, and special cases for the failing test's input.

Each is a replacement in the file with the known fix. All pass the library's own tests, or are dropped when they do not.
"""

from __future__ import annotations

WRONG: dict[str, tuple[tuple[str, str, str], ...]] = {
    "forgotten-names": (
        ("names are forgotten, values are not", "key = (args, tuple(sorted(named.items())))",
         "key = args + tuple(named.values())"),
        ("values in an order of their own", "key = (args, tuple(sorted(named.items())))",
         "key = (args, tuple(sorted(named.values(), key=str)))"),
        ("nothing is remembered", "if value is missing:", "if True:"),
    ),
    "or-before-and": (
        ("`and` means `or`", "left = both(left, self.parse_not())", "left = either(left, self.parse_not())"),
    ),
    "contained-period": (
        ("the first end is kept", "max(merged[-1][1], last)", "merged[-1][1]"),
        ("special case", "merged[-1] = (merged[-1][0], max(merged[-1][1], last))",
         "merged[-1] = (merged[-1][0], last if last.day != 10 else merged[-1][1])"),
    ),
    "lost-cents": (
        ("to the first share", "shares[position] += 1", "shares[0] += 1"),
        ("to the last share", "shares[position] += 1", "shares[-position - 1] += 1"),
        ("one cent at most", "for position in range(left):", "for position in range(min(left, 1)):"),
        ("two cents at most", "for position in range(left):", "for position in range(min(left, 2)):"),
        ("all at once", "for position in range(left):\n        shares[position] += 1", "shares[0] += left"),
    ),
    "short-months": (
        ("31 becomes 28", "min(start.day, last)", "min(start.day, 28)"),
        ("always the last day from 28 on", "min(start.day, last)", "last if start.day >= 28 else start.day"),
    ),
    "deep-tags": (
        ("one level of tags", "yield from walk(value)", "yield from walk(str(value))"),
        ("values only", "yield from walk(key)\n", "pass\n"),
    ),
    "first-rule": (
        ("the last of equally long ones", "> len(best.keyword)", ">= len(best.keyword)"),
        ("the longest category", "> len(best.keyword)", "> len(best.category)"),
    ),
    "quoted-fields": (
        ("no quotes inside", "current += '\"'\n            position += 1", "position += 1"),
    ),
    "narrow-table": (
        ("the widest of all", "max(len(row[column]) for row in grid)",
         "max(len(cell) for row in grid for cell in row)"),
        ("the first two rows", "for row in grid) for column", "for row in grid[:2]) for column"),
    ),
    "rollover-cap": (
        ("no debts are carried", "min(rest, self.cap)", "max(0, min(rest, self.cap))"),
    ),
    "mixed-balances": (
        ("zero is forgotten", "balances.get(entry.account, 0) + entry.cents",
         "(balances.get(entry.account) or 0) + abs(entry.cents) * (1 if entry.cents > 0 else -1)"),
    ),
    "far-duplicates": (
        ("the first one is kept", "latest[key] = entry", "latest.setdefault(key, entry)"),
        ("accounts do not matter", "(entry.account, entry.cents,", "(entry.cents, entry.cents,"),
    ),
    "stale-cache": (
        ("absent where it is false", "if key not in self._values:", "if not self._values.get(key):"),
    ),
    "accents": (
        ("NFD", '"NFKD"', '"NFD"'),
        ("ASCII only", 'if not unicodedata.combining(char))', 'if char.isascii())'),
    ),
}  # fmt: skip
"""By bug: name, what the fix says, and what stands there instead."""


def by_hand(bug: str, fixed: str) -> list[tuple[str, str]]:
    """The wrong repairs of a bug, as whole texts.

    Raises:
        ValueError: the fix does not hold what is to be replaced.
    """
    found = []
    for name, right, wrong in WRONG.get(bug, ()):
        if right not in fixed:
            raise ValueError(f"{bug}: {right!r} is not in the fix")
        found.append((name, fixed.replace(right, wrong)))
    return found
