"""Shows what a driving model did: its rollouts with their turns, made of events, and a line for each event."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.text import Text

from forklock.agent.log.events import RunLog
from forklock.agent.log.schema import (
    CandidateRuled,
    Event,
    RolloutEnded,
    RolloutStarted,
    ToolAnswered,
    ToolCalled,
    TurnAnswered,
    TurnAsked,
)

_WORDS = 70
"""Characters of a tool's answer that a line has room for."""
_STYLE = {"ok": "green", "refused": "red", "failed": "yellow"}


@dataclass(slots=True)
class LoggedTurn:
    """One turn, as far as the log says."""

    number: int
    asked: TurnAsked | None = None
    answered: TurnAnswered | None = None
    calls: list[tuple[ToolCalled, ToolAnswered | None]] = field(default_factory=list)


@dataclass(slots=True)
class LoggedRollout:
    """One rollout, as far as the log says."""

    started: RolloutStarted
    turns: dict[int, LoggedTurn] = field(default_factory=dict)
    rulings: list[CandidateRuled] = field(default_factory=list)
    ended: RolloutEnded | None = None

    @property
    def number(self) -> int:
        return self.started.rollout

    def turn(self, number: int) -> LoggedTurn:
        return self.turns.setdefault(number, LoggedTurn(number))

    @property
    def tokens(self) -> int:
        """New tokens of its prompts, and those of its answers."""
        asked = sum(one.asked.new_tokens for one in self.turns.values() if one.asked)
        return asked + sum(one.answered.completion_tokens for one in self.turns.values() if one.answered)

    def messages(self) -> list[tuple[str, str, bool]]:
        """The chat that was sent last: role, reference to the text, and whether the model wrote it."""
        chat: list[tuple[str, str, bool]] = []
        for number in sorted(self.turns):
            asked = self.turns[number].asked
            if asked is not None:
                chat[asked.kept :] = [(one.role, one.content, one.sampled) for one in asked.messages]
        return chat


def rollouts_of(events: Iterable[Event]) -> list[LoggedRollout]:
    """Returns all rollouts, in the order in which they were started."""
    found: dict[int, LoggedRollout] = {}
    for event in events:
        if isinstance(event, RolloutStarted):
            found.setdefault(event.rollout, LoggedRollout(event))
        elif isinstance(event, CandidateRuled):
            if event.step in found:
                found[event.step].rulings.append(event)
        elif (
            isinstance(event, TurnAsked | TurnAnswered | ToolCalled | ToolAnswered | RolloutEnded)
            and event.rollout in found
        ):
            _take(found[event.rollout], event)
    return [found[number] for number in sorted(found)]


def _take(
    rollout: LoggedRollout, event: TurnAsked | TurnAnswered | ToolCalled | ToolAnswered | RolloutEnded
) -> None:
    if isinstance(event, RolloutEnded):
        rollout.ended = event
        return
    turn = rollout.turn(event.turn)
    if isinstance(event, TurnAsked):
        turn.asked = event
    elif isinstance(event, TurnAnswered):
        turn.answered = event
    elif isinstance(event, ToolCalled):
        turn.calls.append((event, None))
    else:
        turn.calls = [
            (called, event if called.call == event.call else answer) for called, answer in turn.calls
        ]


def turn_line(event: Event, log: RunLog, whole: bool) -> Text | None:
    """An event of a rollout in a line; None for one that says nothing to people. With `whole` nothing is cut."""
    if isinstance(event, RolloutStarted):
        told = ", told how earlier ones ended" if event.told else ""
        return Text(f"rollout {event.rollout}{told}", style="bold")
    if isinstance(event, ToolAnswered):
        line = Text(f"  {event.rollout}.{event.turn:<3} {event.name:<6} ")
        about = event.about if whole else event.about[:30]
        line.append(f"{about:<30} ").append(f"{event.kind:<7}", style=_STYLE[event.kind])
        first = first_line(log.text(event.text))
        return line.append(f" {first if whole else first[:_WORDS]}", style="dim")
    if isinstance(event, RolloutEnded):
        turns = "1 turn" if event.turns == 1 else f"{event.turns} turns"
        return Text(f"rollout {event.rollout} ended after {turns}: {event.why}")
    return None


def first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
