"""Decodes JSON as models write it: strictly where that works, else with the usual slips.

Slips that are accepted: line breaks inside a string, single quotes, backticks and triple quotes, backslashes that
escape nothing, unescaped quotes inside a value, commas too many or missing, names without quotes, Python's `True` and
`None`, and closing brackets that are missing at the end. What is cut off inside a string, or followed by something
else, is not read. Takes time linear in the text's length.
"""

from __future__ import annotations

import json
import re
from typing import NoReturn

_STRICT = json.JSONDecoder(strict=False)
_DEPTH = 20
_SPACE = re.compile(r"\s*")
_CHUNK = {quote: re.compile(rf"[^{quote}\\]*") for quote in "\"'`"}
_BARE = re.compile(r"[^\s,:=}\]{\[\"'`]+")
_ENDS = {
    "key": re.compile(""),
    "item": re.compile(r"\s*+(?:\]|$|,)"),
    "member": re.compile(r"""\s*+(?:\}|$|,\s*+(?:\}|$)|,?+\s*+(?P<q>["'`])[\w .-]{1,64}(?P=q)\s*+:)"""),
    "plain member": re.compile(r"\s*+(?:\}|$|,\s*+(?:\}|$|\w{1,64}\s*+[:=]))"),
}
"""What follows the quote that ends a string, by the string's place. Others are quotes that were not escaped."""
_WORDS = {"true": True, "false": False, "null": None, "none": None}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_HEX = re.compile(r"u([0-9a-fA-F]{4})")


class NotRead(Exception):
    """A text that is no value, even with slips."""

    def __init__(self, message: str, place: int, *, cut_off: bool = False) -> None:
        super().__init__(message)
        self.place = place
        self.cut_off = cut_off


def strictly(text: str, start: int) -> tuple[object, int]:
    """Return the value that begins at `start`, and where it ends. Line breaks inside strings are accepted.

    Raises:
        NotRead: this is no JSON.
    """
    try:
        return _STRICT.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise NotRead(error.msg, error.pos) from None
    except (RecursionError, ValueError):  # too deep, or a number of thousands of digits
        raise NotRead("it is nested too deeply", start + 10_000) from None


def decode(text: str, start: int, limit: int) -> tuple[object, int]:
    """Return the value that begins at `start`, and where it ends.

    Args:
        limit: the value ends before this place, and only space stands between the two if it had slips.

    Raises:
        NotRead: this is no value; `cut_off` says that the text ends inside it.
    """
    try:
        value, end = strictly(text, start)
    except NotRead:
        pass
    else:
        if end <= limit:
            return value, end
    return loosely(text, start, limit)


def loosely(text: str, start: int, limit: int) -> tuple[object, int]:
    """As `decode`, without the strict attempt."""
    reader = _Reader(text[start:limit])
    value, end = reader.value(0, 0, "member")
    if reader.space(end) != len(reader.text):
        raise NotRead("something stands behind its end", start + end)
    return value, start + end


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text

    def space(self, at: int) -> int:
        found = _SPACE.match(self.text, at)
        return found.end() if found else at

    def value(self, at: int, depth: int, place: str) -> tuple[object, int]:
        at = self.space(at)
        if depth > _DEPTH:
            raise NotRead("it is nested too deeply", at)
        first = self.text[at : at + 1]
        if first == "{":
            return self._object(at + 1, depth)
        if first == "[":
            return self._array(at + 1, depth)
        if first in _CHUNK:
            return self._string(at, place)
        found = _BARE.match(self.text, at)
        if found is None:
            self._stop(at, "a value is missing")
        if found.end() == len(self.text):
            raise NotRead("it ends too early", found.end(), cut_off=True)
        return _word(found.group()), found.end()

    def _object(self, at: int, depth: int) -> tuple[dict[str, object], int]:
        found: dict[str, object] = {}
        while True:
            at = self._after_commas(at)
            if at >= len(self.text):
                return found, at  # The closing brackets are missing.
            if self.text[at] == "}":
                return found, at + 1
            place = "member" if self.text[at] in _CHUNK else "plain member"
            key, at = self._key(at)
            at = self.space(at)
            if self.text[at : at + 1] not in (":", "="):
                self._stop(at, f"a colon is missing behind {key[:40]!r}")
            found[key], at = self.value(at + 1, depth + 1, place)

    def _array(self, at: int, depth: int) -> tuple[list[object], int]:
        found: list[object] = []
        while True:
            at = self._after_commas(at)
            if at >= len(self.text):
                return found, at
            if self.text[at] == "]":
                return found, at + 1
            value, at = self.value(at, depth + 1, "item")
            found.append(value)

    def _after_commas(self, at: int) -> int:
        at = self.space(at)
        while self.text[at : at + 1] == ",":
            at = self.space(at + 1)
        return at

    def _key(self, at: int) -> tuple[str, int]:
        if self.text[at] in _CHUNK:
            return self._string(at, "key")
        found = _BARE.match(self.text, at)
        if found is None:
            self._stop(at, "a name is missing")
        return found.group(), found.end()

    def _string(self, at: int, place: str) -> tuple[str, int]:
        quote = self.text[at]
        if self.text.startswith(quote * 3, at):
            end = self.text.find(quote * 3, at + 3)
            if end < 0:
                raise NotRead("a text in it has no end", len(self.text), cut_off=True)
            return self.text[at + 3 : end], end + 3
        ends = _ENDS[place]
        parts: list[str] = []
        at += 1
        while True:
            chunk = _CHUNK[quote].match(self.text, at)
            at = chunk.end() if chunk else at
            parts.append(chunk.group() if chunk else "")
            if at + (self.text[at : at + 1] == "\\") >= len(self.text):
                raise NotRead("a text in it has no end", len(self.text), cut_off=True)
            if self.text[at] == "\\":
                piece, at = self._escape(at + 1)
                parts.append(piece)
            elif ends.match(self.text, at + 1):
                return _joined(parts), at + 1
            else:  # a quote that the model forgot to escape
                parts.append(quote)
                at += 1

    def _escape(self, at: int) -> tuple[str, int]:
        char = self.text[at]
        if (code := _HEX.match(self.text, at)) is not None:
            return chr(int(code.group(1), 16)), code.end()
        if char in _ESCAPES:
            return _ESCAPES[char], at + 1
        return (char if char in "\"'`\\/" else f"\\{char}"), at + 1

    def _stop(self, at: int, message: str) -> NoReturn:
        raise NotRead(message, at, cut_off=at >= len(self.text))


def _word(text: str) -> object:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return int(text)
    except ValueError:
        return text


def _joined(parts: list[str]) -> str:
    """Return the text, with pairs of surrogates joined and lone ones replaced."""
    text = "".join(parts)
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    except UnicodeError:
        return text
