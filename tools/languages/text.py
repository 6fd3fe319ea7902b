"""Text as files hold it: line ends, byte order marks, lines as Python counts them. Pure.

Lines are split as Python splits them (LF, CRLF, CR; never form feed or U+2028), so numbers agree with `ast` and
tracebacks.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_BOM = "\ufeff"


def split_lines(text: str) -> list[str]:
    """Return lines with their ends, as Python's tokenizer counts them."""
    return _LINE.findall(text)


def to_lf(text: str) -> str:
    """Return the text without byte order mark and with LF line ends: what `ast` and `tokenize` see."""
    return text.removeprefix(_BOM).replace("\r\n", "\n").replace("\r", "\n")


@lru_cache(maxsize=16)
def lf(text: str) -> str:
    """`to_lf`, cached here and in `lines_of`, so that all symbols of a text cost one pass over it."""
    return to_lf(text)


@lru_cache(maxsize=16)
def lines_of(text: str) -> tuple[str, ...]:
    """Return lines with their ends, without a byte order mark."""
    return tuple(split_lines(text.removeprefix(_BOM)))


def line_at(text: str, number: int) -> str:
    """Return a line of a text with LF line ends, from 1; "" where there is none."""
    lines = text.split("\n")
    return lines[number - 1] if 0 < number <= len(lines) else ""


def dominant_newline(text: str) -> str:
    ends = Counter(line[len(line.rstrip("\r\n")) :] for line in split_lines(text))
    del ends[""]
    return max(ends, key=lambda end: (ends[end], end == "\n"), default="\n")


def restore_style(original: str, edited: str) -> str:
    """Give `edited` (LF) the BOM and line ends of `original`.

    Lines before and after the changed passage keep their own ends; changed lines get the dominant one.
    """
    bom = _BOM if original.startswith(_BOM) else ""
    body = original.removeprefix(_BOM)
    if "\r" not in body:
        return bom + edited
    old, new, newline = split_lines(body), split_lines(edited), dominant_newline(body)
    head = _common(old, new)
    tail = min(_common(old[::-1], new[::-1]), len(old) - head, len(new) - head)
    middle = [line.replace("\n", newline) for line in new[head : len(new) - tail]]
    return bom + "".join(old[:head] + middle + old[len(old) - tail :])


def _common(old: list[str], new: list[str]) -> int:
    """Count the first lines that agree, line ends aside (a missing end is a difference)."""
    count = 0
    for a, b in zip(old, new, strict=False):
        if to_lf(a) != b:
            break
        count += 1
    return count
