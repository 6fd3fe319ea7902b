"""Fenced blocks for models that know no call format: `name: value` lines, and texts between two marks as in a shell.

Nothing is escaped. A text of several lines stands between `<<END` and a line `END`; `write` takes another word if the
text has such a line. Also read: a text in a fence of its own behind `name:`, YAML's `name: |`, a block that names
a tool in its first line, whatever its fence says, and missing fences.
"""

from __future__ import annotations

import json
import re
import textwrap
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from forklock.models.calls.contract import Call, CallFormat, ReadCalls, Tool
from forklock.models.calls.json_calls import json_calls
from forklock.models.calls.spans import MOST_CALLS, WRITTEN, Span, example, read
from forklock.models.calls.xml_calls import xml_calls
from forklock.models.contract import Message

_FENCE = re.compile(r"[ \t]*(?P<mark>`{3,}|~{3,})[ \t]*(?P<info>[^`\r]*)\r?")
_INFO = re.compile(r"(?:tool|call|tool_call|action)(?:[ :=,]+(?P<name>[\w.-]{1,64}))?", re.IGNORECASE)
_NAMED = re.compile(
    r"\s*(?:(?:tool|name|call|action)\s*[:=]\s*)?[\"'`]?(?P<name>[\w.-]{1,64})[\"'`]?\s*", re.I
)
_BARE = re.compile(r"tool[ \t]*[:=][ \t]*[\"'`]?(?P<name>[\w.-]{1,64})[\"'`]?[ \t]*\r?")
_PAIR = re.compile(r"\s*(?P<key>[A-Za-z_][\w-]{0,63})[ \t]*:[ \t]?(?P<value>.*?)\r?", re.DOTALL)
_MARK = re.compile(r"<<-?[ \t]*[\"']?(?P<word>\w{1,40})[\"']?\s*")
_BLOCK = re.compile(r"[|>][+-]?\s*")

_HEAD = """\
# Tools

You act by calling tools. To call a tool, write a fenced block that begins with ```tool, one `name: value` line for \
each argument. Write a text of several lines between <<END and a line that holds END alone, exactly as it is, without \
escaping:

"""
_TAIL = "\nWrite one or more blocks, then stop: the answers come in the next message.\n\nThe tools:\n"


class FencedText(CallFormat):
    """See the module."""

    name: ClassVar[str] = "text"
    stop = ("\n```answer",)

    def instructions(self, tools: Sequence[Tool]) -> str:
        shown = max(tools, key=_texts, default=None)
        how = self._sample(example(shown)) + "\n" if shown else ""
        return _HEAD + how + _TAIL + "\n".join(map(_described, tools))

    def write(self, call: Call) -> str:
        lines = ["```tool", f"tool: {call.name}"]
        for name, value in call.arguments.items():
            lines += _written(name, value if isinstance(value, str) else json.dumps(value))
        return "\n".join([*lines, "```"])

    def answer(self, call: Call | None, text: str) -> Message:
        if call is None:
            return Message(role="user", content=text)
        fence = "```"
        while f"\n{fence}" in f"\n{text}":
            fence += "`"
        return Message(role="user", content=f"{fence}answer of {call.name}\n{text}\n{fence}")

    def parse(self, text: str, tools: Sequence[Tool]) -> ReadCalls:
        return read(text, tools, (fenced_calls, json_calls, xml_calls), self._sample)

    def _sample(self, call: Call) -> str:
        """Return an example in which what is written has several lines."""
        several = {
            name: "...\n..." if name in (*WRITTEN, "old") else value for name, value in call.arguments.items()
        }
        return self.write(Call(call.name, several))


def _texts(tool: Tool) -> tuple[bool, int]:
    """Rank the tools by how much their calls show of the format: those that write files first."""
    writes = any(one.name in WRITTEN for one in tool.parameters)
    return writes, sum(one.kind == "string" for one in tool.parameters)


def _written(name: str, value: str) -> list[str]:
    single = not re.search(r"[\n\r]", value) and value == value.strip() and value
    if single and not value.startswith(("<<", "|", ">", "`", "~", '"', "'")):
        return [f"{name}: {value}"]
    taken = {line.strip() for line in value.split("\n")}
    word = next(w for i in range(len(taken) + 1) if (w := f"END{i or ''}") not in taken)
    return [f"{name}: <<{word}", *([value] if value else []), word]


def _described(tool: Tool) -> str:
    lines = [f"- {tool.name}: {tool.description}"]
    for one in tool.parameters:
        optional = "" if one.required else ", may be left out"
        lines.append(f"  - {one.name} ({one.kind}{optional}): {one.description}")
    return "\n".join(lines)


def fenced_calls(text: str, tools: Sequence[Tool]) -> list[Span]:
    """Find the calls: a `Reader` of `spans.py`."""
    names = frozenset(tool.name.lower() for tool in tools)
    scan = _Scan(text.split("\n"))
    spans: list[Span] = []
    while scan.at < len(scan.lines) and len(spans) <= MOST_CALLS:
        begin = scan.at
        line = scan.lines[begin]
        fence = _FENCE.fullmatch(line)
        scan.at += 1
        name = _name_of(fence, scan, names) if fence else _bare_name(line, names)
        if name is None:
            continue
        start = scan.offset(begin)
        block = scan.block(fence.group("mark") if fence else "```")
        end = min(scan.offset(scan.at) - 1, len(text)) if scan.at < len(scan.lines) else len(text)
        spans.append(Span(start, max(start, end), name, block.arguments, _fault(block, name)))
    return spans


def _name_of(fence: re.Match[str], scan: _Scan, names: frozenset[str]) -> str | None:
    """Return the tool that a fenced block names, and move behind the line that does; None if it is other text."""
    info = _INFO.match(fence.group("info"))
    if info and info.group("name"):
        return info.group("name")
    while scan.at < len(scan.lines) and not scan.lines[scan.at].strip():
        scan.at += 1
    named = _NAMED.fullmatch(scan.lines[scan.at]) if scan.at < len(scan.lines) else None
    if named is None:
        return "" if info else None
    explicit = ":" in named.group() or "=" in named.group()
    if not info and not (explicit and named.group("name").lower() in names):
        return None
    scan.at += 1
    return named.group("name")


def _bare_name(line: str, names: frozenset[str]) -> str | None:
    """Return the tool that a line names which stands where an opening fence should."""
    found = _BARE.fullmatch(line)
    return found.group("name") if found and found.group("name").lower() in names else None


def _fault(block: _Block, name: str) -> str:
    of = f" of {name}" if name else ""
    if block.cut_off:
        return f"The call{of} was cut off inside {block.cut_off}. Write less at once."
    if not name:
        return "A tool block must name its tool in the first line, as in `tool: read`."
    if block.strange:
        return f"The call{of} has a line that is no `name: value`: {block.strange[:80]!r}."
    return ""


@dataclass(slots=True)
class _Block:
    arguments: dict[str, object] = field(default_factory=dict)
    cut_off: str = ""
    """The argument in which the text ends."""
    strange: str = ""
    """The first line that could not be read."""


class _Scan:
    """Goes through the lines of an answer once."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.at = 0
        """The next line."""
        self._places: dict[str, list[int]] = {}
        self._known = 0
        self._offset = 0

    def offset(self, line: int) -> int:
        """Return the place of a line's first character. Lines must be asked for in order."""
        while self._known < line:
            self._offset += len(self.lines[self._known]) + 1
            self._known += 1
        return self._offset

    def block(self, fence: str) -> _Block:
        """Read a block's lines up to its closing fence."""
        found = _Block()
        while self.at < len(self.lines):
            line = self.lines[self.at]
            closing = _FENCE.fullmatch(line)
            if closing and closing.group("info").strip():
                return found  # Another block begins: the closing fence is missing.
            self.at += 1
            if closing:
                return found
            pair = _PAIR.fullmatch(line)
            if pair:
                self._argument(pair.group("key"), pair.group("value"), found, fence)
            elif line.strip() and not found.strange:
                found.strange = line.strip()
            if found.cut_off:
                return found
        return found

    def _argument(self, key: str, value: str, found: _Block, fence: str) -> None:
        mark = _MARK.fullmatch(value)
        if mark:
            text = self._until(mark.group("word"), fence)
        elif _BLOCK.fullmatch(value):
            text = self._indented()
        elif not value.strip():
            text = self._fenced()
        else:
            text = _single(value)
        if text is None:
            found.cut_off = key
        else:
            found.arguments[key] = text

    def _until(self, word: str, fence: str) -> str | None:
        """Return the lines before the one that is `word`; if there is none, those before the last closing fence."""
        end = self._line(word)
        if end is None:
            end = self._line(fence, last=True)
            if end is None:
                self.at = len(self.lines)
                return None
            lines, self.at = self.lines[self.at : end], end
        else:
            lines, self.at = self.lines[self.at : end], end + 1
        return "\n".join(lines)

    def _line(self, word: str, *, last: bool = False) -> int | None:
        """Return the next line that is `word`, or the last one."""
        if not self._places:
            for index, line in enumerate(self.lines):
                self._places.setdefault(line.strip(), []).append(index)
        places = self._places.get(word, [])
        if last:
            return places[-1] if places and places[-1] >= self.at else None
        index = bisect_left(places, self.at)
        return places[index] if index < len(places) else None

    def _indented(self) -> str:
        """Return YAML's literal block."""
        begin = self.at
        while self.at < len(self.lines) and (
            self.lines[self.at].startswith(("  ", "\t")) or not self.lines[self.at].strip()
        ):
            self.at += 1
        return textwrap.dedent("\n".join(self.lines[begin : self.at])).strip("\n")

    def _fenced(self) -> str | None:
        """Return the text of a fence that follows; empty if none does."""
        opening = _FENCE.fullmatch(self.lines[self.at]) if self.at < len(self.lines) else None
        if opening is None or not opening.group("info").strip():
            return ""
        self.at += 1
        return self._until(opening.group("mark"), opening.group("mark"))


def _single(value: str) -> str:
    """Return a value of one line; quotes around all of it are not part of it."""
    value = value.strip()
    quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted and value[0] not in value[1:-1] else value
