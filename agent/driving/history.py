"""The chat of one rollout: what the model is sent, kept within its window.

A request begins with the bytes of the request before it, so that an engine computes only what is new. Where the window
is nearly full, the chat shrinks in one big step, and then grows again: answers of tools that are old become one line,
and what the model needs (its task, its change so far, the last failures) stands behind the task, word for word. Nothing
here depends on a clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from forklock.models.contract import Message

_MARKS = 8
"""Tokens that a chat template adds to a message, about."""
_KEPT_TURNS = 3
"""Turns that a shrink leaves as they are."""
_REMEMBERED_TURNS = 30
"""Turns of which a shrink leaves anything at all."""
_AIM = 0.6
"""Share of the window that a chat has at most after a shrink, if it can be had."""
_STATE_SHARE = 0.25
"""Share of the window that the change so far and the last failures may take."""

CountTokens = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Part:
    """A message, or a piece of one: neighbours of one role are sent as one message."""

    role: Literal["system", "user", "assistant"]
    text: str
    tokens: int
    turn: int = 0
    brief: str = ""
    """The line that stands for it after a shrink; "" for what is kept."""


@dataclass(slots=True)
class History:
    """What a rollout has said and heard."""

    count: CountTokens
    window: int
    """Tokens of a request, at most."""
    turn: int = 0
    shrinks: int = 0
    _parts: list[Part] = field(default_factory=list)
    _task: str = ""

    def begin(self, system: str, task: str) -> None:
        """Take the system message and the task."""
        self._task = task
        self._parts = [self._part("system", system), self._part("user", task)]

    def add_answer(self, text: str) -> None:
        """Add what the model wrote; a new turn begins with it."""
        self.turn += 1
        self._parts.append(self._part("assistant", text, self.turn))

    def add_reply(self, message: Message, brief: str) -> None:
        """Add a reply to the model.

        Args:
            brief: a line that stands for it later.
        """
        self._parts.append(self._part(message.role, message.content, self.turn, brief))

    def messages(self) -> tuple[Message, ...]:
        """The chat as it is sent: neighbours of one role joined, since templates want them to alternate."""
        joined: list[tuple[str, list[str]]] = []
        for part in self._parts:
            if joined and joined[-1][0] == part.role and part.role != "assistant":
                joined[-1][1].append(part.text)
            else:
                joined.append((part.role, [part.text]))
        return tuple(Message(role=role, content="\n".join(texts)) for role, texts in joined)

    @property
    def tokens(self) -> int:
        """The approximate size of a request that is made now, in tokens."""
        return sum(part.tokens for part in self._parts)

    @property
    def is_full(self) -> bool:
        return self.tokens > self.window

    def shrink(self, state: str) -> bool:
        """Make room in one step. False where even that leaves too much.

        Args:
            state: the change so far and the last failures.
        """
        self.shrinks += 1
        recent = self.turn - _KEPT_TURNS
        parts = [
            self._shortened(part) if part.brief and part.turn <= recent else part for part in self._parts
        ]
        task = self._task
        if state:
            task += "\n\n" + self._cut(state, int(_STATE_SHARE * self.window))
        parts[1] = self._part("user", task)
        self._parts = parts
        self._drop_turns(self.turn - _REMEMBERED_TURNS)
        while self.tokens > _AIM * self.window and self._drop_oldest_turn():
            pass
        return not self.is_full

    def _drop_oldest_turn(self) -> bool:
        """Leave out the oldest turn that is not among the last ones."""
        oldest = next((part.turn for part in self._parts if part.turn), 0)
        if not oldest or oldest >= self.turn:
            return False
        self._drop_turns(oldest)
        return True

    def _drop_turns(self, last: int) -> None:
        self._parts = [part for part in self._parts if not 0 < part.turn <= last]

    def _shortened(self, part: Part) -> Part:
        return self._part(part.role, part.brief, part.turn)

    def _cut(self, text: str, most: int) -> str:
        """The text, or as many of its first lines as there is room for, and how many are left out."""
        if self.count(text) <= most:
            return text
        lines = text.splitlines()
        low, high = 0, len(lines)
        while low < high:
            middle = (low + high + 1) // 2
            if self.count("\n".join(lines[:middle])) <= most:
                low = middle
            else:
                high = middle - 1
        return "\n".join([*lines[:low], f"({len(lines) - low} more lines)"])

    def _part(
        self, role: Literal["system", "user", "assistant"], text: str, turn: int = 0, brief: str = ""
    ) -> Part:
        return Part(role, text, self.count(text) + _MARKS, turn, brief)


def common(one: tuple[Message, ...], other: tuple[Message, ...]) -> int:
    """The number of messages at the beginning that two chats share."""
    number = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        number += 1
    return number
