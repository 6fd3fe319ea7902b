"""What a log already holds, by key: a resumed run takes it instead of asking the engine again.

A run is a deterministic function of its answers. So to resume is to replay the log, and to ask the engine only for what
is not in it. Answers are keyed on the digest of the whole request (messages, prefill, decoding, model), so that a
changed prompt never gets an old answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from forklock.agent.contract import Hop
from forklock.agent.log.events import LogFault, RunLog
from forklock.agent.log.schema import (
    BaselineTaken,
    CandidateRuled,
    Event,
    ForksFound,
    LoggedPlace,
    ModelAnswered,
    PlacesRanked,
    RolloutStarted,
    TestsChosen,
    TestTried,
    ToolAnswered,
    TurnAnswered,
    VerdictGiven,
    report_from_json,
)
from forklock.models.contract import Completion, Decoding, FinishReason, ModelIdentity, Request


def request_digest(request: Request, decoding: Decoding, model: ModelIdentity, lane: int) -> str:
    """Hash of all that shapes the answers. `lane` distinguishes equal requests of one step."""
    whole = {
        "request": request.model_dump(mode="json"),
        "decoding": decoding.model_dump(mode="json", exclude={"n"}),
        "model": model.model_dump(mode="json"),
        "lane": lane,
    }
    return text_digest(json.dumps(whole, sort_keys=True))


def text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(slots=True)
class Recorded:
    """Answers, rulings and reports of earlier sittings, by key. Empty for a new run."""

    answers: dict[tuple[str, int], Completion] = field(default_factory=dict)
    """By (request digest, sample index)."""
    rulings: dict[tuple[int, int], CandidateRuled] = field(default_factory=dict)
    baselines: dict[tuple[str, str], str] = field(default_factory=dict)
    """Report JSON by (role, command)."""
    places: list[LoggedPlace] | None = None
    """As `PlacesRanked` has them. Ranking traces a run of the tests, which may end differently another time."""
    verdicts: dict[int, VerdictGiven] = field(default_factory=dict)
    """By the step after which they were given."""
    forks: dict[str, list[str]] = field(default_factory=dict)
    """`ForksFound.written` by digest: scores differ in their last bits from one sitting to the next."""
    tried: dict[tuple[int, str], TestTried] = field(default_factory=dict)
    """Written tests by (sample, name)."""
    chosen: TestsChosen | None = None
    rollouts: dict[int, RolloutStarted] = field(default_factory=dict)
    turns: dict[str, TurnAnswered] = field(default_factory=dict)
    """By request digest."""
    calls: dict[tuple[int, int, int], ToolAnswered] = field(default_factory=dict)
    """By (rollout, turn, call)."""

    @classmethod
    def of(cls, events: Iterable[Event], log: RunLog, model: ModelIdentity) -> Recorded:
        """Collects what a log holds.

        Raises:
            LogFault: the log holds what no run of this version has written.
        """
        try:
            return cls._of(events, log, model)
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise LogFault(
                f"{log.path} cannot be resumed: {reason}", fix="start a new run with `agent solve`"
            ) from error

    @classmethod
    def _of(cls, events: Iterable[Event], log: RunLog, model: ModelIdentity) -> Recorded:
        recorded = cls()
        for event in events:
            if isinstance(event, ModelAnswered):
                recorded.answers[(event.digest, event.sample)] = completion_of(event, log, model)
            elif isinstance(event, CandidateRuled):
                Hop(event.hop)
                recorded.rulings[(event.step, event.index)] = event
            elif isinstance(event, BaselineTaken):
                report_from_json(report := log.text(event.report))
                recorded.baselines[(event.role, event.command)] = report
            elif isinstance(event, PlacesRanked):
                recorded.places = [_inside(place) for place in event.places]
            elif isinstance(event, VerdictGiven):
                recorded.verdicts[event.step] = event
            elif isinstance(event, ForksFound):
                recorded.forks[event.digest] = event.written
            elif isinstance(event, TestTried):
                recorded.tried[(event.sample, event.name)] = event
            elif isinstance(event, TestsChosen):
                recorded.chosen = _written_inside(event)
            else:
                recorded._take_turn(event, log)
        return recorded

    def _take_turn(self, event: Event, log: RunLog) -> None:
        if isinstance(event, RolloutStarted):
            self.rollouts[event.rollout] = event
        elif isinstance(event, TurnAnswered):
            self.turns[event.digest] = event
        elif isinstance(event, ToolAnswered):
            if event.report:
                report_from_json(log.text(event.report))
            self.calls[event.rollout, event.turn, event.call] = event


def _inside(place: LoggedPlace) -> LoggedPlace:
    _require_inside(place["path"])
    return place


def _written_inside(event: TestsChosen) -> TestsChosen:
    _require_inside(event.path)
    return event


def _require_inside(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f"it names {name!r}, which is no file of the repository")


def completion_of(event: ModelAnswered | TurnAnswered, log: RunLog, model: ModelIdentity) -> Completion:
    """The answer that an event holds."""
    return Completion(
        text=log.text(event.text),
        finish_reason=FinishReason(event.finish_reason),
        prompt_tokens=event.prompt_tokens,
        completion_tokens=event.completion_tokens,
        seconds=event.seconds,
        cost_usd=event.cost_usd,
        model=model,
    )
