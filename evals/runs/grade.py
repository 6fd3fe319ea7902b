"""evals: grades programs that exist already, and finds time limits from programs that are known to be right.

Input: a problem set and a JSONL file of `{question_id, code}` (several lines of one problem are its samples). Output:
a `Grade` per line, in the file's order. Nothing is stored between calls; a file of grades that was begun is continued.
Not covered: making programs (`forklock.evals.runs.run`).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from forklock.evals.contract import EvalFault, Frozen, Judgement, ProblemSet, ProgramJudge, Verdict
from forklock.evals.judging import Judge
from forklock.evals.problems.files import read_lines
from forklock.evals.results import PassAtK, ProblemResult
from forklock.evals.statistics.stats import pass_at
from forklock.sandbox.files.atomic import write_atomic
from forklock.sandbox.files.jsonl import append_line, as_json, parser, scan


class Grade(Frozen):
    """The verdict on one line."""

    line: int = Field(ge=1)
    """Line of the solutions file, from 1."""
    question_id: str
    verdict: Verdict
    passed: bool
    failing_test: int | None
    """Index, from 0 and public tests first, of the first test that failed; None where none failed."""
    reason: str
    wall_s: float
    """Seconds that the driver spent on it."""
    judged: str
    """Digest of the program, the set and the judge; the grade holds as long as it is the same."""


@dataclass(frozen=True, slots=True)
class Solution:
    """One line of a solutions file."""

    line: int
    question_id: str
    code: str | None
    """None where the answer holds no program."""


def read_solutions(path: Path, problems: ProblemSet) -> list[Solution]:
    """Read a solutions file; fields other than `question_id` and `code` are ignored.

    Raises:
        EvalFault: the file cannot be read, a line is no such record, or names a problem that is not in the set.
    """
    known = {problem.question_id for problem in problems.problems} | {*problems.left_out}
    solutions: list[Solution] = []
    for number, line in read_lines(path):
        solution = _solution(path, number, line)
        if solution.question_id not in known:
            raise EvalFault(
                f"{path.name}, line {number}: {problems.name} has no problem {solution.question_id[:80]!r}",
                fix="give the set that the solutions were written for, without filters",
            )
        solutions.append(solution)
    if not solutions:
        raise EvalFault(f"{path} holds no solution", fix='a line is {"question_id": "…", "code": "…"}')
    return solutions


def _solution(path: Path, number: int, line: str) -> Solution:
    try:
        record = json.loads(line)
        name, code = record["question_id"], record["code"]
        if not isinstance(name, str | int) or not isinstance(code, str | None):
            raise TypeError("question_id must be a string, code a string or null")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = f"the field {error} is missing" if isinstance(error, KeyError) else str(error)
        raise EvalFault(
            f"{path.name}, line {number}: {what}", fix='a line is {"question_id": "…", "code": "…"}'
        ) from error
    return Solution(number, str(name), code)


def grade(
    judge: ProgramJudge,
    problems: ProblemSet,
    solutions: Sequence[Solution],
    *,
    held: Mapping[int, Grade] | None = None,
    workers: int | None = None,
    on_grade: Callable[[Grade], None] | None = None,
) -> list[Grade]:
    """Grade all solutions; the result has their order.

    Args:
        held: grades of an earlier call, by line; one is kept if it is a verdict and its digest still fits.
        workers: number of programs judged at once; None takes one per usable core.
        on_grade: called with each new grade as it comes, in any order.
    """
    by_id = {problem.question_id: problem for problem in problems.problems}
    grades = {s.line: g for s in solutions if (g := _held(s, problems, judge, held or {})) is not None}
    left = [
        solution for solution in solutions if solution.line not in grades and solution.question_id in by_id
    ]

    def graded(solution: Solution, judgement: Judgement) -> None:
        found = _grade(solution, judgement, _digest(solution, problems, judge))
        grades[found.line] = found
        if on_grade is not None:
            on_grade(found)

    def judged(index: int, judgement: Judgement) -> None:
        graded(left[index], judgement)

    for solution in solutions:
        if solution.question_id not in by_id:
            graded(solution, _INTERACTIVE)
    judge.judge_many([(by_id[s.question_id], s.code) for s in left], workers=workers, on_result=judged)
    return [grades[solution.line] for solution in solutions]


def _grade(solution: Solution, judgement: Judgement, digest: str) -> Grade:
    return Grade(
        line=solution.line,
        question_id=solution.question_id,
        verdict=judgement.verdict,
        passed=judgement.verdict is Verdict.PASSED,
        failing_test=judgement.failing_test,
        reason=judgement.reason,
        wall_s=judgement.wall_s,
        judged=digest,
    )


def _held(
    solution: Solution, problems: ProblemSet, judge: ProgramJudge, held: Mapping[int, Grade]
) -> Grade | None:
    known = held.get(solution.line)
    if known is None or known.verdict is Verdict.INFRASTRUCTURE:
        return None
    return known if known.judged == _digest(solution, problems, judge) else None


def _digest(solution: Solution, problems: ProblemSet, judge: ProgramJudge) -> str:
    parts = (problems.version, solution.question_id, solution.code or "", judge.stamp)
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


_INTERACTIVE = Judgement(verdict=Verdict.INFRASTRUCTURE, reason="interactive problems are not supported")


class GradeFile:
    """A file of grades that survives a kill: grades are appended as they come, and sorted by line at the end."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            EvalFault: the file exists and holds something else.
        """
        self.path = path
        self.held: dict[int, Grade] = {}
        if path.exists():
            self.held = {g.line: g for g in self._read()}
        self._rewrite(
            list(self.held.values())
        )  # cuts off a torn end, and fails early where the path cannot be written

    def add(self, grade: Grade) -> None:
        with self._faults():
            append_line(self.path, as_json(grade))

    def finish(self, grades: Sequence[Grade]) -> None:
        """Replace the file's content by these grades, in their order."""
        self._rewrite(grades)

    def _read(self) -> list[Grade]:
        with self._faults("read"):
            raw = self.path.read_bytes()
        found = scan(raw, parser(Grade))
        if found.end < raw.rfind(b"\n") + 1:
            raise EvalFault(
                f"{self.path}, line {len(found.rows) + 1} is no grade: the file is not overwritten",
                fix="give --out another name, or remove the file",
            )
        return found.rows

    def _rewrite(self, grades: Sequence[Grade]) -> None:
        with self._faults():
            write_atomic(self.path, b"".join(as_json(g) + b"\n" for g in grades))

    @contextmanager
    def _faults(self, what: str = "write") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise EvalFault(
                f"cannot {what} {self.path}: {error.strerror}",
                fix="free some space or allow writing there, then run again",
            ) from error


def scores(problems: ProblemSet, grades: Sequence[Grade]) -> tuple[list[ProblemResult], list[PassAtK]]:
    """Return verdicts by problem, and pass@1 (also pass@n where each problem has n > 1 lines), over graded problems."""
    counts: dict[str, Counter[Verdict]] = {}
    for one in grades:
        counts.setdefault(one.question_id, Counter())[one.verdict] += 1
    results = [
        ProblemResult(
            question_id=problem.question_id,
            difficulty=problem.difficulty,
            platform=problem.platform,
            contest_date=problem.contest_date,
            verdicts=dict(counts[problem.question_id]),
        )
        for problem in problems.problems
        if problem.question_id in counts
    ]
    most = min((result.judged for result in results), default=0)
    return results, [pass_at(results, k) for k in sorted({1, max(1, most)})]


def calibrated(
    judge: Judge,
    problems: ProblemSet,
    solutions: Sequence[Solution],
    *,
    factor: float,
    floor: float,
    per_test: bool,
    on_problem: Callable[[str, str], None],
) -> dict[str, dict[str, Any]]:
    """Return `time_limit_s` (and `test_time_limits_s`) by question_id, as a sidecar file holds them.

    A limit is the slowest test of the reference solution times `factor`, and at least `floor`. The times are wall-clock
    seconds of each test in its own process, its start included, so measure on an idle machine. The slowest of several
    solutions of one problem counts. A reference that does not pass gives no limit.

    Args:
        factor: multiples of the reference's time.
        floor: smallest limit in seconds.
        per_test: whether each test gets a limit of its own, too.
        on_problem: called with (question_id, what was found).
    """
    by_id = {problem.question_id: problem for problem in problems.problems}
    slowest: dict[str, list[float]] = {}
    for solution in solutions:
        problem = by_id[solution.question_id]
        [(judgement, seconds)] = judge.measure([(problem, solution.code)])
        if judgement.verdict is not Verdict.PASSED:
            on_problem(
                solution.question_id, f"no limit: the reference is {judgement.verdict}, {judgement.reason}"
            )
            continue
        if len(seconds) != len(problem.tests):
            on_problem(solution.question_id, "no limit: assert tests are not timed one by one")
            continue
        before = slowest.get(solution.question_id, [0.0] * len(seconds))
        slowest[solution.question_id] = [max(pair) for pair in zip(before, seconds, strict=True)]
        on_problem(solution.question_id, f"slowest test {max(seconds):.3f} s")
    found: dict[str, dict[str, Any]] = {}
    for name, seconds in slowest.items():
        limits = [round(max(floor, factor * one), 3) for one in seconds]
        found[name] = {"time_limit_s": max(limits)}
        if per_test:
            found[name]["test_time_limits_s"] = limits
    return found
