"""The bench of `agent solve`: its table, its choice of tasks, and QuixBugs' programs with one case shown."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scipy", reason="intervals need the `evals` extra")
sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
from solve import sampled, table
from solve_tasks import example_tasks, quixbugs_tasks

PROGRAM = '''def doubled(n):
    return n + 2


"""
Double a number.
"""
'''


def row(task: str, outcome: str, right: bool) -> dict[str, Any]:
    return {
        "task": task, "model": "m", "width": 1, "seed": 0, "outcome": outcome, "detail": "", "seconds": 1.0, "steps": 1,
        "tokens": {"prompt": 1, "completion": 2}, "right": right, "wrong": "" if right else "f(1): 2, not 3",
        "diff": "-a\n+b",
    }  # fmt: skip


def test_the_table_counts_what_is_right_and_shows_what_is_wrong() -> None:
    rows = [
        row("a", "solved", True), row("b", "solved", False), row("c", "passes, in doubt", True),
        row("d", "out of time", False),
    ]  # fmt: skip
    text = table(rows)
    assert "passes: 3 of 4" in text and "called solved: 2 of 4" in text and "- right: 2 of 4" in text
    assert (
        "right among those called solved: 1 of 2" in text
        and "called solved among those right: 1 of 2" in text
    )
    assert text.count("```diff") == 1 and "f(1): 2, not 3" in text
    assert "0 of 0" in table([row("d", "out of time", False)])


def test_a_sample_is_nobodys_choice() -> None:
    tasks = example_tasks()
    few = sampled(tasks, 5)
    assert len(few) == 5 and few == sampled(list(reversed(tasks)), 5)
    assert len(sampled(tasks, None)) == len(tasks)


@pytest.fixture
def quixbugs(tmp_path: Path) -> Path:
    for folder, text in (
        ("python_programs", PROGRAM),
        ("correct_python_programs", PROGRAM.replace("n + 2", "2 * n")),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "doubled.py").write_text(text)
    (tmp_path / "json_testcases").mkdir()
    cases = [[[2], 4], [[3], 6], [[50], 100]]
    (tmp_path / "json_testcases" / "doubled.json").write_text("\n".join(map(json.dumps, cases)))
    return tmp_path


def test_a_program_shows_one_failing_case_and_hides_the_others(quixbugs: Path, tmp_path: Path) -> None:
    (task,) = quixbugs_tasks(quixbugs, tmp_path / "scratch")
    task.make(tmp_path / "repo")
    test = (tmp_path / "repo" / "test_doubled.py").read_text()
    assert "doubled(3) == 6" in test and "50" not in test
    assert (
        "Double a number" in task.statement and "Double" not in (tmp_path / "repo" / "doubled.py").read_text()
    )
    assert "2 of 3 cases, such as doubled(3): 6, not 5" in task.wrong(tmp_path / "repo")
    (tmp_path / "repo" / "doubled.py").write_text("def doubled(n):\n    return 6 if n == 3 else 0\n")
    assert "2 of 3 cases" in task.wrong(tmp_path / "repo")
    (tmp_path / "repo" / "doubled.py").write_text("def doubled(n):\n    return n + n\n")
    assert task.wrong(tmp_path / "repo") == ""
    (tmp_path / "repo" / "doubled.py").write_text("import os\n\n\ndef doubled(n):\n    os._exit(0)\n")
    assert "3 of 3 cases" in task.wrong(tmp_path / "repo")
