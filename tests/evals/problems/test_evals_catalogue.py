"""What sets are here, and whether a model may have seen them."""

from __future__ import annotations

import json
import tracemalloc
from datetime import date
from pathlib import Path

from made_up import made_up_run
from typer.testing import CliRunner

from forklock.evals.commands.main import app
from forklock.evals.contract import Verdict
from forklock.evals.problems.catalogue import facts
from forklock.evals.results import EvalResult
from forklock.evals.statistics.contamination import contamination, sentence

PASS, WRONG = Verdict.PASSED, Verdict.WRONG_ANSWER


def lcb(name: str, day: str, difficulty: str) -> str:
    test = {"input": "1", "output": "1", "testtype": "stdin"}
    record = {
        "question_id": name, "question_title": name, "question_content": "?", "platform": "atcoder",
        "difficulty": difficulty, "contest_date": day, "starter_code": "", "public_test_cases": [test],
        "private_test_cases": [test], "metadata": {},
    }  # fmt: skip
    return json.dumps(record) + "\n"


def test_sets_are_listed_with_what_they_hold(tmp_path: Path) -> None:
    rows = lcb("a", "2024-01-05", "easy") + lcb("b", "2024-02-01", "hard") + lcb("c", "2024-02-09", "hard")
    (tmp_path / "lcb-window.jsonl").write_text(rows)
    (tmp_path / "torn.jsonl").write_text(rows[:-20])
    found = {row.name: row for row in facts(tmp_path)}
    window = found["lcb-window"]
    assert (window.problems, window.tests, window.first) == (3, 6, date(2024, 1, 5))
    assert window.months == (("2024-01", 1), ("2024-02", 2)) and window.platforms == (("atcoder", 3),)
    assert "line 3" in found["torn"].fault
    assert found["mbpp"].path is None and found["mbpp"].get
    out = tmp_path / "sets.json"
    shown = CliRunner().invoke(app, ["sets", "lcb", "--data", str(tmp_path), "--json", str(out)])
    assert shown.exit_code == 0 and "2024-02 2" in shown.stdout
    assert [row["name"] for row in json.loads(out.read_text())] == ["lcb-window"]


def test_a_large_set_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    record = json.loads(lcb("a", "2024-01-05", "easy"))
    with (tmp_path / "large.jsonl").open("w") as file:
        for number in range(40):
            test = json.dumps([{"input": "1", "output": "x" * 1_000_000, "testtype": "stdin"}])
            file.write(json.dumps(record | {"question_id": str(number), "private_test_cases": test}) + "\n")
    tracemalloc.start()
    try:
        (found,) = facts(tmp_path, "large")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.problems == 40 and peak < 20_000_000


def dated(result: EvalResult, days: list[date], difficulties: list[str]) -> EvalResult:
    rows = zip(result.problems, days, difficulties, strict=True)
    problems = tuple(p.model_copy(update={"contest_date": d, "difficulty": level}) for p, d, level in rows)
    return result.model_copy(update={"problems": problems})


def test_a_fall_after_the_cutoff_shows(tmp_path: Path) -> None:
    run = made_up_run(tmp_path, [[PASS]] * 20 + [[WRONG]] * 20)
    days = [date(2024, 1 + i // 5, 3) for i in range(40)]
    found = contamination(dated(run, days, ["easy"] * 40), date(2024, 4, 30))
    assert (found.before.value, found.after.value, found.difference) == (1.0, 0.0, 1.0)
    assert found.p_value is not None and found.p_value < 0.001 and "fell by 100.0%" in sentence(found)
    assert [month.seen for month in found.months] == [True] * 3 + [None] + [False] * 4


def test_harder_contests_alone_are_no_contamination(tmp_path: Path) -> None:
    """The score halves after the cutoff, but only because there are more hard problems."""
    before = [[PASS]] * 18 + [[WRONG]] * 2
    after = [[PASS]] * 2 + [[WRONG]] * 18
    run = made_up_run(tmp_path, before + after)
    levels = ["easy"] * 18 + ["hard"] * 2 + ["easy"] * 2 + ["hard"] * 18
    days = [date(2024, 1, 1)] * 20 + [date(2024, 6, 1)] * 20
    found = contamination(dated(run, days, levels), date(2024, 3, 1))
    assert found.before.value - found.after.value > 0.7
    assert found.difference == 0 and found.p_value is not None and found.p_value > 0.5


def test_nothing_on_one_side_says_nothing(tmp_path: Path) -> None:
    run = made_up_run(tmp_path, [[PASS]] * 3)
    found = contamination(run, date(2030, 1, 1))
    assert found.difference is None and "nothing can be said" in sentence(found)
