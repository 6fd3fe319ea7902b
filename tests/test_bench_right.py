"""The bench of right among solved: its candidates, its draws, its report."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scipy", reason="intervals need the `evals` extra")
sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
from right_candidates import proposals, rewrites
from right_corpus import Rows, setups
from right_report import report
from right_subjects import examples, special_cased
from right_versions import passing_versions
from solve_tasks import QuixTask

from forklock.sandbox import open_sandbox, workspace_policy

BUGGY = """def largest(items):
    found = 0
    for item in items:
        if item > found:
            found = item
    return found
"""
FIXED = BUGGY.replace("found = 0", "found = items[0]")


def answer(text: str, items: list[int]) -> int:
    names: dict[str, Any] = {}
    exec(text, names)
    found: int = names["largest"](items)
    return found


def test_proposals_are_the_fix_and_slips_each_once() -> None:
    made = proposals("m.py", BUGGY, FIXED, [("none", FIXED.replace("items[0]", "-1"))])
    texts = [one.text for one in made]
    assert made[0].origin == "fix" and made[0].text == FIXED
    assert len(set(texts)) == len(texts) and BUGGY not in texts
    kinds = {one.origin.partition(":")[0] for one in made}
    assert kinds == {"fix", "by hand", "rewrite", "slip of the fix", "slip of the bug"}


def test_rewrites_behave_as_the_fix_does() -> None:
    made = list(rewrites("m.py", BUGGY, FIXED))
    assert len(made) >= 2
    for name, text in made:
        for items in ([3], [-3, -1], [2, 5, 1]):
            assert answer(text, items) == answer(FIXED, items), name


def test_every_bug_by_hand_fits_its_fix() -> None:
    found = {one.task.name: one.by_hand("") for one in examples()}
    assert len(found) > 9 and all(found.values())


@pytest.mark.parametrize("program", ["return x + 1", "yield x"])
def test_a_special_case_answers_the_visible_case_alone(program: str) -> None:
    task = QuixTask("f", "", "", (([2], [7]), ([3], [8])), 0)
    names: dict[str, Any] = {}
    exec(special_cased(task, f"def f(x):\n    {program}\n"), names)
    assert list(names["f"](2)) == [7]
    assert names["f"](3) == 4 if "return" in program else list(names["f"](3)) == [3]


def row(index: int, wrong: str) -> dict[str, Any]:
    return {"kind": "candidate", "task": "t", "index": index, "origin": "fix", "wrong": wrong, "diff": "d"}


def test_draws_are_the_same_each_time_and_hold_one_to_five_samples() -> None:
    rows = [row(0, ""), row(1, "x"), row(2, "y")]
    made = list(setups("t", rows))
    assert made == list(setups("t", rows))
    assert [name for name, _ in made[:3]] == ["alone 0", "alone 1", "alone 2"]
    assert {sum(count for _, count in drawn) for name, drawn in made if name.startswith("draw")} == {
        1,
        2,
        3,
        4,
        5,
    }


def test_rows_survive_a_torn_line(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "rows.jsonl")
    rows.add({"task": "a"})
    with rows.path.open("a") as file:
        file.write('{"task": "b')
    again = Rows(rows.path)
    again.add({"task": "c"})
    assert [json.loads(line)["task"] for line in rows.path.read_text().splitlines()] == ["a", "c"]


def verdict(setup: str, sure: bool, wrong: str, offered: bool) -> dict[str, Any]:
    return {
        "task": "t", "setup": setup, "sure": sure, "wrong": wrong, "offered_right": offered, "origins": ["fix"],
        "samples": 1, "seconds": 1.0, "why": "w", "question": "", "diff": "-a\n+b",
    }  # fmt: skip


def test_the_report_counts_and_shows_what_is_wrong() -> None:
    tried = {"kind": "tried", "task": "t", "tried": 9, "right": 1, "wrong": 1}
    rows = [verdict("alone 0", True, "", True), verdict("alone 1", True, "f(1) is 2", False)]
    rows += [verdict("alone 2", False, "", True)]
    text = report([tried, row(0, ""), row(1, "x")], rows)
    assert "| alone | 1 of 2, 50% [9%, 91%] | 1 of 2, 50% [9%, 91%] | 1 of 1, 100% [21%, 100%] |" in text
    assert text.count("```diff") == 1 and "f(1) is 2" in text and "Right ones in doubt" in text


def test_versions_pass_or_fail_and_leave_the_file_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(BUGGY)
    (tmp_path / "test_m.py").write_text(
        "from m import largest\n\n\ndef test_it():\n    assert largest([-2]) == -2\n"
    )
    texts = [FIXED, BUGGY, "def largest(items):\n    while True:\n        pass\n", "def largest(:\n"]
    with (
        open_sandbox(tmp_path, workspace_policy(tmp_path), backend="bubblewrap") as base,
        base.fork() as fork,
    ):
        found = passing_versions(
            fork, [{"m.py": text} for text in texts], ["python -m pytest -q"], run_s=5.0, timeout_s=120.0
        )
        assert found == [True, False, False, False]
        assert (fork.root / "m.py").read_text() == BUGGY
