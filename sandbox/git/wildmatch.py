"""Matches git's wildcard patterns in time that grows with pattern times text, whatever the pattern.

In: a pattern of an ignore or attributes file, a path; both bytes. Out: whether it matches, as git's `wildmatch` with
`WM_PATHNAME` has it. Backtracking takes exponential time on `*a*a*a*…`; here all positions that a match can
be at are followed at once, as the bits of one number. Not covered: ignoring case.
"""

from __future__ import annotations

from collections.abc import Callable

_STAR, _STARS = "star", "stars"
"""Any bytes but slashes; any bytes."""
_ENTER, _UNTIL = "enter", "until"
"""`**/` is both: nothing at all, or any bytes until a slash."""
_MOST = 4096
"""Length of the longest path, in bytes."""
_CLASSES: dict[bytes, Callable[[int], bool]] = {
    b"alnum": lambda c: chr(c).isalnum(),
    b"alpha": lambda c: chr(c).isalpha(),
    b"blank": lambda c: c in b" \t",
    b"cntrl": lambda c: c < 32 or c == 127,
    b"digit": lambda c: chr(c).isdigit(),
    b"graph": lambda c: 32 < c < 127,
    b"lower": lambda c: chr(c).islower(),
    b"print": lambda c: 32 <= c < 127,
    b"punct": lambda c: 32 < c < 127 and not chr(c).isalnum(),
    b"space": lambda c: c in b" \t\n\v\f\r",
    b"upper": lambda c: chr(c).isupper(),
    b"xdigit": lambda c: c in b"0123456789abcdefABCDEF",
}
_ANY = frozenset(range(256)) - {ord("/")}

_Token = str | frozenset[int]
"""A kind of star, or the bytes of which one matches."""


class Wildmatch:
    """One pattern."""

    def __init__(self, pattern: bytes) -> None:
        tokens = _tokens(pattern)
        if tokens is not None and sum(not isinstance(token, str) for token in tokens) > _MOST:
            tokens = None
        self._tokens = tokens
        """None where nothing can match."""
        self._steps: dict[int, tuple[int, int]] = {}
        self._stars = self._enters = 0
        for at, token in enumerate(tokens or ()):
            self._stars |= (token in (_STAR, _STARS)) << at
            self._enters |= (token == _ENTER) << at
        self._start = self._opened(1)

    def matches(self, text: bytes) -> bool:
        if self._tokens is None:
            return False
        at = self._start
        for byte in text:
            taken, kept = self._steps.get(byte) or self._step(byte)
            at = self._opened((at & taken) << 1 | (at & kept))
            if not at:
                return False
        return bool(at >> len(self._tokens) & 1)

    def _step(self, byte: int) -> tuple[int, int]:
        """Positions that move on with this byte, and positions that stay with it."""
        moves = stays = 0
        slash = byte == ord("/")
        for at, token in enumerate(self._tokens or ()):
            if token == _STAR:
                stays |= (not slash) << at
            elif token in (_STARS, _UNTIL):
                stays |= 1 << at
                moves |= (slash and token == _UNTIL) << at
            elif token != _ENTER:
                moves |= (byte in token) << at
        self._steps[byte] = moves, stays
        return moves, stays

    def _opened(self, at: int) -> int:
        """Also the positions behind what may match nothing."""
        fresh = at
        while fresh:
            enters = fresh & self._enters
            fresh = ((fresh & self._stars) << 1 | enters << 1 | enters << 2) & ~at
            at |= fresh
        return at


def _tokens(pattern: bytes) -> list[_Token] | None:
    found: list[_Token] = []
    at = 0
    while at < len(pattern):
        byte = pattern[at : at + 1]
        if byte == b"*":
            end = at + 1
            while pattern[end : end + 1] == b"*":
                end += 1
            at = _star(found, pattern, at, end)
        elif byte == b"[":
            read = _bracket(pattern, at + 1)
            if read is None:
                return None
            members, at = read
            found.append(members)
        else:
            at += byte == b"\\"
            if at == len(pattern):  # a backslash with nothing behind it
                return None
            found.append(_ANY if byte == b"?" else frozenset((pattern[at],)))
            at += 1
    return found


def _star(found: list[_Token], pattern: bytes, at: int, end: int) -> int:
    """Add the stars from `at` to `end`; return where to go on."""
    whole_step = end - at > 1 and (at == 0 or pattern[at - 1 : at] == b"/")
    rest = pattern[end : end + 2]
    if whole_step and rest == b"":
        found.append(_STARS)
    elif whole_step and rest[:1] == b"/":
        found += [_ENTER, _UNTIL]
        end += 1
    elif whole_step and rest == b"\\/":
        found += [_STARS]
    elif not found or found[-1] != _STAR:
        found.append(_STAR)
    return end


def _bracket(pattern: bytes, at: int) -> tuple[frozenset[int], int] | None:
    """Members of the class that begins behind `[`, and where it ends; None where it does not end."""
    negated = pattern[at : at + 1] in (b"!", b"^") and at < len(pattern)
    at += negated
    members: set[int] = set()
    before: int | None = None
    first = True
    while first or pattern[at : at + 1] != b"]":
        first = False
        if at >= len(pattern):
            return None
        byte = pattern[at]
        if byte == ord("-") and before is not None and pattern[at + 1 : at + 2] not in (b"", b"]"):
            at += 1
            at += pattern[at : at + 1] == b"\\"
            if at >= len(pattern):
                return None
            members.update(range(before, pattern[at] + 1))
            before = None
        elif pattern[at : at + 2] == b"[:":
            read = _named(pattern, at + 2, members)
            if read is None:
                return None
            at, before = read
        else:
            if byte == ord("\\"):
                at += 1
                if at >= len(pattern):
                    return None
                byte = pattern[at]
            members.add(byte)
            before = byte
        at += 1
    chosen = frozenset(range(256)) - members if negated else frozenset(members)
    return chosen - {ord("/")}, at + 1


def _named(pattern: bytes, at: int, members: set[int]) -> tuple[int, int | None] | None:
    """Add `[:name:]`, of which `at` is behind the colon. Where its last byte is, and what a range may begin with; None
    for an unknown name."""
    end = pattern.find(b"]", at)
    if end < 0:
        return None
    if end - 1 < at or pattern[end - 1 : end] != b":":  # no such class: a bracket, and what follows
        members.add(ord("["))
        return at - 2, ord("[")
    kind = _CLASSES.get(pattern[at : end - 1])
    if kind is None:
        return None
    members.update(code for code in range(128) if kind(code))
    return end, None
