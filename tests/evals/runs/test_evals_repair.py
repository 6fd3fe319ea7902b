"""Repair turns on public tests, and whole agents on sets."""

from __future__ import annotations

import json
import random
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from scripted_answers import ScriptedAnswers

from forklock.evals.agents.command_engine import AgentEngine
from forklock.evals.contract import EvalFault, Problem, ProblemSet, TestCase, Verdict
from forklock.evals.judging.judge import Judge
from forklock.evals.runs.run import EvalJob, run_eval
from forklock.models.contract import Completion as Done
from forklock.models.contract import Decoding, OnCompletion, OnTokens, Request

HIDDEN = ("717171", "828282")
DECODING = Decoding(temperature=0.5, seed=1)


def doubles(name: str = "q") -> Problem:
    """Print the double; the hidden test is one that the first answers fail, too."""
    tests = (
        TestCase(kind="stdin", input="2", output="4", public=True),
        TestCase(kind="stdin", input=HIDDEN[0], output="1434342"),
        TestCase(kind="stdin", input=HIDDEN[1], output="1656564"),
    )
    return Problem(question_id=name, title=name, prompt="Print the double of a number.", tests=tests)


def problems(*names: str) -> ProblemSet:
    return ProblemSet(name="doubles", version="1", problems=tuple(map(doubles, names)))


@pytest.fixture(autouse=True)
def _judge(shared_judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation that opens its own judge gets the shared one."""
    monkeypatch.setattr("forklock.evals.runs.run.Judge", lambda *_, **__: nullcontext(shared_judge))


class Watched(ScriptedAnswers):
    """Keeps whatever it was shown."""

    seen: list[str]

    def complete(
        self,
        requests: list[Request],  # type: ignore[override]
        decoding: Decoding,
        *,
        on_tokens: OnTokens | None = None,
        on_completion: OnCompletion | None = None,
    ) -> list[list[Done]]:
        self.seen = [*getattr(self, "seen", []), *(request.model_dump_json() for request in requests)]
        return super().complete(requests, decoding, on_tokens=on_tokens, on_completion=on_completion)


def fence(code: str) -> str:
    return f"```python\n{code}\n```"


def learns(prompt: str, _: random.Random) -> str:
    """Right only once it was shown what a public test expects."""
    if "Expected output" in prompt and "4" in prompt:
        return fence("print(2 * int(input()))")
    return fence("print(int(input()) + 1)")


def test_a_failure_of_public_tests_is_shown_and_asked_again(tmp_path: Path) -> None:
    engine = Watched(learns)
    found = run_eval(
        engine, EvalJob(problems=problems("a", "b"), decoding=DECODING, n=2, repair=2), root=tmp_path
    )
    assert found.pass_at[0].value == 1 and found.repaired == 4 and engine.made == 8
    assert found.completion_tokens == 8 * 20  # of both turns
    assert len(engine.seen) == 8 and not [text for text in engine.seen if any(h in text for h in HIDDEN)]
    again = Watched(learns)
    same = run_eval(
        again, EvalJob(problems=problems("a", "b"), decoding=DECODING, n=2, repair=2), root=tmp_path
    )
    assert again.made == 0 and same.problems == found.problems
    plain = run_eval(
        Watched(learns), EvalJob(problems=problems("a", "b"), decoding=DECODING, n=2), root=tmp_path
    )
    assert plain.pass_at[0].value == 0 and plain.run_id != found.run_id


def test_hidden_tests_never_leak_and_cost_no_turn(tmp_path: Path) -> None:
    """Right on the public test, wrong on hidden ones: nothing is said, nothing is asked."""
    engine = Watched(lambda *_: fence("x = int(input())\nprint(4 if x == 2 else x)"))
    found = run_eval(engine, EvalJob(problems=problems("a"), decoding=DECODING, n=1, repair=3), root=tmp_path)
    assert engine.made == 1 and found.repaired == 0 and found.verdicts == {Verdict.WRONG_ANSWER: 1}


def test_a_hopeless_sample_is_asked_no_more_than_it_may_be(tmp_path: Path) -> None:
    engine = Watched(lambda *_: "no program here")
    found = run_eval(engine, EvalJob(problems=problems("a"), decoding=DECODING, n=1, repair=3), root=tmp_path)
    assert engine.made == 4 and found.verdicts == {Verdict.NO_CODE: 1}


def test_a_killed_repair_goes_on(tmp_path: Path) -> None:
    whole = run_eval(
        Watched(learns),
        EvalJob(problems=problems("a", "b"), decoding=DECODING, n=2, repair=1),
        root=tmp_path / "whole",
    )
    with pytest.raises(KeyboardInterrupt):
        run_eval(
            Watched(learns, die_after=6),
            EvalJob(problems=problems("a", "b"), decoding=DECODING, n=2, repair=1),
            root=tmp_path,
        )
    rest = Watched(learns)
    found = run_eval(
        rest, EvalJob(problems=problems("a", "b"), decoding=DECODING, n=2, repair=1), root=tmp_path
    )
    assert rest.made == 2 and found.problems == whole.problems


def test_without_public_tests_a_repair_is_refused(tmp_path: Path) -> None:
    blind = doubles().model_copy(update={"tests": doubles().tests[1:]})
    with pytest.raises(EvalFault, match="no public tests"):
        run_eval(
            Watched(learns),
            EvalJob(
                problems=ProblemSet(name="x", version="1", problems=(blind,)), decoding=DECODING, repair=1
            ),
            root=tmp_path,
        )


AGENT = """
import json, pathlib, sys
statement, answer, usage = map(pathlib.Path, sys.argv[1:4])
text = statement.read_text()
assert "double" in text and not list(pathlib.Path(".").iterdir())
answer.write_text("```python\\nprint(2 * int(input()))\\n```")
usage.write_text(json.dumps({"prompt_tokens": 7, "completion_tokens": 5, "cost_usd": 0.25}))
"""


def test_an_agent_is_evaluated_on_a_set(tmp_path: Path) -> None:
    script = tmp_path / "agent.py"
    script.write_text(AGENT)
    engine = AgentEngine(f"{sys.executable} {script} {{statement_file}} {{answer_file}} {{usage_file}}")
    found = run_eval(
        engine, EvalJob(problems=problems("a", "b"), decoding=DECODING, n=2), root=tmp_path / "runs"
    )
    assert found.pass_at[0].value == 1 and found.cost_usd == 1.0
    assert (found.prompt_tokens, found.completion_tokens) == (28, 20)
    script.write_text("raise SystemExit('gone')")  # nothing is asked twice
    assert (
        run_eval(
            engine, EvalJob(problems=problems("a", "b"), decoding=DECODING, n=2), root=tmp_path / "runs"
        ).made
        == 0
    )


def test_agents_that_hang_or_say_nothing(tmp_path: Path) -> None:
    hangs = AgentEngine(f"{sys.executable} -c 'import time; time.sleep(60)' {{statement}}", timeout_s=0.5)
    found = run_eval(hangs, EvalJob(problems=problems("a"), decoding=DECODING, n=1), root=tmp_path)
    assert found.verdicts == {Verdict.NO_CODE: 1} and found.cut == 1 and found.cost_usd is None
    with pytest.raises(EvalFault, match="not given the problem"):
        AgentEngine("agent --go")
    with pytest.raises(EvalFault, match="cannot be started"):
        run_eval(
            AgentEngine("/no/such/agent {statement}"),
            EvalJob(problems=problems("b"), decoding=DECODING),
            root=tmp_path,
        )
    assert json.loads((found.folder / "result.json").read_text())["made"] == 1
