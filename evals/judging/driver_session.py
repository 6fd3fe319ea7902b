"""evals: a talk with one driver: programs go in as it gets through them, replies come out.

In: whoever hands out work. Out: each work's reply, in order. A driver has two programs at most: the one that it
runs and, while there is plenty, the next, so that it never waits. What it leaves unanswered when it ends stays in
`pending`, the one that it ended under first. Not covered: what a reply means (`evals.judging`).
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from evals.contract import Judgement, Problem
from evals.judging.frames import Job, frame, whole_frames
from evals.judging.procedure import Asked, Attempt, Died, Judging, Said, is_wrong, judging

_START_S = 60.0
"""Seconds that a driver may take to start, and to end when there is no more to do."""
_SLACK_S = 10.0
_ESCAPED = 6
"""Most bytes that one byte of output takes in the driver's JSON."""
_REST = 1 << 20


@dataclass(frozen=True, slots=True)
class JudgeLimits:
    """Bounds on each test of each program."""

    time_scale: float = 1.0
    """Multiplies each problem's own `time_limit_s`, which bounds CPU seconds per test."""
    wall_factor: float = 3.0
    """Wall-clock seconds allowed per CPU second: a busy machine is not the program's fault."""
    memory_mb: int = 1024
    """MiB of address space per process."""
    output_bytes: int = 4 << 20
    """Bytes that one test may print or return, or twice the longest right output if that is more."""

    def cpu_s(self, problem: Problem) -> list[float]:
        """How long each test may take."""
        return [problem.limit_s(number) * self.time_scale for number in range(len(problem.tests))]

    def output(self, problem: Problem) -> int:
        """Bytes that one test may print or return: whole units, which say little of the right output's length."""
        longest = max(len(test.output) for test in problem.tests)
        return self.output_bytes * (1 + 2 * longest // self.output_bytes)

    def outputs(self, problem: Problem) -> int:
        """Bytes that all tests of one program together may print or return: twice the right ones, in whole
        units, and one unit more."""
        right = sum(len(test.output) for test in problem.tests)
        return self.output_bytes * (2 + 2 * right // self.output_bytes)

    def quiet_s(self, problem: Problem) -> float:
        """Wall-clock seconds after which a driver that is at work must have said how some test went."""
        return max(self.cpu_s(problem)) * self.wall_factor + 10


@dataclass(eq=False)
class Work:
    """A program on its way to its judgement."""

    index: int
    attempt: Attempt
    judgement: Judgement | None = None
    wall_s: float = 0.0
    """Seconds that drivers were busy with it."""
    seconds: list[float] = field(default_factory=list)
    """Wall-clock seconds of each test that ran, runs one after the other."""

    def __post_init__(self) -> None:
        self._judging: Judging = judging(self.attempt)
        self.asked: Asked = next(self._judging)

    @property
    def size(self) -> int:
        """Characters of its tests' inputs."""
        return sum(len(test.input) for test in self.attempt[0].tests)

    def again(self) -> Work:
        """The same from its beginning."""
        return Work(self.index, self.attempt, wall_s=self.wall_s)

    def hear(self, said: Said | Died) -> bool:
        """Go on with what was said of `asked`; True when it has its judgement."""
        try:
            self.asked = self._judging.send(said)
        except StopIteration as ended:
            judgement: Judgement = ended.value
            self.judgement = judgement.model_copy(update={"wall_s": round(self.wall_s, 4)})
            return True
        return False


class Shift:
    """The talk with one driver (see `sandbox.Talk`)."""

    def __init__(
        self,
        take: Callable[[], Work | None],
        limits: JudgeLimits,
        *,
        most: int = 1,
        plenty: Callable[[], bool] = lambda: False,
        finish: Callable[[Work], None] = lambda _: None,
    ) -> None:
        """
        Args:
            take: the next work; None when there is no more.
            most: programs that this driver gets.
            plenty: whether the driver may get a second one before it is done with the first.
            finish: gets each work that has its judgement.
        """
        self.deadline = time.monotonic() + _START_S
        self.pending: deque[Work] = deque()
        self.ready = False
        """The driver has started."""
        self.cut = False
        """It said more than any driver has to say."""
        self.broken = False
        """It said what no driver says."""
        self._take, self._plenty, self._finish = take, plenty, finish
        self._limits, self._most = limits, most
        self._jobs: deque[Job] = deque()
        self._unfinished: deque[Work] = deque()
        self._buffer = bytearray()
        self._since = 0.0
        self.heard = 0
        """Tests of the program at work whose results are here already."""
        self._enough: list[bytes] = []

    def answer(self, said: bytes) -> bytes | None:
        self._buffer += said
        try:
            for value in whole_frames(self._buffer):
                self._hear(value)
        except (ValueError, TypeError):
            self.broken = True
            self.deadline = 0.0  # enough of this driver
            return None
        if len(self._buffer) > self._room():
            self.cut, self.deadline = True, 0.0
            return None
        return self._more()

    def left(self) -> list[Work]:
        """What it did not get done with when it ended: first the one that it ended under, if there was any."""
        return [*self.pending, *self._unfinished]

    def _hear(self, value: Any) -> None:
        """Take one reply.

        Raises:
            ValueError: it is not what the driver has to say now.
        """
        if not self.ready:
            self.ready = True
            self._wind(time.monotonic())
            return
        job = self._jobs[0] if self._jobs else None
        if job is None or not isinstance(value, dict) or value.get("nonce") != job.nonce:
            raise ValueError("a forged reply")
        work, early = self.pending[0], value.get("so_far")
        results = value.get("results") if early is None else early
        before = 0 if early is None else self.heard
        if not _are_results(results) or before + len(results) > len(work.asked.problem.tests):
            raise ValueError("not results of these tests")
        if early is not None:
            if is_wrong(work.asked, self.heard, early):
                self._enough.append(frame({"enough": job.nonce}))
            self.heard += len(early)
            self._wind_on()
            return
        seconds = [float(one) for one in value.get("seconds", ())]
        now = time.monotonic()
        work.wall_s += now - self._since
        work.seconds += seconds
        self.heard = 0
        self.pending.popleft()
        self._jobs.popleft()
        if work.hear(Said(results)):
            self._finish(work)
        else:
            self._unfinished.append(work)
        self._wind(now)

    def _wind(self, now: float) -> None:
        """The clock starts for the program that is next."""
        self._since = now
        self._wind_on()

    def _wind_on(self) -> None:
        """A driver that says nothing for longer than any test may take was stopped."""
        quiet = self._limits.quiet_s(self.pending[0].asked.problem) + _SLACK_S if self.pending else _START_S
        self.deadline = time.monotonic() + quiet

    def _room(self) -> int:
        """Most bytes that a reply may take."""
        printed = self._limits.outputs(self.pending[0].asked.problem) if self.pending else 0
        return printed * _ESCAPED + _REST

    def _more(self) -> bytes | None:
        """The next programs for the driver; None when there are none, and none to come."""
        parts, self._enough = self._enough, []
        while len(self.pending) < (2 if self._plenty() else 1) and (work := self._next()):
            job = make_job(work, self._limits)
            parts.append(frame(job.payload) + frame(job.tests))
            self.pending.append(work)
            self._jobs.append(job)
            if len(self.pending) == 1 and self.ready:
                self._wind(time.monotonic())
        return b"".join(parts) if self.pending else None

    def _next(self) -> Work | None:
        if self._unfinished:
            return self._unfinished.popleft()
        if self._most == 0:
            return None
        self._most -= 1
        return self._take()


def _are_results(value: Any) -> TypeGuard[list[list[str]]]:
    """A list of `[status, text]`."""
    return isinstance(value, list) and all(
        isinstance(one, list) and len(one) == 2 and isinstance(one[0], str) and isinstance(one[1], str)
        for one in value
    )


def make_job(work: Work, limits: JudgeLimits) -> Job:
    """What the driver gets for the run that `work` asks for."""
    problem = work.asked.problem
    cpu_s = limits.cpu_s(problem)
    payload = {
        "id": work.index,
        "style": problem.tests[0].kind,
        "code": work.asked.code,
        "prelude": problem.prelude,
        "entry_point": problem.entry_point or "",
        "cpu_s": max(cpu_s),
        "wall_s": max(cpu_s) * limits.wall_factor,
        "memory_mb": limits.memory_mb,
        "output_bytes": limits.output(problem),
        "outputs_bytes": limits.outputs(problem),
    }
    nonce = secrets.token_hex(16)
    bounds = [{"cpu_s": one, "wall_s": one * limits.wall_factor} for one in cpu_s]
    inputs = [test.input for test in problem.tests]
    return Job(payload, {"nonce": nonce, "inputs": inputs, "limits": bounds}, nonce)
