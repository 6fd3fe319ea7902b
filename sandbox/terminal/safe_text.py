"""Makes foreign text safe to show: what a terminal would act on becomes a visible escape."""

from __future__ import annotations

import re
import unicodedata

_SUSPECT = re.compile(r"[^ -~\n\t]+")
_INVISIBLE_LETTERS = frozenset("\u115f\u1160\u3164\uffa0")
"""Hangul fillers: Unicode counts them as letters, and nothing is drawn for them."""


def printable(text: str, *, newlines: bool = True) -> str:
    r"""Return text that a terminal only draws: every other character becomes a visible escape, such as `\x1b`.

    Escaped are control characters (ESC, BEL, CR, DEL, C1), format characters (bidirectional overrides, zero-width
    ones), line and paragraph separators, lone surrogates, and characters that Unicode does not define.

    Args:
        newlines: keep line ends and tabs. A Windows line end becomes a plain one. Otherwise they are escaped too.
    """
    if newlines:
        text = text.replace("\r\n", "\n")
        return _SUSPECT.sub(_escaped, text)
    return _SUSPECT.sub(_escaped, text).replace("\n", "\\n").replace("\t", "\\t")


def _escaped(match: re.Match[str]) -> str:
    run = match.group()
    if run.isprintable() and _INVISIBLE_LETTERS.isdisjoint(run):
        return run
    return "".join(char if is_drawn(char) else escape(char) for char in run)


def is_drawn(char: str) -> bool:
    """Tell whether a terminal draws this character and does nothing else."""
    if char.isprintable():
        return char not in _INVISIBLE_LETTERS
    return unicodedata.category(char) == "Zs"


def escape(char: str) -> str:
    """Return a character as Python would write it in a string, such as `\\x1b` or `\\u202e`."""
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
