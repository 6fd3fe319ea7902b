"""Python text in pieces: definitions at the margin, and what stands between them.

In: text with LF line ends. Out: its pieces, in order. Where each of them parses by itself, the statements of the text
are theirs, one after the other: a string or bracket that is open across a border leaves a piece that does not parse, as
do a backslash at its end and decorators without their function; and none begins with a word that a statement goes on
with. Pure. Not covered: whether they parse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_AT_MARGIN = re.compile(
    r"^(?:(@)|((?:async[ \t]+)?def\b|class\b)|(?!(?:else|elif|except|finally)\b)(\w))", re.MULTILINE
)


def pieces(text: str) -> Iterator[tuple[int, str]]:
    """(number of lines before it, piece)."""
    lines, start = 0, 0
    for border in _borders(text):
        piece = text[start:border]
        yield lines, piece
        lines += piece.count("\n")
        start = border
    yield lines, text[start:]


def _borders(text: str) -> Iterator[int]:
    """Offsets past 0; none between decorators and what they decorate."""
    decorated, last = False, 0
    for found in _AT_MARGIN.finditer(text):
        at = found.start()
        if at and not decorated and (not found[3] or _indented(text, last, at)):
            yield at
        decorated = not found[2] and (decorated or bool(found[1]))
        last = at


def _indented(text: str, start: int, end: int) -> bool:
    return text.find("\n ", start, end) >= 0 or text.find("\n\t", start, end) >= 0
