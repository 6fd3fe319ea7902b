"""One wide step: `width` samples in one batch, each judged as soon as it is complete.

Judging (forks, edits, tests) runs on threads while the engine makes the remaining samples. Once candidates pass, the
engine is stopped as soon as enough different ones were gathered (`forklock.agent.judging.spend`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from forklock.agent.contract import Candidate, Hop, Lane, Ruling
from forklock.agent.judging.hops import Gauntlet
from forklock.agent.judging.rulings import from_log, logged
from forklock.agent.judging.spend import BudgetReached, Gathering, Spend
from forklock.agent.log import CandidateRuled, RunLog, StepStarted
from forklock.agent.log.answers import Journal
from forklock.agent.log.recorded import Recorded
from forklock.models.contract import Completion, Decoding, Engine, Request


class _Enough(Exception):
    """Enough candidates pass: the rest of the batch is not needed."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the engine, and which (lane, sample) each of its completions is."""

    requests: list[Request]
    decoding: Decoding
    slots: list[list[tuple[Lane, int]]]


@dataclass(slots=True)
class WideStep:
    """The work of one step. `run` returns every candidate that was judged."""

    step: int
    engine: Engine
    gauntlet: Gauntlet
    log: RunLog
    recorded: Recorded
    spend: Spend
    gathering: Gathering
    on_tokens: Callable[[int], None] = lambda _n: None
    discarded_tokens: int = 0
    _samples: int = 0
    _candidates: dict[int, Candidate] = field(default_factory=dict)
    _futures: list[Future[None]] = field(default_factory=list)

    def run(self, lanes: Sequence[Lane], decoding: Decoding) -> list[Candidate]:
        """Sample `decoding.n` answers of each lane and judge them.

        Raises:
            BudgetReached: a limit was met; candidates that were complete are judged and logged.
            ModelFault, SandboxFault, ToolFault: from below.
        """
        self._samples = len(lanes) * decoding.n
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="judge") as pool:
            try:
                missing = self._replay(lanes, decoding, pool)
                for call in plan_calls(lanes, missing, decoding, shares_prompts=self._shares_prompts()):
                    if not self.gathering.over:
                        self._generate(call, decoding, pool)
            except _Enough:
                pass
            except BaseException:
                for future in self._futures:
                    future.cancel()
                raise
            for future in self._futures:
                future.result()
        return [self._candidates[index] for index in sorted(self._candidates)]

    # -- answers --------------------------------------------------------------------------------------

    def _replay(
        self, lanes: Sequence[Lane], decoding: Decoding, pool: ThreadPoolExecutor
    ) -> dict[int, list[int]]:
        """Judge what the log holds; returns the missing sample indices by lane."""
        known = {lane.number: self._known(lane, decoding) for lane in lanes}
        if not any(known.values()):
            self.log.append(StepStarted(step=self.step, requests=len(lanes), samples=len(lanes) * decoding.n))
        missing: dict[int, list[int]] = {}
        for lane in lanes:
            for sample, completion in known[lane.number].items():
                self._admit(lane, sample, completion, decoding, pool)
            absent = [s for s in range(decoding.n) if s not in known[lane.number]]
            if absent:
                missing[lane.number] = absent
        return missing

    @property
    def _journal(self) -> Journal:
        return Journal(self.log, self.step, self.engine)

    def _shares_prompts(self) -> bool:
        return self.engine.identity.engine != "hosted"

    def _known(self, lane: Lane, decoding: Decoding) -> dict[int, Completion]:
        digest = self._journal.digest(lane, decoding)
        answers = self.recorded.answers
        return {s: answers[(digest, s)] for s in range(decoding.n) if (digest, s) in answers}

    def _generate(self, call: Call, whole: Decoding, pool: ThreadPoolExecutor) -> None:
        lanes = {lane.number: lane for slots in call.slots for lane, _ in slots}
        for lane in lanes.values():
            self._journal.asked(lane, whole)
            self.spend.prompt_tokens += lane.prompt_tokens
        running = 0

        def on_tokens(count: int) -> None:
            nonlocal running
            running += count
            self.on_tokens(count)
            if self.gathering.over:
                raise _Enough
            self._raise_on_limit()

        def on_completion(request: int, sample: int, completion: Completion) -> None:
            nonlocal running
            running -= completion.completion_tokens
            lane, number = call.slots[request][sample]
            self.spend.take(completion)
            self._journal.answered(lane, number, completion, whole)
            self._admit(lane, number, completion, whole, pool)

        try:
            self.engine.complete(
                call.requests, call.decoding, on_tokens=on_tokens, on_completion=on_completion
            )
        finally:
            self.discarded_tokens += max(0, running)
            self.spend.completion_tokens += max(0, running)

    def _raise_on_limit(self) -> None:
        outcome = self.spend.check(self.spend)
        if outcome is not None:
            raise BudgetReached(outcome)

    # -- candidates -----------------------------------------------------------------------------------

    def _admit(
        self, lane: Lane, sample: int, completion: Completion, decoding: Decoding, pool: ThreadPoolExecutor
    ) -> None:
        index = lane.number * decoding.n + sample
        reading = lane.read(completion)
        self._enter(Candidate(index, lane, completion, reading.action), reading.fault, pool)
        if reading.second is not None and reading.second != reading.action:
            self._enter(Candidate(self._samples + index, lane, completion, reading.second), "", pool)

    def _enter(self, candidate: Candidate, error: str, pool: ThreadPoolExecutor) -> None:
        self._candidates[candidate.index] = candidate
        earlier = self.recorded.rulings.get((self.step, candidate.index))
        if earlier is not None:
            candidate.ruling = self._earlier(earlier)
        elif error:
            place = candidate.lane.place.label
            self._settle(candidate, Ruling(self.step, candidate.index, place, Hop.PARSE, error))
        else:
            self._futures.append(pool.submit(self._judge, candidate))

    def _earlier(self, event: CandidateRuled) -> Ruling:
        if event.program:
            self.gauntlet.remember(event.program, (event.step, event.index))
        ruling = from_log(event, self.log)
        self.gathering.note(ruling)
        return ruling

    def _judge(self, candidate: Candidate) -> None:
        if self.gathering.over:
            return
        assert candidate.action is not None
        ruling = self.gauntlet.judge(self.step, candidate.index, candidate.lane.place, candidate.action)
        self._settle(candidate, ruling)
        self.gathering.note(ruling)

    def _settle(self, candidate: Candidate, ruling: Ruling) -> None:
        candidate.ruling = ruling
        self.log.append(logged(ruling, self.log))


def plan_calls(
    lanes: Sequence[Lane], missing: dict[int, list[int]], decoding: Decoding, *, shares_prompts: bool
) -> list[Call]:
    """Engine calls that make the missing samples.

    Where equal prompts are computed once, each sample is a request with a seed of its own, so that the
    rest of an interrupted step comes out as it would have. Elsewhere (hosted models bill every prompt) the
    samples of a lane are asked for together.
    """
    gaps = [(lane, missing[lane.number]) for lane in lanes if missing.get(lane.number)]
    if shares_prompts and decoding.seed is not None:
        slots = [(lane, sample) for lane, absent in gaps for sample in absent]
        requests = [
            lane.request.model_copy(update={"seed": sample_seed(decoding.seed, lane.number, sample)})
            for lane, sample in slots
        ]
        one = decoding.model_copy(update={"n": 1})
        return [Call(requests, one, [[slot] for slot in slots])] if slots else []
    calls: list[Call] = []
    for count in sorted({len(absent) for _, absent in gaps}):
        group = [(lane, absent) for lane, absent in gaps if len(absent) == count]
        calls.append(
            Call(
                [lane.request for lane, _ in group],
                decoding.model_copy(update={"n": count}),
                [[(lane, sample) for sample in absent] for lane, absent in group],
            )
        )
    return calls


def sample_seed(seed: int, lane: int, sample: int) -> int:
    """Seed of one sample: a function of its place in the step alone."""
    return (seed * 1_000_003 + lane * 1009 + sample) % 2**31
