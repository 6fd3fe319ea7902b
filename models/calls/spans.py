"""Calls as they stand in a text, and what becomes of them: thoughts and prose apart, calls checked against the tools.

A reader of a format returns `Span`s. `read` turns them into `ReadCalls`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from forklock.models.calls.arguments import BadCall, checked
from forklock.models.calls.contract import Call, ReadCalls, Tool, Value

THINK, THOUGHT = "<think>", "</think>"
MOST_CALLS = 32
"""Most calls of one answer that are read."""
WRITTEN = ("new", "content", "text", "patch")
"""Arguments by which tools write files, as the tools name them: texts of several lines."""
_MARK = re.compile(f"{THINK}|{THOUGHT}")
_TELLTALE = re.compile(
    r"</?tool_call>|<function[= ]|</?parameter[=> ]|to=functions\.|<\|(?:call|constrain)\|>|^```tool\b",
    re.MULTILINE,
)
_EMPTY_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[\w-]*[ \t]*\n\s*(?:```|~~~)[ \t]*$", re.MULTILINE)
_BLANK = re.compile(r"\n{3,}")
_STUBS: dict[str, Value] = {"string": "...", "integer": 1, "boolean": True}


@dataclass(frozen=True, slots=True)
class Span:
    """A call in a text, from its first mark to behind its last."""

    start: int
    end: int
    name: str = ""
    arguments: object = field(default_factory=dict)
    """A mapping, or a string that holds one as JSON."""
    fault: str = ""
    """Why it could not be read."""


Reader = Callable[[str, Sequence[Tool]], list[Span]]
"""Finds the calls in a text, in order and without overlaps. Never raises; takes linear time."""


def read(
    text: str, tools: Sequence[Tool], readers: Sequence[Reader], write: Callable[[Call], str]
) -> ReadCalls:
    """Return what an answer holds, by the first reader that finds a call.

    Args:
        readers: the format's own, then those of other formats that models fall back to.
        write: how a call is written, for the example in a fault.
    """
    text = text[_behind_opening_thought(text) :]
    spans: list[Span] = []
    for reader in readers:
        spans = reader(text, tools)
        if spans:
            break
    spans, prose = _without_thoughts(text, spans)
    calls: list[Call] = []
    faults: list[str] = []
    for span in spans[:MOST_CALLS]:
        try:
            calls.append(_call(span, tools))
        except BadCall as bad:
            faults.append(str(bad))
    if not spans and text.lstrip().startswith(THINK):
        return ReadCalls("", (), "The answer ended inside <think>: think less, then call a tool.")
    if not calls and not faults and _TELLTALE.search(prose):
        faults.append(
            "The answer looks like a call of a tool, but none could be read: a name or a mark is missing."
        )
    if len(spans) > MOST_CALLS:
        faults.append(f"Only the first {MOST_CALLS} calls were read.")
    names = [span.name for span in spans] or [tool.name for tool in tools if tool.name in prose]
    return ReadCalls(_tidy(prose), tuple(calls), _fault(faults, names, tools, write))


def _call(span: Span, tools: Sequence[Tool]) -> Call:
    if span.fault:
        raise BadCall(span.fault)
    return checked(span.name, span.arguments, tools)


def _fault(
    faults: Sequence[str], names: Sequence[str], tools: Sequence[Tool], write: Callable[[Call], str]
) -> str:
    """Return the faults, each once, with one example of a call that is written well."""
    if not faults:
        return ""
    told = list(dict.fromkeys(faults))[:5]
    tool = next((tool for tool in tools if tool.name in names), tools[0] if tools else None)
    if tool is not None:
        told.append(f"Write a call like this:\n{write(example(tool))}")
    return "\n".join(told)


def example(tool: Tool) -> Call:
    """Return a call as it is made most often: what is required, and all up to the text that is written.

    A tool that requires nothing and writes nothing is shown with its first text.
    """
    names = [one.name for one in tool.parameters]
    last = next((names.index(name) for name in WRITTEN if name in names), -1)
    nothing = last < 0 and not any(one.required for one in tool.parameters)
    first_text = next((one.name for one in tool.parameters if one.kind == "string"), "")
    arguments: dict[str, Value] = {
        one.name: _STUBS[one.kind]
        for place, one in enumerate(tool.parameters)
        if one.required or place <= last or (nothing and one.name == first_text)
    }
    return Call(tool.name, arguments)


def _behind_opening_thought(text: str) -> int:
    """Return where the answer begins behind a leading `<think>` block; 0 if there is none, or if it does not end."""
    start = len(text) - len(text.lstrip())
    end = text.find(THOUGHT, start) if text.startswith(THINK, start) else -1
    return end + len(THOUGHT) if end >= 0 else 0


def _without_thoughts(text: str, spans: Sequence[Span]) -> tuple[list[Span], str]:
    """Return the spans that stand in no thought, and the text outside of spans and thoughts."""
    gaps = _gaps(text, spans)
    thoughts = _thoughts(text, gaps)
    starts = [start for start, _ in thoughts]

    def in_thought(place: int) -> bool:
        index = bisect_right(starts, place) - 1
        return index >= 0 and place < thoughts[index][1]

    outside = [span for span in spans if not in_thought(span.start)]
    borders = sorted({place for pair in (*gaps, *thoughts) for place in pair})
    covers = [start for start, _ in gaps]
    prose = []
    for start, end in pairwise(borders):
        gap = gaps[max(0, bisect_right(covers, start) - 1)]
        if gap[0] <= start < gap[1] and not in_thought(start):
            prose.append(text[start:end])
    return outside, _MARK.sub("", "".join(prose))


def _thoughts(text: str, gaps: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the places of thoughts, in order.

    Marks inside of calls are parts of arguments. A thought's end without its beginning belongs to a thought that the
    chat template opened. A thought that does not end is none: models forget the mark before a call.
    """
    found: list[tuple[int, int]] = []
    begin: int | None = 0
    for start, end in gaps:
        for mark in _MARK.finditer(text, start, end):
            if mark.group() == THOUGHT:
                found.append((found[-1][1] if begin is None else begin, mark.end()))
                begin = None
            elif not begin:
                begin = mark.start()
    return found


def _gaps(text: str, spans: Sequence[Span]) -> list[tuple[int, int]]:
    """Return what stands before, between and behind the spans."""
    gaps, at = [], 0
    for span in spans:
        gaps.append((at, max(at, span.start)))
        at = max(at, span.end)
    return [*gaps, (at, len(text))]


def _tidy(prose: str) -> str:
    return _BLANK.sub("\n\n", _EMPTY_FENCE.sub("", prose)).strip()
