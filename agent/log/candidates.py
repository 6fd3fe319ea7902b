"""A run's candidates, put together from its events: what was asked, what was answered, and what became of it.

In: the events of a log, in any state. Out: one `LoggedCandidate` for each answer and each ruling. A spliced candidate
(`agent/asking/splice.py`) has the number of its answer plus the step's number of samples.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from forklock.agent.log.events import LogFault
from forklock.agent.log.schema import CandidateRuled, Event, ModelAnswered, ModelAsked, StepStarted


@dataclass(frozen=True, slots=True)
class LoggedCandidate:
    """One program on its way through the hops, as far as the log says."""

    step: int
    index: int
    """Within the step."""
    asked: ModelAsked | None
    answered: ModelAnswered | None
    ruled: CandidateRuled | None
    """None where the run ended before it was judged."""
    is_spliced: bool = False
    """Only the first statement of the answer, put into the code as it was."""

    @property
    def name(self) -> str:
        """`STEP.INDEX`, as commands take it."""
        return f"{self.step}.{self.index}"


def candidates_of(events: Iterable[Event]) -> list[LoggedCandidate]:
    """Returns all candidates, in the order of their steps and numbers."""
    asked: dict[tuple[int, int], ModelAsked] = {}
    samples: dict[int, int] = {}
    answered: dict[tuple[int, int], ModelAnswered] = {}
    ruled: dict[tuple[int, int], CandidateRuled] = {}
    for event in events:
        if isinstance(event, StepStarted):
            samples[event.step] = event.samples
        elif isinstance(event, ModelAsked):
            asked[event.step, event.request] = event
        elif isinstance(event, ModelAnswered):
            request = asked.get((event.step, event.request))
            answered[event.step, event.request * _samples_of(request) + event.sample] = event
        elif isinstance(event, CandidateRuled):
            ruled[event.step, event.index] = event
    found = []
    for step, index in sorted({*answered, *ruled}):
        most = samples.get(step, 0)
        spliced = (step, index) not in answered and most > 0 and index >= most
        answer = answered.get((step, index - most if spliced else index))
        request = asked.get((step, answer.request)) if answer else None
        found.append(LoggedCandidate(step, index, request, answer, ruled.get((step, index)), spliced))
    return found


def candidate_named(events: Iterable[Event], run: str, name: str) -> LoggedCandidate:
    """Finds one candidate by `STEP.INDEX`.

    Raises:
        LogFault: the run has no such candidate.
    """
    for candidate in candidates_of(events):
        if candidate.name == name:
            return candidate
    raise LogFault(f"run {run} has no candidate {name}", fix=f"they are listed by `agent show {run}`")


def _samples_of(request: ModelAsked | None) -> int:
    count = request.decoding.get("n", 1) if request else 1
    return count if isinstance(count, int) and 0 < count < 1 << 20 else 1
