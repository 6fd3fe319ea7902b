"""The types that the wings of `evals` share: problems, samples, verdicts, and who judges programs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import date
from enum import StrEnum
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from forklock.models.contract import Completion, Decoding, ModelIdentity
from forklock.sandbox.fault import Fault


class EvalFault(Fault):
    """An evaluation cannot go on. `fix` says what the user can do next."""

    exit_code = 2
    """Exit code of the command; most of these faults are bad input."""


class Frozen(BaseModel):
    """Base of the room's records: immutable, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


MOST_S = 3600.0
"""Largest CPU limit of a test, in seconds, that a record may set."""
CheckerKind = Literal["exact", "tokens", "float", "lines", "any", "program"]


class Checker(Frozen):
    """Says when an output is right, where the usual comparison is not enough (see `forklock.evals.judging.outputs`)."""

    kind: CheckerKind
    abs_tol: float = Field(default=1e-6, ge=0, allow_inf_nan=False)
    rel_tol: float = Field(default=1e-6, ge=0, lt=1)
    """For `float`: a number is right if either tolerance holds."""
    answers: tuple[tuple[str, ...], ...] = ()
    """For `any`: further right outputs of each test, besides its own `output`; public tests first."""
    code: str = ""
    """For `program`: Python that defines `check(input, expected, output)`; all three are text as in the test. It
    returns True, False or a reason (text), and runs in the sandbox."""


class TestCase(Frozen):
    """One test of a problem.

    `stdin`: text in, text out. `functional`: one JSON argument a line, JSON result. `assert`: `input` is a program that
    raises unless the solution is right (the solution is bound to `candidate` and to the entry point's name); `output`
    is empty.
    """

    __test__ = False

    kind: Literal["stdin", "functional", "assert"]
    input: str
    output: str
    public: bool = False
    time_limit_s: float | None = Field(default=None, gt=0, le=MOST_S)
    """CPU seconds; None takes the problem's limit."""


class Problem(Frozen):
    """A LiveCodeBench-style problem. HumanEval and MBPP adapt to it."""

    question_id: str = Field(max_length=500)
    title: str
    prompt: str
    """The statement; for completion-style sets, the code to continue is in `starter_code`."""
    starter_code: str = ""
    prelude: str = ""
    """Code that runs before every program of this problem: given imports, classes and helpers."""
    entry_point: str | None = None
    """The function or method that functional and assert tests call."""
    difficulty: str = "unknown"
    platform: str = "unknown"
    contest_date: date | None = None
    tests: tuple[TestCase, ...]
    time_limit_s: float = Field(default=10.0, gt=0, le=MOST_S)
    """CPU seconds per test on the reference machine."""
    checker: Checker | None = None
    """None takes the usual comparison (`forklock.evals.judging.outputs`)."""
    interactive: bool = False
    """The program talks with a judge while it runs. This is not supported: every run leaves such problems out."""

    def limit_s(self, test: int) -> float:
        """CPU seconds of one test."""
        return self.tests[test].time_limit_s or self.time_limit_s


class ProblemSet(Frozen):
    name: str
    version: str
    """Digest of the problems' content; it is part of every cache key."""
    problems: tuple[Problem, ...]
    left_out: tuple[str, ...] = ()
    """Ids of the interactive problems, which cannot be judged."""


class Verdict(StrEnum):
    PASSED = "passed"
    WRONG_ANSWER = "wrong answer"
    EXCEPTION = "exception"
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"
    NO_CODE = "no code"
    INFRASTRUCTURE = "infrastructure error"
    """The judge failed. This is never counted as a wrong answer, and always reported."""


class Judgement(Frozen):
    """The verdict on one program."""

    verdict: Verdict
    failing_test: int | None = None
    """Index into `Problem.tests` of the first test that failed."""
    reason: str = ""
    wall_s: float = 0.0


Attempt = tuple[Problem, str | None]
"""A program for a problem; None where the answer holds no program."""
OnResult = Callable[[int, Judgement], None]
"""Called in the caller's thread with (index of the attempt, judgement), in any order."""


class ProgramJudge(Protocol):
    """Judges programs, on this machine (`forklock.evals.judging.judge.Judge`) or on a cluster
    (`forklock.evals.cluster.RayJudge`)."""

    @property
    def stamp(self) -> str:
        """What a verdict depends on besides program and problem: the judge's version, its limits and its Python."""

    def judge_many(
        self, attempts: Sequence[Attempt], *, workers: int | None = None, on_result: OnResult | None = None
    ) -> list[Judgement]:
        """Judge all attempts: `result[i]` belongs to `attempts[i]`; None as `workers` takes the judge's own default."""


class Sample(Frozen):
    """One generated answer to one problem, and its judgement."""

    key: str
    question_id: str
    index: int
    completion: Completion
    code: str | None
    judgement: Judgement | None = None
    turn: int = 0
    """Repair turn that made it (`forklock.evals.runs.repair`); 0 is the first answer."""


def public_part(problem: Problem) -> Problem | None:
    """The problem with its public tests only; None where it has none."""
    tests = tuple(test for test in problem.tests if test.public)
    if not tests or problem.tests[: len(tests)] != tests:
        return None
    update: dict[str, object] = {"tests": tests}
    if problem.checker is not None and problem.checker.answers:
        update["checker"] = problem.checker.model_copy(
            update={"answers": problem.checker.answers[: len(tests)]}
        )
    return problem.model_copy(update=update)


def sample_key(
    model: ModelIdentity,
    set_version: str,
    question_id: str,
    prompt_digest: str,
    decoding: Decoding,
    index: int,
) -> str:
    """Return the cache key of a sample; it changes with anything that shapes the sample."""
    parts = (
        model.model_dump_json(),
        set_version,
        question_id,
        prompt_digest,
        decoding.digest(),
        str(decoding.seed),
        str(index),
    )
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
