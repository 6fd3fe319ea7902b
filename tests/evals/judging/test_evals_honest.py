# ruff: noqa: E501 - rows of made-up values
"""No score is stated that is not so: missing verdicts, other judges, crashed agents, numbers that are none."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fastest import FASTEST
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up import made_up_run
from rich.console import Console
from scripted_answers import ScriptedAnswers

from forklock.evals.agents.command_engine import AgentEngine
from forklock.evals.agents.process import last_words, refuse_crash
from forklock.evals.agents.report import summary as repo_summary
from forklock.evals.agents.results import TaskResult
from forklock.evals.contract import EvalFault, Problem, ProblemSet, TestCase, Verdict
from forklock.evals.judging.judge import Judge
from forklock.evals.judging.limits import JudgeLimits, judge_stamp
from forklock.evals.reports.page import render_page
from forklock.evals.reports.terminal import summary
from forklock.evals.results import EvalResult
from forklock.evals.runs.past import PastRun, load_result
from forklock.evals.runs.run import EvalJob, run_eval
from forklock.evals.statistics.comparison import changed_settings, compare_runs
from forklock.evals.statistics.gate import UnjudgedFault, decide
from forklock.evals.statistics.sequential import Finding
from forklock.models.contract import Decoding
from forklock.sandbox import SandboxFault
from forklock.selfdistill.gate.rule import Health, Paired
from forklock.selfdistill.gate.rule import decide as decide_round

pytestmark = pytest.mark.hostile("answers")
LOST, PASSED, WRONG = Verdict.INFRASTRUCTURE, Verdict.PASSED, Verdict.WRONG_ANSWER
VERDICTS = st.lists(
    st.lists(st.sampled_from([PASSED, WRONG, LOST]), min_size=1, max_size=4), min_size=1, max_size=6
)
ROOMY = settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def shown(what: object) -> str:
    console = Console(width=200, file=None)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


@ROOMY
@given(VERDICTS)
def test_a_lost_verdict_changes_no_score_and_is_said_beside_it(
    tmp_path: Path, rows: list[list[Verdict]]
) -> None:
    run = made_up_run(tmp_path, rows)
    judged = [[one for one in row if one is not LOST] for row in rows]
    rates = [row.count(PASSED) / len(row) for row in judged if row]
    score = run.pass_at[0]
    assert score.problems == len(rates)
    text = shown(summary(run))
    if rates:
        assert score.value == pytest.approx(sum(rates) / len(rates))
    else:
        assert math.isnan(score.value) and "no verdict" in text and "0.0%  [" not in text
    assert ("incomplete" in text) == any(LOST in row for row in rows)
    assert "nan" not in text
    read = load_result(run.folder)
    assert read is not None and read.problems == run.problems
    assert repr(read.pass_at) == repr(run.pass_at)


@ROOMY
@given(VERDICTS, VERDICTS)
def test_runs_are_compared_where_both_were_judged(
    tmp_path: Path, first: list[list[Verdict]], second: list[list[Verdict]]
) -> None:
    a, b = made_up_run(tmp_path, first), made_up_run(tmp_path, second, model="other")
    both = [
        (x, y)
        for x, y in zip(first, second, strict=False)
        if any(v is not LOST for v in x) and any(v is not LOST for v in y)
    ]
    if any(LOST in row for row in (*first, *second)):
        with pytest.raises(UnjudgedFault):
            decide(a, b, margin=0.02)
    if not both:
        with pytest.raises(EvalFault, match="in common"):
            compare_runs(a, b)
        return
    effect = compare_runs(a, b).effect
    assert effect.problems == len(both)
    rate = [
        [sum(v is PASSED for v in row) / sum(v is not LOST for v in row) for row in pair] for pair in both
    ]
    assert effect.difference == pytest.approx(sum(y - x for x, y in rate) / len(rate))


def test_a_page_of_an_incomplete_run_says_so(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = made_up_run(tmp_path, [[PASSED], [LOST]])
    assert "incomplete: 1 of 2 samples have no verdict" in render_page([PastRun(run, run.folder)])


def test_repo_results_without_a_verdict_are_said() -> None:
    def result(outcome: str) -> TaskResult:
        made = {
            "task_id": outcome[:2],
            "repo": "a/b",
            "difficulty": "x",
            "outcome": outcome,
            "to_fix": 1,
            "to_keep": 0,
        }
        return TaskResult.model_validate(made)

    text = shown(repo_summary([result("resolved"), result("infrastructure error")], "agent"))
    assert "resolved 1 of 1" in text and "incomplete: 1 of 2 tasks have no verdict" in text
    assert "%" not in shown(repo_summary([result("infrastructure error")], "agent"))


def test_what_two_judges_said_is_not_compared(tmp_path: Path, tried: Callable[[int], None]) -> None:
    a = made_up_run(tmp_path, [[PASSED], [WRONG]])
    others = [a.model_copy(update={"judge": judge_stamp(limits)}) for limits in CHANGED]
    tried(len(others))
    for other in others:
        with pytest.raises(EvalFault, match="two judges"):
            compare_runs(a, other)
        assert any("judge" in one for one in compare_runs(a, other, force=True).changed)
    assert any("repair" in one for one in changed_settings(a, a.model_copy(update={"repair": 1})))


CHANGED = (
    JudgeLimits(), JudgeLimits(memory_mb=64), JudgeLimits(time_scale=2), JudgeLimits(wall_factor=9), JudgeLimits(output_bytes=9),
)  # fmt: skip


def test_every_limit_is_part_of_what_a_verdict_belongs_to() -> None:
    assert len({judge_stamp(limits) for limits in CHANGED}) == len(CHANGED)


def test_a_stored_verdict_of_other_limits_is_made_again(tmp_path: Path) -> None:
    tests = (TestCase(kind="stdin", input="", output="1"),)
    problems = ProblemSet(
        name="s", version="1", problems=(Problem(question_id="q", title="", prompt="Say 1.", tests=tests),)
    )

    def answered(_prompt: str, _rng: object) -> str:
        return "```python\nx = bytearray(300 << 20)\nprint(1)\n```"

    def run(memory_mb: int) -> tuple[EvalResult, int]:
        engine = ScriptedAnswers(answered)
        try:
            with Judge(FASTEST, limits=JudgeLimits(memory_mb=memory_mb)) as judge:
                return run_eval(
                    engine, EvalJob(problems=problems, decoding=Decoding(seed=1)), root=tmp_path, judge=judge
                ), engine.made
        except SandboxFault as fault:
            pytest.skip(f"no sandbox on this machine: {fault.message}")

    found = [run(memory) for memory in (1024, 128, 1024)]
    assert [made for _, made in found] == [1, 0, 0]
    verdicts = [list(result.verdicts) for result, _ in found]
    assert verdicts == [[PASSED], [Verdict.OUT_OF_MEMORY], [PASSED]]


@pytest.mark.parametrize("code", [2, 3, 70, 126, 127, 130, -9, -11])
def test_an_agent_that_could_not_work_has_not_answered(tmp_path: Path, code: int) -> None:
    said = tmp_path / "said"
    said.write_bytes(b"begun\n\x1b]52;c;evil\x07 the model is gone\n\n")
    with pytest.raises(EvalFault, match=f"exit code {code}.*the model is gone") as caught:
        refuse_crash(code, said)
    assert caught.value.exit_code == 3 and "\x1b" not in caught.value.message
    said.write_bytes(b"")
    assert last_words(said) == "it printed nothing"


@pytest.mark.parametrize("code", ["raise SystemExit(1)", "1/0", "import os; os.kill(os.getpid(), 9)"])
def test_a_command_that_never_worked_scores_nothing(tmp_path: Path, code: str) -> None:
    script = tmp_path / "agent.py"
    script.write_text(code)
    tests = (TestCase(kind="stdin", input="", output="1"),)
    problems = ProblemSet(
        name="s", version="1", problems=(Problem(question_id="q", title="", prompt="Say 1.", tests=tests),)
    )
    with pytest.raises(EvalFault, match="the agent failed"):
        run_eval(
            AgentEngine(f"{sys.executable} {script} {{statement}}"),
            EvalJob(problems=problems, decoding=Decoding(seed=1)),
            root=tmp_path / "r",
        )
    assert not list((tmp_path / "r").glob("*/result.json"))


GOOD = Health(no_end=0.1, code=0.9, followed=6, probes=8)
BETTER = Paired(
    problems=24,
    samples=2,
    serving=0.3,
    candidate=0.4,
    effect=0.1,
    low=0.02,
    high=0.18,
    p_better=0.01,
    spread=0.4,
    finding=Finding.BETTER,
    budget=24,
)


def test_nothing_is_promoted_on_numbers_that_are_not_there(tried: Callable[[int], None]) -> None:
    """Each number of the gate in turn: not a number, or without end."""
    assert decide_round(BETTER, GOOD, GOOD, against="base").promoted
    cases = [
        (part, name, bad)
        for part, side in (("paired", BETTER), ("serving", GOOD), ("candidate", GOOD))
        for name, value in side
        if isinstance(value, float)
        for bad in (math.nan, math.inf, -math.inf)
    ]
    tried(len(cases) + 3)
    for part, name, bad in cases:
        sides = {"paired": BETTER, "serving": GOOD, "candidate": GOOD}
        sides[part] = sides[part].model_copy(update={name: bad})
        found = decide_round(**sides, against="base")
        assert not found.promoted and "not a number" in found.reasons[0], (part, name, bad)
        json.loads(found.model_dump_json())
    for update in ({"problems": 0}, {"samples": 0}):
        assert not decide_round(BETTER.model_copy(update=update), GOOD, GOOD, against="base").promoted
    assert not decide_round(BETTER, GOOD, GOOD.model_copy(update={"probes": 4}), against="base").promoted
