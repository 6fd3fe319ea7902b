"""Harmony: gpt-oss's channels. A call is a message in the channel `commentary` to `functions.NAME`.

Its marks are control tokens, which no chat template passes on from a message's text. So `request` renders the whole
conversation itself, as raw text. Servers' chat interfaces parse the channels away; there, take the format `text`.

Also read: answers whose marks were dropped in decoding (`analysis...assistantcommentary to=functions.read json{...}`),
the recipient before the channel, other words for `json`, and a bare text where a tool takes one text, such as a patch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

from forklock.models.calls.contract import Call, CallFormat, ReadCalls, Tool
from forklock.models.calls.json_calls import json_calls
from forklock.models.calls.loose_json import NotRead, loosely, strictly
from forklock.models.calls.spans import MOST_CALLS, Span, read
from forklock.models.contract import Message, Request

_MARKS = "start|end|message|channel|constrain|call|return"
_MARK = re.compile(rf"<\|(?={_MARKS})(\w+)\|>")
_CALL = re.compile(
    r"(?<=[\s>])to=(?!assistant)(?P<name>[\w.-]{1,80})"
    r"(?:<\|(?:channel|constrain)\|>|\s|json|code|commentary|analysis)*+(?:<\|message\|>|(?=\{))"
)
_HEAD = re.compile(
    r"(?:<\|start\|>)?(?:assistant)?(?:<\|channel\|>)?(?:commentary|analysis|final|assistant|<\|channel\|>)\s{0,9}$"
)
_BEHIND_SPACE = re.compile(r"\s*")
_STOP = re.compile(r"<\|(?:call|end|return|start)\|>")
_CHANNEL = re.compile(
    r"(?:<\|start\|>)?+(?:assistant)?+(?P<first> to=[\w.-]{1,80})?+"
    r"<\|channel\|>(?P<name>\w++)(?P<to>[^<]*+)(?:<\|constrain\|>\w*+)?<\|message\|>"
)
_ANSWER = re.compile(
    r"<\|start\|>functions\.(?P<name>[\w-]{1,64}) to=assistant<\|channel\|>commentary<\|message\|>"
)
_KINDS = {"string": "string", "integer": "number", "boolean": "boolean"}
_SYSTEM = """\
You are ChatGPT, a large language model trained by OpenAI.
Knowledge cutoff: 2024-06

Reasoning: medium

# Valid channels: analysis, commentary, final. Channel must be included for every message.
Calls to these tools must go to the commentary channel: 'functions'."""


class Harmony(CallFormat):
    """See the module."""

    name: ClassVar[str] = "harmony"
    raw: ClassVar[bool] = True

    def instructions(self, tools: Sequence[Tool]) -> str:
        body = "\n\n".join(map(_declared, tools))
        return f"# Tools\n\n## functions\n\nnamespace functions {{\n\n{body}\n\n}} // namespace functions"

    def write(self, call: Call) -> str:
        body = json.dumps(dict(call.arguments), ensure_ascii=False)
        body = _MARK.sub(r"\\u003c|\1|>", body)
        return f"<|channel|>commentary to=functions.{call.name} <|constrain|>json<|message|>{body}<|call|>"

    def answer(self, call: Call | None, text: str) -> Message:
        head = f"<|start|>functions.{call.name} to=assistant<|channel|>commentary<|message|>" if call else ""
        return Message(role="user", content=f"{head}{text}")

    def parse(self, text: str, tools: Sequence[Tool]) -> ReadCalls:
        found = read(_without_analysis(text), tools, (_calls, json_calls), self.write)
        return ReadCalls(_MARK.sub("", found.prose).strip(), found.calls, found.fault)

    def request(self, messages: Sequence[Message]) -> Request:
        """See `CallFormat.request`. What looks like a mark in a message's text gets a space, and is none any more."""
        return Request(text="".join([*self._turns(messages), "<|start|>assistant"]), stop=self.stop)

    def _turns(self, messages: Sequence[Message]) -> Iterator[str]:
        yield f"<|start|>system<|message|>{_SYSTEM}<|end|>"
        for message in messages:
            if message.role == "assistant":
                yield from self._own(message.content)
                continue
            head = _ANSWER.match(message.content) if message.role == "user" else None
            if head:
                yield f"{head.group()}{_plain(message.content[head.end() :])}<|end|>"
            elif message.role == "system":
                yield f"<|start|>developer<|message|># Instructions\n\n{_plain(message.content)}<|end|>"
            else:
                yield f"<|start|>user<|message|>{_plain(message.content)}<|end|>"

    def _own(self, text: str) -> Iterator[str]:
        """An answer of the model: its calls, written anew, or else its words."""
        spans = [span for span in _calls(_without_analysis(text), ()) if not span.fault]
        for span in spans:
            arguments = dict(span.arguments) if isinstance(span.arguments, dict) else {}
            yield f"<|start|>assistant{self.write(Call(span.name, arguments))}"
        if not spans:
            words = _MARK.sub("", _without_analysis(text)).strip()
            yield f"<|start|>assistant<|channel|>final<|message|>{_plain(words)}<|end|>"


def _plain(text: str) -> str:
    return _MARK.sub(r"< |\1|>", text)


def _declared(tool: Tool) -> str:
    """Return a tool in the form that gpt-oss was trained on, a type of TypeScript."""
    lines = [f"// {line}" for line in tool.description.split("\n")]
    if not tool.parameters:
        return "\n".join([*lines, f"type {tool.name} = () => any;"])
    lines.append(f"type {tool.name} = (_: {{")
    for one in tool.parameters:
        lines += [f"// {one.description}", f"{one.name}{'' if one.required else '?'}: {_KINDS[one.kind]},"]
    return "\n".join([*lines, "}) => any;"])


def _without_analysis(text: str) -> str:
    """Return the messages of an answer that are no thoughts, without the heads of channels."""
    if "<|channel|>" not in text:
        if not text.lstrip().startswith("analysis"):
            return text
        # The marks were dropped: what follows the thoughts begins with the channel's name.
        ends = [place for word in _DROPPED if (place := text.find(word)) >= 0]
        return text[min(ends) :].removeprefix("assistantfinal") if ends else ""
    parts: list[str] = []
    at, shown = 0, not text.lstrip().startswith("analysis")
    for head in _CHANNEL.finditer(text):
        if shown:
            parts.append(text[at : head.start()])
        called = bool(head.group("first")) or "to=" in head.group("to")
        shown = called or head.group("name") != "analysis"
        at = head.start() if called else head.end()
    if shown:
        parts.append(text[at:])
    return "\n".join(parts)


_DROPPED = ("assistantcommentary", "assistantfinal", "assistant to=", "assistantanalysis to=")


def _calls(text: str, tools: Sequence[Tool]) -> list[Span]:
    spans: list[Span] = []
    work = 3 * len(text) + 100_000
    at = 0
    while len(spans) <= MOST_CALLS and work > 0 and (head := _CALL.search(text, at)) is not None:
        at = head.end()
        begin = _HEAD.search(text, max(0, head.start() - 50), head.start())
        if begin is None:
            continue
        span = _span(text, begin.start(), head, tools)
        spans.append(span)
        work -= len(text) - head.end() if span.fault else 0
        at = max(span.end, head.end())
    return spans


def _span(text: str, begin: int, head: re.Match[str], tools: Sequence[Tool]) -> Span:
    name = head.group("name").rpartition(".")[2]
    start = (
        head.end()
        + len(text[head.end() : head.end() + 100])
        - len(text[head.end() : head.end() + 100].lstrip())
    )
    stop = _STOP.search(text, start)
    limit = stop.start() if stop else len(text)
    try:
        value, end = strictly(text, start)
    except NotRead:
        try:
            value, end = loosely(text, start, start + len(text[start:limit].rstrip()))
        except NotRead as bad:
            if (bare := _bare(name, text[start:limit], tools)) is not None:
                return Span(begin, _behind(text, limit), name, bare)
            cut = bad.cut_off and stop is None
            why = "was cut off before its end. Write less at once" if cut else f"could not be read: {bad}"
            return Span(begin, _behind(text, limit), name, fault=f"The call of {name} {why}.")
    return Span(begin, _behind(text, end), name, value)


def _bare(name: str, text: str, tools: Sequence[Tool]) -> dict[str, object] | None:
    """Return the arguments of a tool that takes one text, if the message is that text."""
    tool = next((tool for tool in tools if tool.name == name), None)
    needed = [one for one in tool.parameters if one.required] if tool else []
    if len(needed) != 1 or needed[0].kind != "string" or text.lstrip().startswith("{"):
        return None
    return {needed[0].name: text.strip("\n")}


def _behind(text: str, end: int) -> int:
    stop = _STOP.match(text, end)
    return stop.end() if stop and stop.group() != "<|start|>" else end
