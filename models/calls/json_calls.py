"""Finds calls that are JSON objects with a name and arguments: in `<tool_call>` tags, in fences, or bare.

Also read: tags of other families (`<function_call>`, `[TOOL_CALLS]`, `<|python_tag|>`), `[TOOL_CALLS]name{...}`,
OpenAI's `{"function": {...}}`, `parameters` for `arguments`, missing opening and closing tags.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forklock.models.calls.contract import Tool
from forklock.models.calls.loose_json import NotRead, loosely, strictly
from forklock.models.calls.spans import MOST_CALLS, Span

_TAG = r"<tool[_-]?calls?>|<function_call>|\[TOOL_CALLS\]|<\|tool_call\|>|<\|python_tag\|>"
_OPEN = re.compile(
    rf"(?P<tag>{_TAG})(?:\s*+```(?:json)?)?+[\s\[]*+(?P<name>[\w.-]{{1,64}}+)?+(?:\[ARGS\])?+\s*+(?=\{{)"
    r"|(?P<lost>" + _TAG + r")"
    r"""|(?=\{\s*["'](?:type|id|name|function|tool|tool_name|arguments|parameters)["']\s*:)"""
)
_CLOSED = re.compile(
    r"[\s\]]*+(?:```)?+\s*+(?:</(?:tool[_-]?calls?|function_call)>|<\|/?tool_call\|>|\[/TOOL_CALLS\])"
)
_LIMIT = re.compile(rf"{_TAG}|</(?:tool[_-]?calls?|function_call)>|</think>|\[/TOOL_CALLS\]")
_NAME = re.compile(r"""["'](?:name|function|tool|tool_name)["']\s*:\s*["']([\w.-]{1,64})["']""")


def json_calls(text: str, tools: Sequence[Tool]) -> list[Span]:
    """Find the calls: a `Reader` of `spans.py`."""
    scan = _Scan(text, frozenset(tool.name.lower() for tool in tools))
    at = 0
    while len(scan.spans) <= MOST_CALLS and (mark := _OPEN.search(text, at)) is not None:
        at = max(scan.take(mark), mark.end(), at + 1)
    return scan.spans


@dataclass(slots=True)
class _Scan:
    text: str
    names: frozenset[str]
    spans: list[Span]
    work: int
    last: int

    def __init__(self, text: str, names: frozenset[str]) -> None:
        self.text, self.names, self.spans = text, names, []
        self.last = len(text.rstrip())
        self.work = 3 * len(text) + 100_000
        """Characters that may still be looked at again: what was tried in vain counts."""

    def take(self, mark: re.Match[str]) -> int:
        """Read the call at a mark, and return where to go on."""
        if mark.group("lost"):
            return self._lost(mark)
        tagged = bool(mark.group("tag"))
        start = mark.end()
        try:
            value, end = self._value(start)
        except NotRead as bad:
            return self._fault(mark, bad) if tagged or self._means_a_call(start) else start + 1
        named, found = mark.group("name"), _call_of(value)
        if named and (found is None or found[0].lower() not in self.names):
            found = named, value
        if not tagged and (found is None or found[0].lower() not in self.names):
            self.work -= end - start
            return start + 1
        begin, end = mark.start(), self._behind(end)
        if found is None:
            self.spans.append(Span(begin, end, fault='A call needs "name" and "arguments".'))
        else:
            self.spans.append(Span(begin, end, found[0], found[1]))
        return end

    def _lost(self, mark: re.Match[str]) -> int:
        """A tag without an object: another format, words about the tag, or an answer that was cut off."""
        if mark.end() >= self.last:
            self.spans.append(
                Span(mark.start(), len(self.text), fault="The call was cut off before its name.")
            )
        return mark.end()

    def _value(self, start: int) -> tuple[object, int]:
        if self.work <= 0:
            raise NotRead("the answer holds too many broken calls", start)
        try:
            return strictly(self.text, start)
        except NotRead as bad:
            # The error counts the lines before it, from the text's beginning.
            self.work -= max(0, bad.place - start) + start // 8
        limit = self._limit(start)
        self.work -= limit - start
        try:
            return loosely(self.text, start, limit)
        except NotRead as bad:
            end = self.text.rfind("}", start, limit)
            if bad.cut_off or end < 0:
                raise
        # Prose may follow.
        self.work -= end - start
        return loosely(self.text, start, end + 1)

    def _limit(self, start: int) -> int:
        found = _LIMIT.search(self.text, start)
        limit = found.start() if found else len(self.text)
        stripped = self.text[start:limit].rstrip("`] \n\t\r")
        return start + len(stripped)

    def _behind(self, end: int) -> int:
        closed = _CLOSED.match(self.text, end)
        return closed.end() if closed else end

    def _means_a_call(self, start: int) -> bool:
        named = _NAME.search(self.text, start, start + 200)
        return named is not None and named.group(1).lower() in self.names

    def _fault(self, mark: re.Match[str], bad: NotRead) -> int:
        start = mark.end()
        named = _NAME.search(self.text, start, start + 200)
        name = named.group(1) if named else mark.group("name") or ""
        of = f" of {name}" if name else ""
        end = self._limit(start)
        if bad.cut_off and not self.text[end:].strip("`] \n\t\r"):
            why = f"The call{of} was cut off before its end. Write less at once."
        else:
            why = f"The JSON of the call{of} could not be read: {bad}. Check its quotes and brackets."
        self.spans.append(Span(mark.start(), self._behind(end), name, fault=why))
        return self._behind(end)


def _call_of(value: object) -> tuple[str, object] | None:
    """Return name and arguments of an object in one of the usual forms."""
    if not isinstance(value, Mapping):
        return None
    inner = value.get("function")
    if isinstance(inner, Mapping):
        return _call_of(inner)
    name = next((value[key] for key in ("name", "function", "tool", "tool_name") if key in value), None)
    keys = ("arguments", "parameters", "args", "input")
    arguments = next((value[key] for key in keys if key in value), None)
    if not isinstance(name, str):
        return None
    if arguments is None:  # The arguments stand beside the name.
        arguments = {
            key: one
            for key, one in value.items()
            if key not in ("name", "tool", "tool_name", "type", "id", *keys)
        }
    return name, arguments
