"""evals: programs that exist already, graded.

In: a problem set and a JSONL file of `{question_id, code}` (several lines of one problem are its samples).
Out: a `Grade` per line, in the file's order. Nothing is kept between calls, except that a file of grades
that was begun is gone on with. Not covered: making programs (`evals.runs.run`).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from evals.cluster import RayJudge
from evals.contract import EvalFault, Judgement, ProblemSet, Verdict
from evals.judging.judge import Judge, judge_stamp
from evals.problems.sets import read_lines
from evals.runs.run import PassAtK, ProblemResult, pass_at
from sandbox.files.atomic import write_atomic
from sandbox.files.jsonl import append_line, as_json, parser, scan


class Grade(BaseModel):
    """What the judge said of one line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    line: int = Field(ge=1)
    """1-based line of the solutions file."""
    question_id: str
    verdict: Verdict
    passed: bool
    failing_test: int | None
    """Index, from 0, of the first test that failed, public tests first; None where none did."""
    reason: str
    wall_s: float
    """Seconds, the driver's included, averaged over the programs that shared one."""
    judged: str
    """Digest of the program, the set and the judge: what makes this grade hold."""


@dataclass(frozen=True, slots=True)
class Solution:
    line: int
    question_id: str
    code: str | None
    """None: the answer held no program."""


def read_solutions(path: Path, problems: ProblemSet) -> list[Solution]:
    """The file's lines; other fields than `question_id` and `code` are ignored.

    Raises:
        EvalFault: unreadable, a line that is no such record, or a problem that the set has not.
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
    judge: Judge | RayJudge,
    problems: ProblemSet,
    solutions: Sequence[Solution],
    *,
    held: Mapping[int, Grade] | None = None,
    workers: int | None = None,
    on_grade: Callable[[Grade], None] | None = None,
) -> list[Grade]:
    """Grade all solutions, in their order.

    Args:
        held: grades by line of an earlier call; one holds if its digest does and it is a verdict.
        workers: programs judged at once; None takes one per usable core.
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
    solution: Solution, problems: ProblemSet, judge: Judge | RayJudge, held: Mapping[int, Grade]
) -> Grade | None:
    known = held.get(solution.line)
    if known is None or known.verdict is Verdict.INFRASTRUCTURE:
        return None
    return known if known.judged == _digest(solution, problems, judge) else None


def _digest(solution: Solution, problems: ProblemSet, judge: Judge | RayJudge) -> str:
    parts = (problems.version, solution.question_id, solution.code or "", judge_stamp(judge.limits))
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


_INTERACTIVE = Judgement(verdict=Verdict.INFRASTRUCTURE, reason="interactive problems are not supported")


class GradeFile:
    """A file of grades that survives a kill: appended to as they come, in the file's order at the end."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            EvalFault: it exists and is something else than grades.
        """
        self.path = path
        self.held: dict[int, Grade] = {}
        if path.exists():
            self.held = {g.line: g for g in self._read()}
        self._rewrite(list(self.held.values()))  # a torn end goes, and an unwritable path is known at once

    def add(self, grade: Grade) -> None:
        with self._faults():
            append_line(self.path, as_json(grade))

    def finish(self, grades: Sequence[Grade]) -> None:
        """Put the grades, and no others, in order."""
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
                f"cannot {what} {self.path}: {error.strerror}", fix="free or allow it, then run again"
            ) from error


def scores(problems: ProblemSet, grades: Sequence[Grade]) -> tuple[list[ProblemResult], list[PassAtK]]:
    """Verdicts by problem, and pass@1 (and pass@n where each problem has n > 1), over problems with a line."""
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
