"""The requests of one step: which place each sample edits, and which way of asking it gets.

Fresh prompts take the run's ways in turn, for each place and on over the steps: a small model solves one bug asked one
way and the next bug asked another way, and nobody knows which beforehand. Where a way cannot be asked, its `instead`
takes the turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from forklock.agent.asking.material import Material
from forklock.agent.asking.places import RankedPlace, chunks, share
from forklock.agent.asking.prompts import Attempt
from forklock.agent.asking.way import Asked, Question, Way
from forklock.agent.asking.ways import WAYS
from forklock.agent.contract import Candidate, Lane, Place
from forklock.tools.contract import ReplaceFile, ReplaceSymbol, TestReport

_REPAIR_SHARE = 8
"""One lane in eight shows a failed attempt, where `repair` is among the ways: a small model repeats three in four."""


@dataclass(slots=True)
class LaneMaker:
    """Makes the lanes of a run's steps, and remembers which turns each place had."""

    material: Material
    styles: tuple[str, ...]
    """Names of the ways that fresh prompts take in turn."""
    tried: dict[str, int] = field(default_factory=dict)
    """Samples that each place had."""
    _turns: dict[str, int] = field(default_factory=dict)
    """Fresh lanes that each place had."""
    _asked: dict[tuple[str, str], int] = field(default_factory=dict)
    """Fresh lanes that each place had, by way."""

    def step(
        self, width: int, ranking: Sequence[RankedPlace], attempts: Sequence[Candidate], report: TestReport
    ) -> tuple[list[Lane], int]:
        """Returns the lanes of a step, and the samples of each: repairs of failed attempts first, then fresh ones."""
        count, samples = chunks(width)
        if self.material.engine.supports_prefill and self.material.protocol.name == "symbol":
            count, samples = width, 1  # each sample asks in its own way; what prompts share is computed once
        repairs = attempts[: count // _REPAIR_SHARE] if "repair" in self.styles else ()
        places = share(ranking, count - len(repairs), self.tried) if count > len(repairs) else []
        lanes = [self._repair(number, attempt, report) for number, attempt in enumerate(repairs)]
        lanes += [self._fresh(number, place, report) for number, place in enumerate(places, len(repairs))]
        for lane in lanes:
            self.tried[lane.place.label] = self.tried.get(lane.place.label, 0) + samples
        return lanes, samples

    def _repair(self, number: int, attempt: Candidate, report: TestReport) -> Lane:
        way, place = WAYS["repair"], attempt.lane.place
        code = self.material.code(place)
        asked = way.ask(Question(self.material, place, code, report, attempt=_attempt(attempt)))
        assert asked is not None
        return self._lane(number, way, asked)

    def _fresh(self, number: int, place: Place, report: TestReport) -> Lane:
        turn = self._turns.get(place.label, 0)
        self._turns[place.label] = turn + 1
        code = self.material.code(place)
        way = WAYS[self.styles[turn % len(self.styles)]]
        while True:
            key = (place.label, way.name)
            asked = way.ask(Question(self.material, place, code, report, self._asked.get(key, 0)))
            if asked is not None:
                self._asked[key] = self._asked.get(key, 0) + 1
                return self._lane(number, way, asked)
            way = WAYS[way.instead]

    def _lane(self, number: int, way: Way, asked: Asked) -> Lane:
        tokens = self.material.engine.count_tokens(asked.request)
        return Lane(number, asked.place, asked.request, tokens, partial(way.read, asked))


def _attempt(candidate: Candidate) -> Attempt | None:
    if candidate.action is None or candidate.ruling is None:
        return None
    edit = candidate.action.edits[0]
    source = edit.source if isinstance(edit, ReplaceSymbol | ReplaceFile) else candidate.ruling.diff
    return Attempt(source=source.strip("\n"), failure=candidate.ruling.reason)
