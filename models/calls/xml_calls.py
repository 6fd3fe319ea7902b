"""Finds calls in Qwen3-Coder's form: `<function=name>` with `<parameter=x>` blocks, in `<tool_call>` or without it.

Missing closing tags are accepted where another tag follows. A value loses one line break at each end; nothing in it is
escaped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from forklock.models.calls.contract import Tool
from forklock.models.calls.spans import MOST_CALLS, Span

_FUNCTION = re.compile(r"""(?:<tool_call>\s*+)?+<function(?:=|\s+name\s*=)\s*["']?([\w.-]{1,64})["']?\s*>""")
_TAG = re.compile(
    r"""<parameter(?:=|\s+name\s*=)\s*["']?(?P<name>[\w.-]{1,64})["']?\s*>"""
    r"|(?P<end></function>)|(?P<stop></?tool_call>|<function[= ]|</think>)"
)
_VALUE_END = re.compile(
    r"(?P<closed></parameter>)"
    r"|\n(?=<parameter[= ])|\n?(?=</function>\s*(?:</tool_call>|<tool_call>|\Z))|\n?(?=</tool_call>\s*\Z)"
)
_CLOSED = re.compile(r"\s*</tool_call>")


def xml_calls(text: str, tools: Sequence[Tool]) -> list[Span]:  # noqa: ARG001
    """Find the calls: a `Reader` of `spans.py`."""
    spans: list[Span] = []
    at = 0
    while len(spans) <= MOST_CALLS and (begin := _FUNCTION.search(text, at)) is not None:
        span = _span(text, begin)
        spans.append(span)
        at = span.end
    return spans


def _span(text: str, begin: re.Match[str]) -> Span:
    name, at = begin.group(1), begin.end()
    arguments: dict[str, object] = {}
    while (tag := _TAG.search(text, at)) is not None:
        if tag.group("end"):
            at = tag.end()
            break
        if tag.group("stop"):
            at = tag.start()
            break
        end = _VALUE_END.search(text, tag.end())
        if end is None:
            why = f"The call of {name} was cut off inside {tag.group('name')}. Write less at once."
            return Span(begin.start(), len(text), name, fault=why)
        arguments[tag.group("name")] = _value(text, tag.end(), end)
        at = end.end()
    if not arguments and (body := text[begin.end() : tag.start() if tag else at].strip()).startswith("{"):
        return Span(begin.start(), _end(text, at), name, body)  # Llama's form
    if not arguments and tag is None and not text[at:].strip():
        return Span(begin.start(), len(text), name, fault=f"The call of {name} was cut off before its end.")
    return Span(begin.start(), _end(text, at), name, arguments)


def _end(text: str, at: int) -> int:
    closed = _CLOSED.match(text, at)
    return closed.end() if closed else at


def _value(text: str, start: int, end: re.Match[str]) -> str:
    value = text[start : end.start()]
    value = (
        value.removeprefix("\r").removeprefix("\n") if value.startswith("\r\n") else value.removeprefix("\n")
    )
    if end.group("closed") and value.endswith("\n"):
        value = value[:-1]
    return value
