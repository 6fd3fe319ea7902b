"""How models call tools: one format a file. Each writes the tools into the prompt and reads the calls in an answer."""

from forklock.models.calls.contract import Call, CallFormat, Parameter, ReadCalls, Tool

__all__ = ["Call", "CallFormat", "Parameter", "ReadCalls", "Tool"]
