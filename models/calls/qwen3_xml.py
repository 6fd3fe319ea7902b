"""Qwen3-Coder's own form: tags with bare values, so that code needs no escaping.

A value that holds the form's own closing tags cannot be written (`write` raises `ValueError`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

from forklock.models.calls.contract import Call, CallFormat, ReadCalls, Tool
from forklock.models.calls.hermes import tool_response
from forklock.models.calls.json_calls import json_calls
from forklock.models.calls.spans import read
from forklock.models.calls.xml_calls import xml_calls
from forklock.models.contract import Message

_HEAD = "# Tools\n\nYou have access to the following functions:\n\n<tools>\n"
_TAIL = """
</tools>

If you choose to call a function ONLY reply in the following format with NO suffix:

<tool_call>
<function=example_function_name>
<parameter=example_parameter_1>
value_1
</parameter>
<parameter=example_parameter_2>
This is the value for the second parameter
that can span
multiple lines
</parameter>
</function>
</tool_call>

<IMPORTANT>
Reminder:
- Function calls MUST follow the specified format: an inner <function=...></function> block must be nested within \
<tool_call></tool_call> XML tags
- Required parameters MUST be specified
- You may provide optional reasoning for your function call in natural language BEFORE the function call, but NOT after
- If there is no function call available, answer the question like normal with your current knowledge and do not tell \
the user about function calls
</IMPORTANT>"""


class Qwen3Xml(CallFormat):
    """See the module. The words of the instructions are those of Qwen3-Coder's chat template."""

    name: ClassVar[str] = "qwen3-xml"
    stop = ("<tool_response>",)

    def instructions(self, tools: Sequence[Tool]) -> str:
        return _HEAD + "\n".join(map(_described, tools)) + _TAIL

    def write(self, call: Call) -> str:
        """See `CallFormat.write`.

        Raises:
            ValueError: a value holds closing tags of this form, so that it would be read as another one.
        """
        values = {name: _plain(value) for name, value in call.arguments.items()}
        blocks = "".join(f"<parameter={name}>\n{value}\n</parameter>\n" for name, value in values.items())
        text = f"<tool_call>\n<function={call.name}>\n{blocks}</function>\n</tool_call>"
        again = xml_calls(text, ())
        if len(again) != 1 or again[0].name != call.name or again[0].arguments != values:
            raise ValueError(f"an argument of {call.name} holds closing tags of the form {self.name}")
        return text

    def answer(self, call: Call | None, text: str) -> Message:
        return tool_response(text) if call else Message(role="user", content=text)

    def parse(self, text: str, tools: Sequence[Tool]) -> ReadCalls:
        return read(text, tools, (xml_calls, json_calls), self.write)


def _plain(value: str | int | bool) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _described(tool: Tool) -> str:
    lines = ["<function>", f"<name>{tool.name}</name>", f"<description>{tool.description}</description>"]
    lines.append("<parameters>")
    for one in tool.parameters:
        lines += ["<parameter>", f"<name>{one.name}</name>", f"<type>{one.kind}</type>"]
        lines += [f"<description>{one.description}</description>", "</parameter>"]
    required = json.dumps([one.name for one in tool.parameters if one.required])
    return "\n".join([*lines, f"<required>{required}</required>", "</parameters>", "</function>"])
