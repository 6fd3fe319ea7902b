"""Search/replace on text: a ladder of ever more forgiving matching, one place or nothing.

Rungs: exact text; whole lines, trailing white space aside; whole lines, indentation aside (the replacement
is re-indented); the same with typographic quotes, dashes and spaces folded. The first rung with a match
decides, and more than one match there is refused: a guess would edit the wrong place.

After codex's `seek_sequence`, which stops at the first match; this one insists on a single one.
Texts here have LF line ends.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from forklock.tools.contract import EditRefused

_FOLDED = str.maketrans(
    {**dict.fromkeys("‘’‚‛′", "'"), **dict.fromkeys("“”„‟″", '"'), **dict.fromkeys("‐‑‒–—―−", "-"),
     **dict.fromkeys("\u00a0\u2002\u2003\u2007\u2009\u202f\u3000", " "), "…": "..."}
)  # fmt: skip
_RUNGS: tuple[Callable[[str], str], ...] = (
    str.rstrip,
    str.strip,
    lambda line: " ".join(line.translate(_FOLDED).split()),
)
SHOWN = 12
"""Lines of the nearest passage that a refusal shows."""


def search_replace(path: str, text: str, search: str, replace: str) -> str:
    """`text` with the one passage that matches `search` replaced.

    Raises:
        EditRefused: nothing to search for, no match (the nearest passage is shown), or several (listed).
    """
    if not search.strip():
        raise EditRefused(
            "The search text is empty. Copy the lines to be replaced, or replace the whole file."
        )
    starts = _occurrences(text, search)
    if len(starts) == 1:
        return _replace_exact(text, starts[0], search, replace)
    if starts:
        raise _ambiguous(path, search, [text.count("\n", 0, start) + 1 for start in starts])
    return _replace_lines(path, text, search, replace)


def _occurrences(text: str, search: str) -> list[int]:
    found, start = [], text.find(search)
    while start >= 0:
        found.append(start)
        start = text.find(search, start + 1)
    return found


def _replace_exact(text: str, start: int, search: str, replace: str) -> str:
    """Whole lines stay whole lines, whether or not the last newline was copied."""
    end = start + len(search)
    whole = (start == 0 or text[start - 1] == "\n") and (
        end == len(text) or "\n" in (text[end], text[end - 1])
    )
    if whole and replace and search.endswith("\n") != replace.endswith("\n"):
        replace = replace + "\n" if search.endswith("\n") else replace.removesuffix("\n")
    if whole and not replace and not search.endswith("\n"):
        end += text[end : end + 1] == "\n"
    return text[:start] + replace + text[end:]


def _replace_lines(path: str, text: str, search: str, replace: str) -> str:
    lines, wanted = text.split("\n"), _trimmed(search)
    for rung in _RUNGS:
        starts = _windows([rung(line) for line in lines], [rung(line) for line in wanted])
        if len(starts) > 1:
            raise _ambiguous(path, search, [start + 1 for start in starts])
        if starts:
            start = starts[0]
            found = lines[start : start + len(wanted)]
            new = _trimmed(replace) if replace.strip() else []
            if rung is not _RUNGS[0]:
                new = _reindent(new, wanted, found)
            return "\n".join(lines[:start] + new + lines[start + len(wanted) :])
    raise _not_found(path, lines, wanted)


def _trimmed(passage: str) -> list[str]:
    """Its lines without blank ones at either end."""
    lines = passage.split("\n")
    full = [number for number, line in enumerate(lines) if line.strip()]
    return lines[full[0] : full[-1] + 1]


def _windows(lines: list[str], wanted: list[str]) -> list[int]:
    size, first = len(wanted), wanted[0]
    starts = (n for n in range(len(lines) - size + 1) if lines[n] == first)
    return [n for n in starts if lines[n : n + size] == wanted]


def _reindent(new: list[str], wanted: list[str], found: list[str]) -> list[str]:
    """Move replacement lines as the searched lines would have to move to become the found ones.

    A line with an indentation that the search text uses too takes what the file has there; one with another
    takes the move of the nearest smaller indentation.
    """
    moves: dict[str, str] = {}
    for a, b in zip(wanted, found, strict=True):
        if a.strip():
            moves.setdefault(_indent(a), _indent(b))
    return [_moved(line, moves) for line in new]


def _moved(line: str, moves: dict[str, str]) -> str:
    own = _indent(line)
    if not line.strip():
        return ""
    known = [indent for indent in moves if own.startswith(indent)]
    if known:
        nearest = max(known, key=len)
        return moves[nearest] + line[len(nearest) :]
    least = min(moves, key=len)  # dedented further than anything searched for
    missing = len(least) - len(own)
    base = moves[least]
    return base[: max(0, len(base) - missing)] + line.lstrip()


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _ambiguous(path: str, search: str, numbers: list[int]) -> EditRefused:
    first = search.strip().split("\n")[0]
    places = ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
    return EditRefused(
        f"The search text (it begins {first[:80]!r}) occurs {len(numbers)} times in {path}, "
        f"at lines {places}. Copy more lines around the one you mean, so that it occurs once."
    )


def _not_found(path: str, lines: list[str], wanted: list[str]) -> EditRefused:
    start = _nearest(lines, wanted)
    if start is None:
        return EditRefused(f"The search text does not occur in {path}, nor does anything like it.")
    shown = lines[start : start + min(len(wanted), SHOWN)]
    passage = "\n".join(f"{start + n:4} | {line}" for n, line in enumerate(shown, 1))
    return EditRefused(
        f"The search text does not occur in {path}. The nearest passage is at line {start + 1}:\n{passage}\n"
        "Copy the lines exactly as they are in the file."
    )


def _nearest(lines: list[str], wanted: list[str]) -> int | None:
    """Start of the window most like the search text: anchored on its most telling lines, so linear."""
    places: dict[str, list[int]] = {}
    for number, line in enumerate(lines):
        places.setdefault(line.strip(), []).append(number)
    votes: dict[int, int] = {}
    for offset, line in enumerate(wanted):
        key = line.strip()
        near = (
            [key]
            if key in places
            else difflib.get_close_matches(key, list(places)[:5000], 1, 0.6)
            if key
            else []
        )
        for match in near:
            for number in places[match][:20]:
                start = max(0, number - offset)
                votes[start] = votes.get(start, 0) + len(match)
    return max(votes, key=lambda start: (votes[start], -start)) if votes else None
