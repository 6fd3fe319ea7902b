"""Results that an earlier version stored (commit b0bb734) load, compare, and are continued without being made again."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from scripted_answers import ScriptedAnswers

from forklock.evals.agents.results import RepoStore
from forklock.evals.contract import Problem, ProblemSet, TestCase, Verdict
from forklock.evals.judging.judge import Judge
from forklock.evals.runs.grade import GradeFile, Solution, grade
from forklock.evals.runs.past import find_run, read_samples
from forklock.evals.runs.run import EvalJob, run_eval
from forklock.evals.statistics.comparison import compare_runs
from forklock.evals.sweeps.results import SweepResult
from forklock.evals.sweeps.sweep import SweepJob, run_sweep
from forklock.models.contract import Decoding

STORED = Path(__file__).parent / "stored_before"
RIGHT = "```python\nprint(2 * int(input()))\n```"
COOL, WARM = (Decoding(temperature=t, seed=1, max_tokens=64) for t in (0.5, 0.9))
RUNS = {"doubles-scripted-6ded4a73": COOL, "doubles-scripted-6d002967": WARM}
REPAIRED = "doubles-scripted-7704e7f5"


def doubles(name: str) -> Problem:
    tests = (
        TestCase(kind="stdin", input="2", output="4", public=True),
        TestCase(kind="stdin", input="7", output="14"),
    )
    return Problem(question_id=name, title=name, prompt="Print the double of a number.", tests=tests)


PROBLEMS = ProblemSet(name="doubles", version="1", problems=(doubles("a"), doubles("b")))


def answers(_: str, rng: random.Random) -> str:
    return RIGHT if rng.random() < 0.5 else "```python\nprint(int(input()) + 2)\n```"


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    return shutil.copytree(STORED, tmp_path / "stored")


@pytest.mark.parametrize(("name", "decoding"), RUNS.items())
def test_a_run_is_continued(stored: Path, shared_judge: Judge, name: str, decoding: Decoding) -> None:
    before = find_run(str(stored / "runs" / name))
    verdicts = (stored / "runs" / name / "verdicts.jsonl").read_bytes()
    engine = ScriptedAnswers(answers)
    job = EvalJob(problems=PROBLEMS, decoding=decoding, n=2)
    same = run_eval(engine, job, judge=shared_judge, root=stored / "runs")
    assert engine.made == same.made == 0
    assert (same.run_id, same.problems, same.pass_at) == (
        name,
        before.result.problems,
        before.result.pass_at,
    )
    if same.judge == before.result.judge:  # the stamp names the Python version
        assert (stored / "runs" / name / "verdicts.jsonl").read_bytes() == verdicts
    longer = EvalJob(problems=PROBLEMS, decoding=decoding, n=3)
    assert run_eval(engine, longer, judge=shared_judge, root=stored / "runs").made == 2


def test_a_repaired_run_is_continued(stored: Path, shared_judge: Judge) -> None:
    engine = ScriptedAnswers(lambda *_: "not asked")
    job = EvalJob(problems=PROBLEMS, decoding=COOL, repair=1)
    found = run_eval(engine, job, judge=shared_judge, root=stored / "runs")
    assert found.run_id == REPAIRED and engine.made == 0 and found.repaired == 2
    assert found.verdicts == {Verdict.PASSED: 2}


def test_runs_compare_and_show_their_samples(stored: Path) -> None:
    cool, warm = (find_run(str(stored / "runs" / name)) for name in RUNS)
    found = compare_runs(cool.result, warm.result)
    assert found.effect.problems == 2 and any("temperature" in one for one in found.changed)
    samples = read_samples(cool.folder, {"a", "b"})
    assert [len(samples[name]) for name in ("a", "b")] == [2, 2]
    assert all(sample.judgement is not None for row in samples.values() for sample in row)


def test_a_sweep_is_continued(stored: Path, shared_judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import nullcontext

    monkeypatch.setattr("forklock.evals.runs.run.Judge", lambda *_, **__: nullcontext(shared_judge))
    (file,) = (stored / "sweeps").glob("*/sweep.json")
    before = SweepResult.model_validate_json(file.read_bytes())
    engine = ScriptedAnswers(answers)
    job = SweepJob(problems=PROBLEMS, plan=before.plan)
    again = run_sweep(engine, job, root=stored / "runs", sweeps=stored / "sweeps")
    assert engine.made == 0 and again.sweep_id == before.sweep_id == file.parent.name
    assert again.test == before.test


def test_grades_and_repo_results_hold(stored: Path, shared_judge: Judge) -> None:
    file, asked = GradeFile(stored / "grades.jsonl"), []
    solutions = [Solution(1, "a", "print(2 * int(input()))"), Solution(2, "b", "print(0)")]
    grades = grade(shared_judge, PROBLEMS, solutions, held=file.held, on_grade=asked.append)
    assert [one.passed for one in grades] == [True, False] and len(file.held) == 2
    assert len(asked) in (0, 2)  # all or none: the stamp names the Python version
    store = RepoStore("none", stored / "repo-evals")
    assert store.results["shop-1"].outcome == "not resolved"
