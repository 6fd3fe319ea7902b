"""Hermes: a JSON object in `<tool_call>` tags. Qwen2.5, Qwen3 and many others were trained on it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from forklock.models.calls.contract import Call, CallFormat, ReadCalls, Tool
from forklock.models.calls.json_calls import json_calls
from forklock.models.calls.spans import read
from forklock.models.calls.xml_calls import xml_calls
from forklock.models.contract import Message

_HEAD = """\
# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
"""
_TAIL = """
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>"""


class Hermes(CallFormat):
    """See the module. The words of the instructions are those of Qwen's chat templates."""

    name: ClassVar[str] = "hermes"
    stop = ("<tool_response>",)

    def instructions(self, tools: Sequence[Tool]) -> str:
        return _HEAD + "\n".join(json.dumps(schema(tool), ensure_ascii=False) for tool in tools) + _TAIL

    def write(self, call: Call) -> str:
        body = json.dumps({"name": call.name, "arguments": dict(call.arguments)}, ensure_ascii=False)
        return f"<tool_call>\n{body}\n</tool_call>"

    def answer(self, call: Call | None, text: str) -> Message:
        return tool_response(text) if call else Message(role="user", content=text)

    def parse(self, text: str, tools: Sequence[Tool]) -> ReadCalls:
        return read(text, tools, (json_calls, xml_calls), self.write)


def schema(tool: Tool) -> dict[str, Any]:
    """Return a tool as OpenAI's JSON schema of a function."""
    properties = {one.name: {"type": one.kind, "description": one.description} for one in tool.parameters}
    parameters = {
        "type": "object",
        "properties": properties,
        "required": [one.name for one in tool.parameters if one.required],
    }
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def tool_response(text: str) -> Message:
    """Return a tool's answer as Qwen's chat templates write it."""
    return Message(role="user", content=f"<tool_response>\n{text}\n</tool_response>")
