"""evals: the judge's side of the protocol with one driver (`forklock.evals.judging.driver.main`).

Input: a source of programs, and the bytes that the driver writes. Output: the bytes that the driver reads, and each
program's judgement. The two exchange frames of JSON, each after its length. A driver holds two programs at most: the
one that it runs and, while many are queued, the next one, so that it never waits. What it has not answered when it ends
stays in `pending`; the first of these is the program that it ended under. Not covered: what a reply means
(`forklock.evals.judging.procedure`).
"""

from __future__ import annotations

import json
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from forklock.evals.contract import Attempt, Judgement
from forklock.evals.judging.limits import JudgeLimits
from forklock.evals.judging.procedure import Died, Judging, Ran, RunRequest, is_wrong, judging

_START_S = 60.0
"""Seconds that a driver may take to start, and to end when its work is done."""
_SLACK_S = 10.0
_ESCAPED = 6
"""Largest number of bytes that one byte of output takes in the driver's JSON."""
_REST = 1 << 20
_HEAD = 8
"""Bytes of the big-endian length before each frame."""


def frame(value: Any) -> bytes:
    """Encode a value as one frame."""
    data = json.dumps(value).encode()
    return len(data).to_bytes(_HEAD, "big") + data


def whole_frames(data: bytearray) -> Iterator[Any]:
    """Yield the values of the leading frames that are complete, and remove them from `data`.

    Raises:
        ValueError: a frame holds no JSON.
    """
    at = 0
    try:
        while at + _HEAD <= len(data):
            start = at + _HEAD
            end = start + int.from_bytes(data[at:start], "big")
            if end > len(data):
                return
            at = end
            try:
                yield json.loads(data[start:end])
            except RecursionError:
                raise ValueError("nested too deeply") from None
    finally:
        del data[:at]


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a program: what the driver may know at once, and what only its supervisor may know."""

    payload: dict[str, Any]
    tests: dict[str, Any]
    nonce: str
    """A secret of the judge and the supervisor: a result without it is forged."""


@dataclass(eq=False)
class Work:
    """A program on its way to its judgement."""

    index: int
    attempt: Attempt
    judgement: Judgement | None = None
    wall_s: float = 0.0
    """Seconds that drivers spent on it."""
    seconds: list[float] = field(default_factory=list)
    """Wall-clock seconds of each test that ran, over all its runs in order."""

    def __post_init__(self) -> None:
        self._judging: Judging = judging(self.attempt)
        self.request: RunRequest = next(self._judging)

    @property
    def size(self) -> int:
        """Characters of its tests' inputs."""
        return sum(len(test.input) for test in self.attempt[0].tests)

    def restarted(self) -> Work:
        """Return the same work from its beginning."""
        return Work(self.index, self.attempt, wall_s=self.wall_s)

    def advance(self, outcome: Ran | Died) -> bool:
        """Go on with the outcome of `request`; return True when the judgement is there."""
        try:
            self.request = self._judging.send(outcome)
        except StopIteration as ended:
            judgement: Judgement = ended.value
            self.judgement = judgement.model_copy(update={"wall_s": round(self.wall_s, 4)})
            return True
        return False


class DriverSession:
    """The dialogue with one driver (a `forklock.sandbox.Talk`)."""

    def __init__(
        self,
        take: Callable[[], Work | None],
        limits: JudgeLimits,
        *,
        most: int = 1,
        prefetch: Callable[[], bool] = lambda: False,
        finish: Callable[[Work], None] = lambda _: None,
    ) -> None:
        """
        Args:
            take: returns the next work; None when there is no more.
            most: number of programs that this driver gets at most.
            prefetch: returns whether the driver may get a second program before the first is done.
            finish: called with each work that has its judgement.
        """
        self.deadline = time.monotonic() + _START_S
        self.pending: deque[Work] = deque()
        self.ready = False
        """The driver has started."""
        self.cut = False
        """The driver wrote more than any reply may take."""
        self.broken = False
        """The driver wrote something that breaks the protocol."""
        self._take, self._prefetch, self._finish = take, prefetch, finish
        self._limits, self._most = limits, most
        self._jobs: deque[Job] = deque()
        self._unfinished: deque[Work] = deque()
        self._buffer = bytearray()
        self._since = 0.0
        self.received = 0
        """Tests of the running program whose results have arrived."""
        self._cancels: list[bytes] = []

    def answer(self, said: bytes) -> bytes | None:
        """Take what the driver wrote; return what it reads next, or None to close its input."""
        self._buffer += said
        try:
            for value in whole_frames(self._buffer):
                self._receive(value)
        except (ValueError, TypeError):
            self.broken = True
            self.deadline = 0.0  # end this driver now
            return None
        if len(self._buffer) > self._room():
            self.cut, self.deadline = True, 0.0
            return None
        return self._more()

    def left(self) -> list[Work]:
        """Return the work that is not done; the program that the driver ended under comes first."""
        return [*self.pending, *self._unfinished]

    def _receive(self, value: Any) -> None:
        """Take one reply.

        Raises:
            ValueError: the protocol does not allow it now.
        """
        if not self.ready:
            self.ready = True
            self._restart_clock(time.monotonic())
            return
        job = self._jobs[0] if self._jobs else None
        if job is None or not isinstance(value, dict) or value.get("nonce") != job.nonce:
            raise ValueError("a forged reply")
        work, early = self.pending[0], value.get("so_far")
        results = value.get("results") if early is None else early
        before = 0 if early is None else self.received
        if not _are_results(results) or before + len(results) > len(work.request.problem.tests):
            raise ValueError("not results of these tests")
        if early is not None:
            if is_wrong(work.request, self.received, early):
                self._cancels.append(frame({"enough": job.nonce}))
            self.received += len(early)
            self._extend_deadline()
            return
        seconds = [float(one) for one in value.get("seconds", ())]
        now = time.monotonic()
        work.wall_s += now - self._since
        work.seconds += seconds
        self.received = 0
        self.pending.popleft()
        self._jobs.popleft()
        if work.advance(Ran(results)):
            self._finish(work)
        else:
            self._unfinished.append(work)
        self._restart_clock(now)

    def _restart_clock(self, now: float) -> None:
        """Start the clock for the next program."""
        self._since = now
        self._extend_deadline()

    def _extend_deadline(self) -> None:
        """Set the time by which the driver must write something; a stopped driver does not."""
        quiet = self._limits.quiet_s(self.pending[0].request.problem) + _SLACK_S if self.pending else _START_S
        self.deadline = time.monotonic() + quiet

    def _room(self) -> int:
        """Largest number of bytes that a reply may take."""
        printed = self._limits.outputs(self.pending[0].request.problem) if self.pending else 0
        return printed * _ESCAPED + _REST

    def _more(self) -> bytes | None:
        """Return the next programs for the driver; None when there are none, and none will come."""
        parts, self._cancels = self._cancels, []
        while len(self.pending) < (2 if self._prefetch() else 1) and (work := self._next()):
            job = make_job(work, self._limits)
            parts.append(frame(job.payload) + frame(job.tests))
            self.pending.append(work)
            self._jobs.append(job)
            if len(self.pending) == 1 and self.ready:
                self._restart_clock(time.monotonic())
        return b"".join(parts) if self.pending else None

    def _next(self) -> Work | None:
        if self._unfinished:
            return self._unfinished.popleft()
        if self._most == 0:
            return None
        self._most -= 1
        return self._take()


def _are_results(value: Any) -> TypeGuard[list[list[str]]]:
    """Return whether the value is a list of `[status, text]`."""
    return isinstance(value, list) and all(
        isinstance(one, list) and len(one) == 2 and isinstance(one[0], str) and isinstance(one[1], str)
        for one in value
    )


def make_job(work: Work, limits: JudgeLimits) -> Job:
    """Make the job for the run that `work` requests."""
    problem = work.request.problem
    cpu_s = limits.cpu_s(problem)
    payload = {
        "id": work.index,
        "style": problem.tests[0].kind,
        "code": work.request.code,
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
