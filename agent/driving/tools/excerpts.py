"""Cuts long texts to what a model is shown, and says what is left out and how to read on. Pure."""

from __future__ import annotations

from collections.abc import Sequence

MAX_CHARS = 6000
"""Most characters of one text in an answer."""
MAX_LINES = 200
LINE_CHARS = 400
"""A longer line is cut."""


def clip(text: str, limit: int = MAX_CHARS) -> str:
    """Cuts a text after whole lines, and says how much is left out."""
    if len(text) <= limit:
        return text
    kept = text[:limit].rpartition("\n")[0] or text[:limit]
    return f"{kept}\n… {text.count(chr(10), len(kept)) + 1} more lines"


def page(text: str, offset: int = 0, limit: int = MAX_CHARS) -> str:
    """Cuts a page out of a text, from line `offset` (from 0), and says how to ask for the rest."""
    lines = text.split("\n")
    if offset >= len(lines) and offset:
        return f"there are {len(lines)} lines"
    taken, size = list[str](), 0
    for line in lines[offset:]:
        size += len(line) + 1
        if size > limit and taken:
            break
        taken.append(line if len(line) <= limit else f"{line[:limit]}… {len(line) - limit} more characters")
    rest = len(lines) - offset - len(taken)
    if not rest:
        return "\n".join(taken)
    return "\n".join([*taken, f"… {rest} more lines: ask again with offset={offset + len(taken)}"])


def clip_middle(text: str, limit: int) -> str:
    """Cuts the middle out of a text: test runners print the cause first and the sum last."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters …\n{text[-half:]}"


def numbered(lines: Sequence[str], first: int, limit: int = MAX_CHARS) -> tuple[str, int]:
    """Write lines with their numbers before them, as many as fit.

    Args:
        first: number of the first line, from 1.

    Returns:
        The text, and the number of the last line in it (`first - 1` for none).
    """
    width = len(str(first + len(lines)))
    rows: list[str] = []
    size = 0
    for number, line in enumerate(lines[:MAX_LINES], first):
        row = f"{number:>{width}} | {cut_line(line.rstrip())}".rstrip()
        size += len(row) + 1
        if size > limit and rows:
            break
        rows.append(row)
    return "\n".join(rows), first + len(rows) - 1


def cut_line(line: str, limit: int = LINE_CHARS) -> str:
    """Cut a long line, and say how much is left out."""
    return line if len(line) <= limit else f"{line[:limit]}… {len(line) - limit} more characters"
