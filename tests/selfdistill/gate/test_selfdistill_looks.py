"""The gate adds problems until the answer is clear, and asks for the control only where it is better."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("torch", reason="the gate needs the `local` extra")

from forklock.evals.contract import Problem, ProblemSet, Verdict
from forklock.evals.results import ProblemResult
from forklock.evals.statistics.sequential import Finding
from forklock.models.contract import FirstStage
from forklock.sandbox.terminal.progress import Progress
from forklock.selfdistill.gate import measure
from forklock.selfdistill.gate.measure import Answers, Trial, Vitals, compare_sides
from forklock.selfdistill.settings import make_recipe

PROBLEMS = 96
CANDIDATE = "v1"


class Side:
    """What the sides answer: shares of problems that each solves, and a record of what was asked of whom."""

    def __init__(self, solves: dict[tuple[str | None, bool], float], followed: int = 8) -> None:
        self.solves = solves
        self.followed = followed
        self.asked: list[tuple[str | None, int, bool]] = []

    def answer(self, trial: Trial, version: str | None, count: int, *, virtual: bool = False) -> Answers:
        self.asked.append((version, count, virtual))
        share = self.solves[version, virtual]
        chosen = trial.gate.problems[:count]
        problems = tuple(
            ProblemResult(
                question_id=problem.question_id, difficulty="", platform="", contest_date=None,
                verdicts={Verdict.PASSED if _number(problem) % 10 < 10 * share else Verdict.WRONG_ANSWER: 2},
            )
            for problem in chosen
        )  # fmt: skip
        result = SimpleNamespace(
            problems=problems, rates=lambda: {p.question_id: p.passed / 2 for p in problems}
        )
        completion = SimpleNamespace(finish_reason=None, completion_tokens=3)
        samples = [
            SimpleNamespace(
                key=f"{p.question_id}", question_id=p.question_id, completion=completion, code="x = 1"
            )
            for p in problems
        ]
        passing = frozenset(p.question_id for p in problems if p.passed)
        return Answers(cast(Any, result), cast(Any, samples), passing)

    def vitals(self, *_: object) -> tuple[Vitals, Vitals]:
        return Vitals(8, []), Vitals(self.followed, [])


def _number(problem: Problem) -> int:
    return int(problem.question_id)


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trial:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path))
    problems = tuple(Problem(question_id=str(n), title="", prompt="", tests=()) for n in range(PROBLEMS))
    gate = ProblemSet(name="made-up", version="1", problems=problems)
    base = cast(Any, SimpleNamespace(name="tiny"))
    recipe = make_recipe("tiny", "cpu", gate_limit=PROBLEMS)
    return Trial(recipe, base, gate, tmp_path, FirstStage(temperature=1.6, top_k=20), Progress(quiet=True))


def compared(trial: Trial, side: Side, monkeypatch: pytest.MonkeyPatch) -> measure.Comparison:
    monkeypatch.setattr(measure, "_answer", side.answer)
    monkeypatch.setattr(measure, "_vitals", side.vitals)
    return compare_sides(trial, CANDIDATE)


def test_a_clear_gain_stops_early_and_meets_the_control(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = Side({(None, False): 0.2, (CANDIDATE, False): 0.8, (None, True): 0.4})
    found = compared(trial, side, monkeypatch)
    assert found.paired.finding is Finding.BETTER and found.paired.problems < PROBLEMS
    assert found.decode_only is not None and found.decode_only.effect == pytest.approx(0.4, abs=0.05)
    assert side.asked[-1] == (None, found.paired.problems, True)
    assert (found.candidate.solved or 0) > (found.serving.solved or 0)


def test_no_difference_gives_up_before_the_budget_and_asks_no_control(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = Side({(None, False): 0.5, (CANDIDATE, False): 0.4})
    found = compared(trial, side, monkeypatch)
    assert found.paired.finding is Finding.HOPELESS and found.paired.problems < PROBLEMS
    assert found.decode_only is None and not any(virtual for _, _, virtual in side.asked)


def test_damage_ends_the_gate_at_the_first_look(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    side = Side({(None, False): 0.2, (CANDIDATE, False): 0.4}, followed=2)
    found = compared(trial, side, monkeypatch)
    assert {count for _, count, _ in side.asked} == {24} and found.decode_only is None


def test_a_small_gain_takes_the_whole_budget(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    side = Side({(None, False): 0.5, (CANDIDATE, False): 0.6, (None, True): 0.5})
    found = compared(trial, side, monkeypatch)
    counts = [count for version, count, virtual in side.asked if version == CANDIDATE and not virtual]
    assert counts == sorted(counts) and len(counts) > 1
    assert len(found.paired.looks) == len(counts)
