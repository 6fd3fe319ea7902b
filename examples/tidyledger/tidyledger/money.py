"""Money is an integer number of cents everywhere; these functions are its only way in and out."""

from __future__ import annotations

from collections.abc import Sequence


def parse_cents(text: str) -> int:
    """Parse an amount as people and banks write it.

    Understands a leading or trailing minus, currency signs, spaces, thousands separators, and both
    decimal marks: the last of `.` and `,` is decimal when one or two digits follow it.

    >>> parse_cents("1.234,56")
    123456
    """
    body = text.strip().strip("€$£ ").replace(" ", "").replace("\u00a0", "")
    negative = body.startswith("-") or body.endswith("-")
    body = body.strip("-+€$£")
    mark = max(body.rfind("."), body.rfind(","))
    if mark >= 0 and 1 <= len(body) - mark - 1 <= 2:
        whole, fraction = body[:mark], body[mark + 1 :]
    else:
        whole, fraction = body, ""
    digits = whole.replace(".", "").replace(",", "") or "0"
    if not (digits + fraction).isdigit():
        raise ValueError(f"not an amount: {text!r}")
    cents = int(digits) * 100 + int(fraction.ljust(2, "0") or "0")
    return -cents if negative else cents


def format_cents(cents: int, symbol: str = "") -> str:
    """Format cents with thousands separators and two decimals: `-1,234.50`."""
    sign = "-" if cents < 0 else ""
    whole, fraction = divmod(abs(cents), 100)
    return f"{sign}{symbol}{whole:,}.{fraction:02d}"


def allocate(cents: int, weights: Sequence[int]) -> list[int]:
    """Share an amount by weights without losing a cent.

    Each share is rounded down; the cents that are left over go one by one to the first shares.
    """
    total = sum(weights)
    if total <= 0:
        raise ValueError("weights must have a positive sum")
    shares = [cents * weight // total for weight in weights]
    left = cents - sum(shares)
    for position in range(left):
        shares[position] += 1
    return shares
