"""Problems of public sets that have several right answers: all of them are taken, and no wrong one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from forklock.evals.contract import Problem, Verdict
from forklock.evals.judging.judge import Judge
from forklock.evals.problems.errata import allows_any_order, known_errata
from forklock.evals.problems.sets import load_set

CASES: dict[str, tuple[str, str, list[str], list[str]]] = {
    "abc311_c": ("4\n2 3 2 1\n", "2\n2 3", ["2\n3 2"], ["2\n1 2", "3\n2 3 2", "1\n2", "2\n2 9", ""]),
    "abc326_d": (
        "3\nABC\nABC\n",
        "Yes\nABC\nBCA\nCAB",
        ["Yes\nABC\nBCA\nCAB"],
        ["Yes\nABC\nBAC\nCAB", "Yes\nABC\nBCA", "No", "Yes\nABC\nBCA\nCABA"],
    ),
    "abc333_e": (
        "5\n1 1\n1 2\n1 1\n2 1\n2 2\n",
        "2\n0 1 1",
        ["2\n1 1 0", "2\n0 1 1"],
        ["3\n1 1 1", "2\n1 1 1", "2\n0 1 0", "2\n0 1", "2\n0 1 1 0", "-1", "2\n0 1 2"],
    ),
    "abc343_a": ("2 5\n", "0", ["2", "9", " 0 "], ["7", "10", "-1", "0 1", "", "²"]),
    "abc343_e": (
        "840 84 7\n",
        "Yes\n0 0 0 0 6 0 6 0 0",
        ["Yes\n0 0 0 0 6 0 6 0 0", "Yes\n1 1 1 1 7 1 7 1 1", "Yes -10 0 0 -10 0 6 -10 6 1"],
        ["No", "Yes\n0 0 0 0 0 0 0 0 0", "Yes\n0 0 0", "Yes\n94 0 0 94 6 0 101 0 0"],
    ),
    "abc350_c": (
        "3\n3 1 2\n",
        "2\n1 2\n2 3",
        ["2\n1 3\n1 2", "2\n1 2\n2 3"],
        ["1\n1 2", "3\n1 2\n2 3\n1 1", "2\n2 1\n2 3", "0"],
    ),
    "abc362_c": (
        "2\n-1 5\n-2 3\n",
        "Yes\n1 -1",
        ["Yes\n-1 1", "Yes\n2 -2", "Yes 0 0"],
        ["Yes\n3 -3", "No", "Yes\n1", "Yes\n1 1"],
    ),
    "arc185_c": ("5 16\n1 8 5 4 7\n", "1 2 5", ["1 2 5", "3 4 5"], ["-1", "2 1 5", "1 2 3", "1 1 2", "1 2"]),
}
TREE = json.dumps([[0, 1], [0, 2], [2, 3], [2, 4]])
CASES["find-the-last-marked-nodes-in-tree"] = (
    TREE,
    "[3,3,1,1,1]",
    ["[3,3,1,1,1]", "[4,4,1,1,1]"],
    ["[3,4,1,1,0]", "[3,3,1,1]", "[3,3,1,1,true]", "[5,3,1,1,1]"],
)


@pytest.fixture
def judge(shared_judge: Judge) -> Judge:
    return shared_judge


def record(name: str, given: str, expected: str, **more: Any) -> dict[str, Any]:
    functional = name.startswith("find")
    test = {"input": given, "output": expected, "testtype": "functional" if functional else "stdin"}
    return {
        "question_id": "1" if functional else name,
        "question_title": name,
        "question_content": "?",
        "platform": "leetcode" if functional else "atcoder",
        "metadata": json.dumps({"func_name": "f"} if functional else {}),
        "public_test_cases": [test],
        "private_test_cases": [],
    } | more


def written(path: Path, *records: dict[str, Any], errata: bool = True) -> tuple[Problem, ...]:
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return load_set(path, errata=errata).problems


def program(problem: Problem, output: str) -> str:
    if problem.entry_point:
        return f"def f(*_): return {output.replace('true', 'True')}"
    return f"print({output!r})"


@pytest.mark.parametrize("name", CASES)
def test_all_right_answers_and_no_wrong_one(judge: Judge, tmp_path: Path, name: str) -> None:
    given, expected, right, wrong = CASES[name]
    (problem,) = written(tmp_path / "set.jsonl", record(name, given, expected))
    found = judge.judge_many([(problem, program(problem, one)) for one in right + wrong])
    verdicts = [one.verdict for one in found]
    assert verdicts == [Verdict.PASSED] * len(right) + [Verdict.WRONG_ANSWER] * len(wrong), found


@pytest.mark.parametrize("name", ["abc326_d", "abc333_e", "abc343_e", "abc362_c"])
def test_where_there_is_no_answer(judge: Judge, tmp_path: Path, name: str) -> None:
    no = "-1" if name == "abc333_e" else "No"
    given, expected, _, _ = CASES[name]
    (problem,) = written(tmp_path / "set.jsonl", record(name, given, no))
    found = judge.judge_many([(problem, program(problem, one)) for one in (no, expected, f"{no} 1")])
    assert [one.verdict for one in found] == [Verdict.PASSED, Verdict.WRONG_ANSWER, Verdict.WRONG_ANSWER]


def test_what_the_set_says_itself_goes_first_and_it_can_be_turned_off(tmp_path: Path) -> None:
    given, expected, _, _ = CASES["abc343_a"]
    own = record("abc343_a", given, expected, checker="exact")
    (problem,) = written(tmp_path / "own.jsonl", own)
    assert problem.checker is not None and problem.checker.kind == "exact"
    (plain,) = written(tmp_path / "plain.jsonl", record("abc343_a", given, expected), errata=False)
    assert plain.checker is None
    interactive = record("abc355_e", "", "x")
    assert load_set(path := tmp_path / "plain.jsonl", errata=False).version != load_set(path).version
    assert known_errata(interactive) == {"interactive": True}


@pytest.mark.parametrize(
    ("statement", "free"),
    [
        ("Return an array containing the indices of all stable mountains in any order.", True),
        ("Return an array of indices. You may return the answer\nin any order.", True),
        ("Split arr into subarrays and rearrange these subarrays in any order. Return the cost.", False),
        (
            "Rearrange the substrings, and concatenate them in any order to create a string. Return true.",
            False,
        ),
        ("Return the minimum number of moves. You may apply them in any order.", False),
        ("Return the lexicographically smallest array, if elements may be swapped in any order.", False),
    ],
)
def test_the_phrase_for_any_order(statement: str, free: bool) -> None:
    assert allows_any_order({"question_content": statement}) is free
