"""evals: time limits from what reference solutions take on this machine.

In: problems and right programs. Out: `time_limit_s` (and `test_time_limits_s`) by problem, as a sidecar file has
them: the slowest test of the reference times a factor, and no less than a floor. Wall-clock seconds of each test in a
process of its own, its start included; so measure on a quiet machine. A reference that does not pass gives no limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from evals.contract import ProblemSet, Verdict
from evals.judging.judge import Judge
from evals.runs.grade import Solution


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
    """Limits by question_id. Of several solutions of one problem the slowest counts.

    Args:
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
