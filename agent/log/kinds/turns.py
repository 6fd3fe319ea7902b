"""Events of the lane in which the model drives (`forklock.agent.driving`): rollouts, their turns, and calls of tools.

A turn's request is what the request before it was, up to a message, and new messages: so a long rollout takes linear
space. Rollouts are numbered like steps, and a turn's tree that was judged is a candidate `ROLLOUT.TURN`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from forklock.agent.log.kinds.event import LoggedEvent, MessageRef, Text


class RolloutStarted(LoggedEvent):
    type: Literal["rollout_started"] = "rollout_started"
    rollout: int
    told: Text = ""
    """What the model is told of earlier rollouts; "" for nothing."""
    decoding: dict[str, Any] = Field(default_factory=dict)
    format: str = ""
    """How calls are written (`forklock.models.calls`)."""


class TurnAsked(LoggedEvent):
    type: Literal["turn_asked"] = "turn_asked"
    rollout: int
    turn: int
    """From 1 in each rollout."""
    digest: str
    """Digest of the whole request: messages, decoding, model, rollout."""
    kept: int
    """Messages at the beginning that are those of the turn before."""
    messages: list[MessageRef]
    """The messages behind them."""
    prompt_tokens: int
    """Tokens of the whole request."""
    new_tokens: int
    """Tokens that the turn before did not hold: a run's limit on tokens counts these."""


class TurnAnswered(LoggedEvent):
    type: Literal["turn_answered"] = "turn_answered"
    rollout: int
    turn: int
    digest: str
    text: Text
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    cost_usd: float | None = None
    model: str = ""
    redacted: bool = False
    """The text held a secret, so that what is here is not what the model wrote: a resumed run drops the rollout."""
    cached_tokens: int | None = None
    """Prompt tokens that were in the server's cache; None where the server does not say."""


class ToolCalled(LoggedEvent):
    type: Literal["tool_called"] = "tool_called"
    rollout: int
    turn: int
    call: int
    """From 0 in each turn."""
    name: str
    arguments: Text
    """JSON."""


class ToolAnswered(LoggedEvent):
    type: Literal["tool_answered"] = "tool_answered"
    rollout: int
    turn: int
    call: int
    name: str = ""
    about: str = ""
    """What the call is about, in a few words: a path, a command."""
    kind: Literal["ok", "refused", "failed"]
    text: Text
    """As the model is shown it."""
    wrote: list[str] = Field(default_factory=list)
    no_op: bool = False
    finished: Text | None = None
    """The model's closing words, where the call ends the rollout."""
    report: Text = ""
    """`TestReport` of the check as JSON; "" where it was not run."""
    seconds: float = 0.0


class RolloutEnded(LoggedEvent):
    type: Literal["rollout_ended"] = "rollout_ended"
    rollout: int
    turns: int
    why: str
    """In words: it passes, it finished, it went in circles, a limit."""
    diff: Text
    """Its tree against the one that the run began with."""
    harness_seconds: float = 0.0
    """Wall-clock that was neither the model's nor a tool's nor a judge's."""
