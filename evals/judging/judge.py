"""evals: judges programs in the sandbox: a problem and a program in, a `Judgement` out.

Programs run under `forklock.evals.judging.driver.main`, which gets the tests' inputs only; outputs are compared
here, outside
the sandbox. Several programs share one sandboxed driver, one after the other, each in processes and a folder of its
own. Drivers that work at the same time have a sandbox each. When a driver dies under a program, that program is run
once more alone, so that a neighbour is never blamed. A problem's checker program runs in the sandbox as one more
program. Not covered: interactive problems.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue
from typing import Self

from forklock.evals.contract import Attempt, EvalFault, Judgement, OnResult, Problem, Verdict
from forklock.evals.judging.driver.supervisor import UNEXPLAINED
from forklock.evals.judging.driver_session import DriverSession, Work
from forklock.evals.judging.launch import ISOLATED, driver_command, gathered_libraries, judge_policy
from forklock.evals.judging.limits import JudgeLimits, judge_stamp
from forklock.evals.judging.procedure import Died
from forklock.sandbox import BackendName, ExecResult, Limits, Sandbox, SandboxFault, open_sandbox, scratch

_PREFETCH = 4
"""Prefetch while at least this many programs per worker are queued; the last ones go to whoever is free first."""
_LONG_S = 30 * 24 * 3600.0
"""No limit on a driver as a whole: its session limits each program."""


class _WorkQueue:
    """The queue that the workers of one call share: programs to judge, and results.

    It needs no lock: `append`, `popleft` and `extendleft` of a deque are atomic.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.waiting: deque[Work] = deque()
        self._judged: SimpleQueue[Work | None] = SimpleQueue()

    def order(self) -> None:
        """Sort by size, largest first: a long program that starts last keeps one worker busy and the others idle."""
        self.waiting = deque(sorted(self.waiting, key=lambda work: -work.size))

    def take(self) -> Work | None:
        """Return the next work, or None."""
        try:
            return self.waiting.popleft()
        except IndexError:
            return None

    def give_back(self, works: Iterable[Work]) -> None:
        """Put work back at the front, in its order."""
        self.waiting.extendleft(reversed(list(works)))

    def prefetch(self) -> bool:
        """Return whether a driver may get its next program early."""
        return len(self.waiting) >= _PREFETCH * self.workers

    def finish(self, work: Work) -> None:
        """Report judged work."""
        self._judged.put(work)

    def leave(self) -> None:
        """Report that a worker has ended."""
        self._judged.put(None)

    def finished(self) -> Iterator[Work]:
        """Yield judged work as it comes, until all workers have ended."""
        left = self.workers
        while left:
            work = self._judged.get()
            if work is None:
                left -= 1
            else:
                yield work


class Judge:
    """Judges programs in sandboxes on this machine. A context manager; several threads may share one."""

    def __init__(
        self, backend: BackendName = "auto", *, limits: JudgeLimits | None = None, batch: int = 128
    ) -> None:
        """
        Args:
            batch: number of programs that share one sandboxed driver; 1 gives each its own.

        Raises:
            SandboxFault: no sandbox can be opened here.
        """
        self.limits = limits or JudgeLimits()
        self.batch = max(1, batch)
        self._backend = backend
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._free: list[Sandbox] = []
        libraries = self._stack.enter_context(gathered_libraries())
        self._libraries = str(libraries.folder)
        self._policy, self._python = judge_policy(libraries)
        try:
            self._first = self._open()
        except BaseException:
            self._stack.close()
            raise
        self._free.append(self._first)

    @property
    def stamp(self) -> str:
        """What a verdict depends on besides program and problem."""
        return judge_stamp(self.limits)

    @property
    def backend(self) -> str:
        return self._first.backend

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    def judge(self, problem: Problem, code: str | None) -> Judgement:
        """Judge one program."""
        return self.judge_many([(problem, code)], workers=1)[0]

    def judge_many(
        self, attempts: Sequence[Attempt], *, workers: int | None = None, on_result: OnResult | None = None
    ) -> list[Judgement]:
        """Judge programs in parallel: `result[i]` belongs to `attempts[i]`.

        An infrastructure fault under one program is that program's verdict (`INFRASTRUCTURE`). It is never counted as
        a wrong answer and never stops the other programs.

        Args:
            workers: number of sandboxed drivers at once; None takes one per usable core.
        """
        queue = _WorkQueue(workers or len(os.sched_getaffinity(0)))
        results: list[Judgement | None] = [None] * len(attempts)

        def done(index: int, judgement: Judgement) -> None:
            results[index] = judgement
            if on_result is not None:
                on_result(index, judgement)

        for index, (problem, code) in enumerate(attempts):
            early = _without_running(problem, code)
            done(index, early) if early else queue.waiting.append(Work(index, (problem, code)))
        queue.order()
        with ThreadPoolExecutor(max_workers=queue.workers, thread_name_prefix="judge") as pool:
            futures = [pool.submit(self._worker, queue) for _ in range(queue.workers)]
            try:
                for work in queue.finished():
                    if work.judgement is not None:
                        done(work.index, work.judgement)
            except BaseException:
                queue.waiting.clear()  # each worker ends after its current program
                raise
            for future in futures:
                future.result()
        return [judgement for judgement in results if judgement is not None]

    def measure(self, attempts: Sequence[Attempt]) -> list[tuple[Judgement, list[float]]]:
        """Judge one program at a time; return judgements with the wall-clock seconds of each test."""
        measured = []
        for index, attempt in enumerate(attempts):
            work = Work(index, attempt)
            judgement = self._alone(work)
            measured.append((judgement, work.seconds))
        return measured

    def _worker(self, queue: _WorkQueue) -> None:
        """Judge until the queue is empty, with one driver after the other."""
        try:
            while queue.waiting:
                session = DriverSession(
                    queue.take, self.limits, most=self.batch, prefetch=queue.prefetch, finish=queue.finish
                )
                self._run(session)
                left = session.left()
                if not left and not session.ready:  # no driver starts: the next program's verdict says why
                    left = [work for work in [queue.take()] if work is not None]
                if left:  # the driver ended under the first
                    suspect, *others = left
                    queue.give_back(others)
                    retried = suspect.restarted()
                    self._alone(retried)
                    queue.finish(retried)
        finally:
            queue.leave()

    def _alone(self, work: Work) -> Judgement:
        """Judge one program whose drivers run nothing else."""
        while work.judgement is None:
            queue = _WorkQueue(1)
            queue.waiting.append(work)
            died = self._run(DriverSession(queue.take, self.limits))
            if work.judgement is None:
                work.advance(Died(died))
        return work.judgement

    def _run(self, session: DriverSession) -> Judgement:
        """Run a driver to its end; return the verdict on a program that it ended under."""
        limits = Limits(wall_s=_LONG_S, memory_mb=max(2 * self.limits.memory_mb, 2048), output_bytes=1 << 16)
        try:
            with self._lent() as sandbox:
                arguments = [self._libraries, *([] if sandbox.backend == "host" else [ISOLATED])]
                ran = sandbox.exec(
                    [*self._python, *driver_command(), *arguments], stdin=session, limits=limits
                )
        except SandboxFault as fault:
            return Judgement(verdict=Verdict.INFRASTRUCTURE, reason=fault.message)
        return _why_none(ran, session)

    @contextmanager
    def _lent(self) -> Iterator[Sandbox]:
        """Lend a sandbox to one driver at a time: in one docker container, drivers could meet."""
        with self._lock:
            sandbox = self._free.pop() if self._free else None
        if sandbox is None:
            sandbox = self._open()
        try:
            yield sandbox
        finally:
            with self._lock:
                self._free.append(sandbox)

    def _open(self) -> Sandbox:
        with ExitStack() as opening:
            folder = opening.enter_context(scratch())
            opened = opening.enter_context(open_sandbox(folder, self._policy, backend=self._backend))
            with self._lock:
                self._stack.push(opening.pop_all())
        return opened


def _without_running(problem: Problem, code: str | None) -> Judgement | None:
    """Return the verdict on a program that need not run, or None.

    Raises:
        EvalFault: the problem cannot be judged.
    """
    if problem.interactive:
        raise EvalFault(
            f"{problem.question_id} is interactive: its program talks with a judge, which is not supported",
            fix="leave it out; `evals run` and `evals judge` do so by themselves",
        )
    if code is None or not code.strip():
        return Judgement(verdict=Verdict.NO_CODE, reason="the answer holds no program")
    if "\0" in code:
        return Judgement(verdict=Verdict.EXCEPTION, reason="the program holds a null byte")
    kinds = {test.kind for test in problem.tests}
    if len(kinds) != 1 or (kinds == {"assert"} and len(problem.tests) != 1):
        raise EvalFault(
            f"{problem.question_id}: tests must be of one kind, assert tests one program",
            fix="correct the problem's record",
        )
    return None


def _why_none(ran: ExecResult, session: DriverSession) -> Judgement:
    """Return the verdict on a program that ran alone and whose driver ended before its result."""
    if session.cut:
        return Judgement(verdict=Verdict.INFRASTRUCTURE, reason="the results were cut")
    if not session.ready:
        tail = ran.stderr.decode("utf-8", errors="replace").strip()[-300:]
        reason = f"the judge's driver did not start (exit {ran.exit_code}): {tail}"
        return Judgement(verdict=Verdict.INFRASTRUCTURE, reason=reason)
    if ran.exit_code == UNEXPLAINED:
        memory = Verdict.OUT_OF_MEMORY, "the kernel killed it: the sandbox ran out of memory"
        verdict, reason = (
            memory if ran.oom_killed else (Verdict.EXCEPTION, "ended by SIGKILL, not for its memory")
        )
        return Judgement(verdict=verdict, reason=reason, failing_test=session.received)
    if ran.oom_killed:
        return Judgement(verdict=Verdict.OUT_OF_MEMORY, reason="the sandbox ran out of memory")
    if ran.timed_out and not session.broken:
        return Judgement(verdict=Verdict.TIMED_OUT, reason="the program stopped the judge's driver")
    return Judgement(verdict=Verdict.EXCEPTION, reason="the program ended the judge's driver")
