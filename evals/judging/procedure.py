"""evals: the steps from one program to its verdict, independent of where it runs.

Input: a problem and a program. Output: a generator that requests runs (`RunRequest`), is sent the outcome of each, and
returns a `Judgement`. Most programs need one run. For a problem with a checker program, one more run checks the
outputs. Nothing runs here.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from forklock.evals.contract import Checker, Judgement, Problem, TestCase, Verdict
from forklock.evals.judging.outputs import checked_mismatch, usual_mismatch

Attempt = tuple[Problem, str | None]

_VERDICTS = {
    "wrong": Verdict.WRONG_ANSWER,
    "exception": Verdict.EXCEPTION,
    "timeout": Verdict.TIMED_OUT,
    "memory": Verdict.OUT_OF_MEMORY,
    "output": Verdict.WRONG_ANSWER,
}


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Requests a run of a program on all tests of a problem."""

    problem: Problem
    code: str | None


@dataclass(frozen=True, slots=True)
class Ran:
    """The driver reported a run: one `[status, output or reason]` per test that ran, in order."""

    results: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Died:
    """The driver ended while it ran this program alone; `judgement` is the verdict on that."""

    judgement: Judgement


Judging = Generator[RunRequest, Ran | Died, Judgement]


def judging(attempt: Attempt) -> Judging:
    """Judge one program by as many runs as it takes."""
    request = RunRequest(*attempt)
    outcome = yield request
    judgement = _ruling(request, outcome)
    if isinstance(outcome, Ran):
        judgement = yield from _by_checker(attempt[0], judgement, outcome)
    return judgement


def _ruling(request: RunRequest, outcome: Ran | Died) -> Judgement:
    return outcome.judgement if isinstance(outcome, Died) else verdict_from(request.problem, outcome.results)


def verdict_from(problem: Problem, results: Sequence[Any]) -> Judgement:
    """Judge what the driver reported: one `[status, output or reason]` per test that ran, in order."""
    for index, (status, text) in enumerate(results):
        if status != "ok":
            verdict = _VERDICTS.get(status, Verdict.INFRASTRUCTURE)
            return Judgement(verdict=verdict, failing_test=index, reason=text)
        if reason := _mismatch(problem, index, text):
            return Judgement(verdict=Verdict.WRONG_ANSWER, failing_test=index, reason=reason)
    if len(results) < len(problem.tests):
        return Judgement(verdict=Verdict.INFRASTRUCTURE, reason="the driver stopped before the last test")
    return Judgement(verdict=Verdict.PASSED)


def is_wrong(request: RunRequest, first: int, results: Sequence[Any]) -> bool:
    """Return whether a partial report decides the run: one of `results`, of the tests from `first` on, is wrong.

    A checker program is not run on partial reports.
    """
    return any(
        status == "ok" and _mismatch(request.problem, number, text) is not None
        for number, (status, text) in enumerate(results, first)
    )


def _mismatch(problem: Problem, number: int, text: str) -> str | None:
    test, checker = problem.tests[number], problem.checker
    if checker is None:
        return usual_mismatch(test, text)
    return None if checker.kind == "program" else checked_mismatch(checker, test, number, text)


# --- checker programs -------------------------------------------------------------------------------


def _has_program(problem: Problem) -> bool:
    return problem.checker is not None and problem.checker.kind == "program"


def _by_checker(problem: Problem, judgement: Judgement, outcome: Ran) -> Judging:
    """Let the problem's checker program, if there is one, check the outputs; return the judgement after that."""
    outputs = [text for status, text in outcome.results if status == "ok"]
    if problem.checker is None or not _has_program(problem) or not outputs:
        return judgement
    verdict = yield from judging(_checking(problem, problem.checker, outputs))
    if verdict.verdict is Verdict.EXCEPTION and verdict.failing_test is not None:
        verdict = yield from _unread(problem, verdict, verdict.failing_test)
    return _refused(judgement, verdict)


def _unread(problem: Problem, failed: Judgement, test: int) -> Judging:
    """A checker raised: decide whether the output or the checker is at fault, by giving it the expected output."""
    one = _only(problem, test)
    if one.checker is None:
        return failed
    own = yield from judging(_checking(one, one.checker, [one.tests[0].output]))
    if own.verdict is Verdict.PASSED:
        reason = f"not what the checker can read ({failed.reason}), expected -"
        return failed.model_copy(update={"verdict": Verdict.WRONG_ANSWER, "reason": reason})
    return failed


def _only(problem: Problem, test: int) -> Problem:
    update: dict[str, Any] = {"tests": (problem.tests[test],)}
    if problem.checker is not None and problem.checker.answers:
        update["checker"] = problem.checker.model_copy(
            update={"answers": problem.checker.answers[test : test + 1]}
        )
    return problem.model_copy(update=update)


def _checking(problem: Problem, checker: Checker, outputs: Sequence[str]) -> Attempt:
    """Return the checker as a program whose tests are the outputs to check."""
    tests = tuple(
        TestCase(
            kind="functional", input="\n".join(map(json.dumps, (t.input, t.output, output))), output="true"
        )
        for t, output in zip(problem.tests, outputs, strict=False)
    )
    request = Problem(
        question_id=problem.question_id, title="checker", prompt="", entry_point="check", tests=tests
    )
    return request, checker.code


def _refused(found: Judgement, checked: Judgement) -> Judgement:
    """Return the checker's verdict where it rejects an output, else the judgement without it."""
    if checked.verdict is Verdict.PASSED:
        return found
    if checked.verdict is not Verdict.WRONG_ANSWER:
        reason = f"the checker failed ({checked.verdict.value}): {checked.reason}"
        return Judgement(verdict=Verdict.INFRASTRUCTURE, reason=reason)
    outcome = checked.reason.rpartition(", expected ")[0].strip("'\"")
    reason = "refused by the checker" + (f": {outcome}" if outcome not in ("false", "") else "")
    return checked.model_copy(update={"reason": reason})
