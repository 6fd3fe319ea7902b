"""Says when a rollout goes in circles, so that what is left of its budget can go to another one.

In: each call of a tool with its answer, and each answer of the model that holds no call. Out: a word to the model while
it may still find its way, then the reason why the rollout ends. Small models repeat themselves: published runs of local
models that fail do so mostly by reading on, or by making the same call again. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from forklock.agent.driving.contract import ToolAnswer
from forklock.models.calls.contract import Call

READING = frozenset({"read", "find"})


@dataclass(frozen=True, slots=True)
class StopRules:
    """How often is too often."""

    same_calls: int = 3
    """Equal calls in a row; at the second the model is told so."""
    reads_before: int = 12
    """Reads before the first change."""
    reads_between: int = 6
    """Reads since the last change; at half of it the model is told so."""
    no_ops: int = 2
    """Edits that change nothing, since the last that did."""
    unreadable: int = 3
    """Answers in a row that hold no call."""
    refused: int = 6
    """Calls in a row that were refused."""


@dataclass(slots=True)
class Watch:
    """What a rollout did so far."""

    rules: StopRules = field(default_factory=StopRules)
    why: str = ""
    """Why the rollout ends; "" while it may go on."""
    _last: Call | None = None
    _same: int = 0
    _reads: int = 0
    _has_written: bool = False
    _no_ops: int = 0
    _unreadable: int = 0
    _refused: int = 0

    def unreadable(self) -> None:
        """Take note of an answer without a call that can be carried out."""
        self._unreadable += 1
        if self._unreadable >= self.rules.unreadable:
            self.why = f"{self._unreadable} answers in a row held no call that can be read"

    def called(self, call: Call, answer: ToolAnswer) -> str:
        """Take note of a call. Returns a word to the model, "" for none."""
        self._unreadable = 0
        if answer.finished is not None:
            return ""
        self._same = self._same + 1 if call == self._last else 1
        self._last = call
        self._refused = self._refused + 1 if answer.kind == "refused" else 0
        self._no_ops = 0 if answer.wrote else self._no_ops + answer.no_op
        if answer.wrote:
            self._has_written, self._reads = True, 0
        elif call.name in READING:
            self._reads += 1
        self.why = self._circle(call)
        return "" if self.why else self._word(call, answer)

    def _circle(self, call: Call) -> str:
        rules = self.rules
        most = rules.reads_between if self._has_written else rules.reads_before
        if self._same >= rules.same_calls:
            return f"the same call of {call.name} {self._same} times in a row"
        if self._reads >= most:
            return f"{self._reads} reads without a change"
        if self._no_ops >= rules.no_ops:
            return f"{self._no_ops} edits that change nothing"
        if self._refused >= rules.refused:
            return f"{self._refused} refused calls in a row"
        return ""

    @property
    def has_looked(self) -> bool:
        """Whether a call has looked at something, so that a change may come next."""
        return self._last is not None

    def _word(self, call: Call, answer: ToolAnswer) -> str:
        most = self.rules.reads_between if self._has_written else self.rules.reads_before
        if self._same > 1:
            return "You have made this very call before, and its answer stands above. Go on with a change, as in:"
        if call.name in READING and self._reads == most // 2:
            return f"You have looked {self._reads} times without a change. Make the next change now, as in:"
        if answer.no_op:
            return "That edit changes nothing. Do something different, as in:"
        return ""
