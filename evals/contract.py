"""The seam of the room: problems, samples, verdicts."""

from __future__ import annotations

import hashlib
from datetime import date
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from models.contract import Completion, Decoding, ModelIdentity
from sandbox.fault import Fault


class EvalFault(Fault):
    """An evaluation cannot go on. `fix` says what the user can do next."""

    exit_code = 2
    """What a command ends with: most of these are bad input."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


MOST_S = 3600.0
"""CPU seconds that a record may allow a test at most."""
CheckerKind = Literal["exact", "tokens", "float", "lines", "any", "program"]


class Checker(_Frozen):
    """When an output is right, where that is not the usual comparison. Data; see `evals.judging.outputs`."""

    kind: CheckerKind
    abs_tol: float = Field(default=1e-6, ge=0, allow_inf_nan=False)
    rel_tol: float = Field(default=1e-6, ge=0, lt=1)
    """Of `float`: a number is right if either bound holds."""
    answers: tuple[tuple[str, ...], ...] = ()
    """Of `any`: the right outputs of each test, besides its own `output`; public tests first."""
    code: str = ""
    """Of `program`: Python that defines `check(input, expected, output)`, all three text as they are in the test. It
    returns True, or False or a reason (text), and runs in the sandbox."""


class TestCase(_Frozen):
    """One test. `stdin`: text in, text out. `functional`: JSON arguments a line, JSON result.
    `assert`: `input` is a program that raises unless the solution is right (it finds the solution as
    `candidate` and under the entry point's own name); `output` is empty."""

    __test__ = False

    kind: Literal["stdin", "functional", "assert"]
    input: str
    output: str
    public: bool = False
    time_limit_s: float | None = Field(default=None, gt=0, le=MOST_S)
    """None takes the problem's."""


class Problem(_Frozen):
    """A LiveCodeBench-style problem. HumanEval and MBPP adapt to it."""

    question_id: str = Field(max_length=500)
    title: str
    prompt: str
    """The statement; for completion-style sets, the code to continue is in `starter_code`."""
    starter_code: str = ""
    prelude: str = ""
    """Code that every program of this problem finds already run: given imports, classes and helpers."""
    entry_point: str | None = None
    """Function or method that functional and assert tests call."""
    difficulty: str = "unknown"
    platform: str = "unknown"
    contest_date: date | None = None
    tests: tuple[TestCase, ...]
    time_limit_s: float = Field(default=10.0, gt=0, le=MOST_S)
    """Per test, on the reference machine."""
    checker: Checker | None = None
    """None: the usual comparison (`evals.judging.outputs`)."""
    interactive: bool = False
    """The program talks with a judge while it runs: not supported, such problems are left out of every run."""

    def limit_s(self, test: int) -> float:
        """CPU seconds of one test."""
        return self.tests[test].time_limit_s or self.time_limit_s


class ProblemSet(_Frozen):
    name: str
    version: str
    """Digest of the problems' content: part of every cache key."""
    problems: tuple[Problem, ...]
    left_out: tuple[str, ...] = ()
    """Interactive problems, by id: they cannot be judged."""


class Verdict(StrEnum):
    PASSED = "passed"
    WRONG_ANSWER = "wrong answer"
    EXCEPTION = "exception"
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"
    NO_CODE = "no code"
    INFRASTRUCTURE = "infrastructure error"
    """Not the program's fault: never counted as a wrong answer, always reported."""


class Judgement(_Frozen):
    verdict: Verdict
    failing_test: int | None = None
    """Index into `Problem.tests` of the first that failed."""
    reason: str = ""
    wall_s: float = 0.0


class Sample(_Frozen):
    """One generated answer to one problem, and what the judge said of it."""

    key: str
    question_id: str
    index: int
    completion: Completion
    code: str | None
    judgement: Judgement | None = None
    turn: int = 0
    """Of a repair (`evals.runs.repair`); 0 is the first answer."""


def sample_key(
    model: ModelIdentity,
    set_version: str,
    question_id: str,
    prompt_digest: str,
    decoding: Decoding,
    index: int,
) -> str:
    """Cache key: changes with anything that shapes the sample."""
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
