"""What the text of a definition says by itself in languages with braces: its head and the comment before it.

Comes in: a text with LF line ends and where a definition stands. Goes out: one line. By the eye of a reader
and not of a parser: good for showing, not for deciding. Not covered: heads longer than `HEAD_LINES`.
"""

from __future__ import annotations

import re

HEAD_LINES = 12
_MARKS = re.compile(r"^\s*(?:/\*+|\*/|\*|///?!?)\s?|\s*\*/\s*$")


def head(lines: list[str]) -> str:
    """A definition's first lines up to its body, as one: `int area(const Shape &s)`."""
    kept = []
    for line in lines[:HEAD_LINES]:
        before, brace, _ = line.partition("{")
        kept.append(before.strip())
        if brace or before.rstrip().endswith((";", "=>", ":")):
            break
    one = re.sub(r"\s+", " ", " ".join(part for part in kept if part))
    return re.sub(r"\( ", "(", one).removesuffix("=>").rstrip(" ;:=")


def comment_before(lines: list[str], start_line: int) -> str:
    """The comment that ends on the line before `start_line` (from 1), marks taken off; "" for none."""
    found: list[str] = []
    block = False
    for line in reversed(lines[max(0, start_line - 1 - 40) : start_line - 1]):
        text = line.strip()
        if not block and not found and text.endswith("*/"):
            block = True
        if not block and not text.startswith("//"):
            break
        found.append(text)
        if block and text.startswith("/*"):
            break
    return unmarked(found[::-1])


def unmarked(comment: list[str]) -> str:
    """The lines of a comment without what makes them one."""
    return "\n".join(_MARKS.sub("", _MARKS.sub("", line.strip())) for line in comment).strip()
