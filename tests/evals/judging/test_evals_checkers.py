"""Several right answers as data: checkers of every kind, in records and beside them; limits from references."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from forklock.evals.contract import EvalFault, Verdict
from forklock.evals.judging.judge import Judge
from forklock.evals.problems.files import write_sidecar
from forklock.evals.problems.sets import load_set
from forklock.evals.runs.grade import Solution, calibrated


@pytest.fixture
def judge(shared_judge: Judge) -> Judge:
    return shared_judge


def record(
    name: str = "q", kind: str = "stdin", tests: int = 1, output: str = "1 2\n3", **more: Any
) -> dict[str, Any]:
    test = {"input": "4", "output": output, "testtype": kind}
    return {
        "question_id": name, "question_title": name, "question_content": "?", "platform": "made up",
        "difficulty": "easy", "contest_date": "2024-01-01", "starter_code": "",
        "public_test_cases": [test], "private_test_cases": [test] * (tests - 1),
        "metadata": {"func_name": "f"} if kind == "functional" else {}, **more,
    }  # fmt: skip


def written(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "set.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return path


PROGRAM = """
def check(input, expected, output):
    a, b = map(int, output.split())
    return a + b == int(input) or f"{a} + {b} is not {input}"
"""
CASES: list[tuple[dict[str, Any], Any, str, str]] = [
    ({}, "exact", "print('1 2\\n3')", "print('1  2\\n3')"),
    ({}, "tokens", "print('1\\n2 3')", "print('1 2')"),
    ({"output": "0.5 ok"}, {"kind": "float", "abs_tol": 0.1, "rel_tol": 0}, "print('0.55 ok')", "print('0.65 ok')"),
    ({"output": "1000"}, {"kind": "float", "rel_tol": 0.01, "abs_tol": 0}, "print(1009)", "print(1020)"),
    ({"output": "a b\nc\nc"}, "lines", "print('c\\na b\\nc')", "print('a b\\nc')"),
    ({"output": "1"}, {"kind": "any", "answers": [["2", "3"]]}, "print(3)", "print(4)"),
    ({"output": "1 3"}, {"kind": "program", "code": PROGRAM}, "print(2, 2)", "print(1, 2)"),
    ({"kind": "functional", "output": "[1, 2]"}, "lines", "def f(n): return [2, 1]", "def f(n): return [2, 2]"),
    ({"kind": "functional", "output": "0.5"}, {"kind": "float", "abs_tol": 0.1}, "def f(n): return 0.55",
     "def f(n): return 0.7"),
    ({"kind": "functional", "output": "0.3"}, "exact", "def f(n): return 0.3", "def f(n): return 0.1 + 0.2"),
]  # fmt: skip


def test_every_kind_takes_the_right_and_refuses_the_wrong(judge: Judge, tmp_path: Path) -> None:
    rows = [record(f"q{i}", **made, checker=checker) for i, (made, checker, _, _) in enumerate(CASES)]
    problems = load_set(written(tmp_path, *rows)).problems
    attempts = [(p, code) for p, case in zip(problems, CASES, strict=True) for code in case[2:]]
    found = [judgement.verdict for judgement in judge.judge_many(attempts)]
    assert found == [Verdict.PASSED, Verdict.WRONG_ANSWER] * len(CASES)
    plain = [
        (p.model_copy(update={"checker": None}), case[2]) for p, case in zip(problems, CASES, strict=True)
    ]
    usual = [judgement.verdict for judgement in judge.judge_many(plain)]
    assert usual.count(Verdict.PASSED) < len(CASES) // 2  # the checkers, not the programs, made them right


def test_a_checker_program_says_why_and_its_own_failure_is_nobodys_wrong_answer(
    judge: Judge, tmp_path: Path
) -> None:
    good, broken = (
        {"kind": "program", "code": PROGRAM},
        {"kind": "program", "code": "def check(*_): return 1 / 0"},
    )
    rows = [record("good", tests=3, output="2 2", checker=good), record("broken", checker=broken)]
    right, failing = load_set(written(tmp_path, *rows)).problems
    found = judge.judge(right, "print(1, 2)")
    assert (found.verdict, found.failing_test) == (Verdict.WRONG_ANSWER, 0)
    assert found.reason == "refused by the checker: 1 + 2 is not 4"
    assert judge.judge(right, "1/0").verdict == Verdict.EXCEPTION
    unread = judge.judge(right, "print('x')")  # this checker raises on it, and takes what is expected
    assert unread.verdict == Verdict.WRONG_ANSWER and "not what the checker can read" in unread.reason
    found = judge.judge(failing, "print(1, 3)")
    assert found.verdict == Verdict.INFRASTRUCTURE and "ZeroDivisionError" in found.reason


def test_a_sidecar_adds_checkers_and_changes_the_version(tmp_path: Path) -> None:
    path = written(tmp_path, record("a", tests=2), record("b"))
    before = load_set(path)
    write_sidecar(
        tmp_path / "set.sidecar.jsonl", {"a": {"checker": "lines", "test_time_limits_s": [1.0, 2.0]}}
    )
    after = load_set("set", data=tmp_path)  # the sidecar itself is no set
    assert after.version != before.version and before.problems[1] == after.problems[1]
    first = after.problems[0]
    assert first.checker is not None and first.checker.kind == "lines"
    assert [first.limit_s(0), first.limit_s(1)] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("mostly", "checker: kind"),
        ({"kind": "program"}, "defines check"),
        ({"kind": "any", "answers": []}, "1 lists"),
        ({"kind": "float", "abs_tol": -1}, "abs_tol"),
    ],
)
def test_a_bad_checker_is_said_with_its_line(tmp_path: Path, field: Any, message: str) -> None:
    with pytest.raises(EvalFault, match=message) as fault:
        load_set(written(tmp_path, record("a"), record("b", checker=field)))
    assert "line 2" in fault.value.message


def test_interactive_problems_are_left_out_and_named(judge: Judge, tmp_path: Path) -> None:
    path = written(tmp_path, record("a"), record("b", interactive=True), record("c", checker="interactive"))
    found = load_set(path)
    assert [p.question_id for p in found.problems] == ["a"] and found.left_out == ("b", "c")
    talking = found.problems[0].model_copy(update={"interactive": True})
    with pytest.raises(EvalFault, match="not supported"):
        judge.judge(talking, "print(1)")


def test_limits_scale_with_the_reference(judge: Judge, tmp_path: Path) -> None:
    problems = load_set(written(tmp_path, record("a", tests=2, output="4"), record("b", output="no")))
    slow = "import time\ntime.sleep(0.3)\nprint(input())"
    said: dict[str, str] = {}
    found = calibrated(
        judge, problems, [Solution(1, "a", slow), Solution(2, "b", slow)], factor=3, floor=0.1, per_test=True,
        on_problem=said.__setitem__,
    )  # fmt: skip
    assert found.keys() == {"a"} and "wrong answer" in said["b"]
    assert 0.9 <= found["a"]["time_limit_s"] < 15 and len(found["a"]["test_time_limits_s"]) == 2


def test_a_test_has_its_own_limit(judge: Judge, tmp_path: Path) -> None:
    row = record("a", tests=3, output="4", test_time_limits_s=[20, 1, 20])
    problem = load_set(written(tmp_path, row)).problems[0]
    spin = "import os, time\nwhile time.process_time() < 2.5: pass\nprint(4)"
    found = judge.judge(problem, spin)
    assert (found.verdict, found.failing_test) == (Verdict.TIMED_OUT, 1)
