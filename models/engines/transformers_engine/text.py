"""Decodes token ids to text as they come, and finds stop strings.

In: one id at a time. Out: text that will not change any more, and whether a stop string was met. A stop
string may straddle tokens, and a character may straddle tokens too; both are held back until decided.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

_HOLD = 16
"""Tokens held back for an unfinished character; UTF-8 needs at most 4, broken bytes would hold for ever."""


class TextTail:
    """The growing text of one sample."""

    def __init__(self, decode: Callable[[list[int]], str], stops: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stops = tuple(stop for stop in stops if stop)
        self._ids: list[int] = []
        self._start = self._read = 0
        self._given = 0
        self.text = ""
        self.stopped = False

    def feed(self, token: int) -> bool:
        """Add a token; true once a stop string is complete (it is then cut off, with all behind it)."""
        self._ids.append(token)
        before = self._decode(self._ids[self._start : self._read])
        now = self._decode(self._ids[self._start :])
        held = len(self._ids) - self._read
        if now.endswith("\ufffd") and held < _HOLD:
            return False
        self._start, self._read = self._read, len(self._ids)
        return self._grow(now[len(before) :])

    def finish(self) -> str:
        """Give up held bytes, and return the whole text."""
        if not self.stopped and self._read < len(self._ids):
            before = self._decode(self._ids[self._start : self._read])
            self._grow(self._decode(self._ids[self._start :])[len(before) :])
            self._read = len(self._ids)
        return self.text

    def take(self, *, final: bool = False) -> str:
        """Text since the last call that no stop string can still claim."""
        end = len(self.text)
        if not final and not self.stopped:
            end -= self._claimed()
        piece = self.text[self._given : end]
        self._given = max(self._given, end)
        return piece

    def _grow(self, piece: str) -> bool:
        old = len(self.text)
        self.text += piece
        hits = [
            place for stop in self._stops if (place := self.text.find(stop, max(0, old - len(stop) + 1))) >= 0
        ]
        if hits:
            self.text = self.text[: min(hits)]
            self.stopped = True
        return self.stopped

    def _claimed(self) -> int:
        """Length of the longest end of the text that opens a stop string."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for size in range(min(longest, len(self.text)), 0, -1):
            if any(stop.startswith(self.text[-size:]) for stop in self._stops):
                return size
        return 0
