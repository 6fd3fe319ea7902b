"""The part of a run's page that shows rollouts: turns with their calls, and the change that each rollout ended with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from forklock.agent.log import CandidateRuled, Event
from forklock.agent.log.shown.turns import LoggedRollout, LoggedTurn, first_line, rollouts_of
from forklock.agent.log.shown.words import fell
from forklock.agent.pages.diffs import Line, diff_lines

Take = Callable[[str], str]
"""The text behind a reference, cut and made visible."""


@dataclass(frozen=True, slots=True)
class CallRow:
    """A call of a tool."""

    name: str
    about: str
    kind: str
    first: str
    text: str


@dataclass(frozen=True, slots=True)
class TurnRow:
    number: int
    tokens: int
    """Tokens of its answer."""
    prompt_tokens: int
    answer: str
    calls: tuple[CallRow, ...]


@dataclass(frozen=True, slots=True)
class RulingRow:
    """What the judge said of the tree of a turn."""

    name: str
    hop: str
    why: str
    reason: str
    tests: str
    diff: tuple[Line, ...]


@dataclass(slots=True)
class RolloutRow:
    number: int
    why: str
    tokens: int
    css: str
    opening: tuple[tuple[str, str], ...]
    """System message and task: role and text."""
    turns: list[TurnRow] = field(default_factory=list)
    rulings: list[RulingRow] = field(default_factory=list)
    diff: tuple[Line, ...] = ()


def page_rollouts(events: Sequence[Event], take: Take, has_room: Callable[[], bool]) -> list[RolloutRow]:
    """Returns the rollouts. Texts for which the page has no room are left out."""

    def text(reference: str) -> str:
        return take(reference) if has_room() else ""

    return [_row(one, text) for one in rollouts_of(events)]


def _row(one: LoggedRollout, text: Take) -> RolloutRow:
    first = next((turn.asked for turn in one.turns.values() if turn.asked), None)
    row = RolloutRow(
        one.number, one.ended.why if one.ended else "it has not ended", one.tokens,
        one.rulings[-1].hop if one.rulings else "other",
        tuple((message.role, text(message.content)) for message in first.messages) if first else (),
    )  # fmt: skip
    row.rulings = [_ruling(event, text) for event in one.rulings]
    row.turns = [_turn(one.turns[number], text) for number in sorted(one.turns)]
    judged = any(event.hop in ("solved", "unverified") for event in one.rulings)
    if one.ended and not judged:
        row.diff = diff_lines(text(one.ended.diff))
    return row


def _turn(turn: LoggedTurn, text: Take) -> TurnRow:
    calls = []
    for called, answer in turn.calls:
        said = text(answer.text) if answer else ""
        calls.append(
            CallRow(
                called.name, answer.about if answer else "", answer.kind if answer else "not answered",
                first_line(said)[:160], said,
            )
        )  # fmt: skip
    answered = turn.answered
    return TurnRow(
        turn.number, answered.completion_tokens if answered else 0, turn.asked.prompt_tokens if turn.asked else 0,
        text(answered.text) if answered else "", tuple(calls),
    )  # fmt: skip


def _ruling(event: CandidateRuled, text: Take) -> RulingRow:
    reason, total = text(event.reason), event.tests_passed + event.tests_failed
    return RulingRow(
        f"{event.step}.{event.index}", event.hop, fell(event.hop, reason), reason,
        f"{event.tests_passed}/{total}" if total else "", diff_lines(text(event.diff)),
    )  # fmt: skip
