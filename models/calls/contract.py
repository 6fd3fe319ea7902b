"""What a tool, a call and a call format are.

A format is text on both sides: the instructions go into the system message, the call stands in the model's answer, and
the tool's answer goes back as a chat message. No server's own tool interface is needed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from forklock.models.contract import Message, Request

Value = str | int | bool
"""What an argument may be."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a tool."""

    name: str
    kind: Literal["string", "integer", "boolean"]
    description: str
    required: bool = True
    also: tuple[str, ...] = ()
    """Names that models give it out of habit. They are understood, and not shown."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as a model is told of it."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool's name and the arguments that the model gave."""

    name: str
    arguments: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class ReadCalls:
    """What one answer of the model holds."""

    prose: str
    """Text outside of the calls."""
    calls: tuple[Call, ...]
    """Calls that are valid against the tools (names, required arguments, kinds), in order."""
    fault: str = ""
    """What could not be read, in words for the model's next turn; empty if all of it was read."""


class CallFormat(ABC):
    """A way to write tools, calls and their answers."""

    name: ClassVar[str]
    stop: tuple[str, ...] = ()
    """Strings that end a sample."""
    raw: ClassVar[bool] = False
    """Whether `request` makes raw text, which not every engine continues (`Engine.continues_text`)."""

    def request(self, messages: Sequence[Message]) -> Request:
        """Return the request for the next turn of a conversation."""
        return Request(messages=tuple(messages), stop=self.stop)

    @abstractmethod
    def instructions(self, tools: Sequence[Tool]) -> str:
        """Return a part of the system message: the tools, and how a call is written."""

    @abstractmethod
    def write(self, call: Call) -> str:
        """Return a call as the model writes it, so that `parse` returns it again."""

    @abstractmethod
    def answer(self, call: Call | None, text: str) -> Message:
        """Return the chat message by which a tool's answer goes back.

        Args:
            call: the call that is answered; None if the answer is about what could not be read.
            text: the tool's answer.
        """

    @abstractmethod
    def parse(self, text: str, tools: Sequence[Tool]) -> ReadCalls:
        """Return the calls that a model's answer holds. Never raises; takes time linear in the text's length."""
