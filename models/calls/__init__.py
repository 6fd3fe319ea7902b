"""How models call tools: one format a file. Each writes the tools into the prompt and reads the calls in an answer."""

from forklock.models.calls.contract import Call, CallFormat, Parameter, ReadCalls, Tool, Value
from forklock.models.calls.known import FORMATS, format_for, format_named

__all__ = [
    "FORMATS",
    "Call",
    "CallFormat",
    "Parameter",
    "ReadCalls",
    "Tool",
    "Value",
    "format_for",
    "format_named",
]
