"""Grading programs that exist already: the command, on real sandboxes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forklock.evals.contract import ProblemSet
from forklock.evals.judging.judge import Judge
from forklock.evals.problems.sets import load_set
from forklock.evals.runs.grade import GradeFile, grade, read_solutions

Command = Callable[..., tuple[int, str, str]]

RIGHT = "print(sum(map(int, input().split())))"
WRONG = "print(0)"
LOOP = "while True: pass"


def record(question_id: str, inputs: list[tuple[str, str]]) -> dict[str, Any]:
    tests = [{"input": i, "output": o, "testtype": "stdin"} for i, o in inputs]
    return {
        "question_id": question_id, "question_title": "Sum", "question_content": "Print the sum.",
        "starter_code": "", "difficulty": "easy", "platform": "atcoder", "contest_date": "2024-01-01T00:00:00",
        "public_test_cases": json.dumps(tests[:1]), "private_test_cases": json.dumps(tests[1:]), "metadata": "{}",
    }  # fmt: skip


def lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _sandbox(shared_judge: Judge) -> None:
    """Skips where no sandbox is."""


@pytest.fixture
def set_file(tmp_path: Path) -> Path:
    return lines(tmp_path / "set.jsonl", [record(q, [("1 2", "3"), ("0 0", "0")]) for q in ("a", "b")])


@pytest.fixture
def problems(set_file: Path) -> ProblemSet:
    return load_set(set_file)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    from forklock.evals.commands.main import main

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["evals", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return int(ended.value.code or 0), out, err

    return run


def test_a_verdict_a_line_in_the_files_order(command: Command, tmp_path: Path, set_file: Path) -> None:
    rows = [
        {"question_id": "b", "code": WRONG, "note": "other fields are ignored"},
        {"question_id": "a", "code": RIGHT},
        {"question_id": "a", "code": "print(int(input().split()[2]))"},
        {"question_id": "b", "code": None},
    ]
    code, out, err = command(
        "judge", "--set", set_file, "--solutions", lines(tmp_path / "s.jsonl", rows), "--time-scale", "0.1"
    )
    graded = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(g["line"], g["question_id"], g["verdict"], g["failing_test"]) for g in graded] == [
        (1, "b", "wrong answer", 0),
        (2, "a", "passed", None),
        (3, "a", "exception", 0),
        (4, "b", "no code", None),
    ]
    assert "IndexError" in graded[2]["reason"]
    assert "pass@1" in err and "25.0%" in err


def test_a_file_that_was_begun_is_gone_on_with(
    shared_judge: Judge, problems: ProblemSet, tmp_path: Path
) -> None:
    rows = [{"question_id": "a", "code": RIGHT}, {"question_id": "b", "code": WRONG}]
    solutions = read_solutions(lines(tmp_path / "s.jsonl", rows), problems)
    out = tmp_path / "grades.jsonl"
    judge = shared_judge
    first = grade(judge, problems, solutions, on_grade=GradeFile(out).add)
    torn = out.read_bytes()[:-20]
    out.write_bytes(torn)
    file, asked = GradeFile(out), []
    again = grade(judge, problems, solutions, held=file.held, on_grade=asked.append)
    file.finish(again)
    assert len(asked) == 1 and [g.verdict for g in again] == [g.verdict for g in first]
    changed = [*rows[:1], {"question_id": "b", "code": RIGHT}]
    other = read_solutions(lines(tmp_path / "s.jsonl", changed), problems)
    third = grade(judge, problems, other, held=GradeFile(out).held)
    assert [g.passed for g in third] == [True, True]
    assert [json.loads(line)["line"] for line in out.read_text().splitlines()] == [1, 2]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question_id": "z", "code": ""}, "no problem 'z'"),
        ({"question_id": "a"}, "'code' is missing"),
        ({"question_id": "a", "code": 3}, "code a string or null"),
        (["a", RIGHT], "line 2"),
    ],
)
def test_bad_lines_are_named(
    command: Command, tmp_path: Path, set_file: Path, row: Any, message: str
) -> None:
    path = lines(tmp_path / "s.jsonl", [{"question_id": "a", "code": RIGHT}, row])
    code, _, err = command("judge", "--set", set_file, "--solutions", path)
    assert code == 2 and message in err and "line 2" in err


def test_a_file_of_something_else_is_not_overwritten(
    command: Command, tmp_path: Path, set_file: Path
) -> None:
    path = lines(tmp_path / "s.jsonl", [{"question_id": "a", "code": RIGHT}])
    notes = tmp_path / "notes.txt"
    notes.write_text("mine\n")
    code, _, err = command("judge", "--set", set_file, "--solutions", path, "--out", notes)
    assert code == 2 and "no grade" in err and notes.read_text() == "mine\n"


def test_a_loop_is_ended_and_its_neighbours_are_judged(
    command: Command, tmp_path: Path, set_file: Path
) -> None:
    rows = [{"question_id": "a", "code": code} for code in (LOOP, RIGHT)]
    path, out = lines(tmp_path / "s.jsonl", rows), tmp_path / "out.jsonl"
    code, _, _ = command("judge", "--set", set_file, "--solutions", path, "--out", out, "--time-scale", "0.1")
    assert code == 0
    assert [json.loads(line)["verdict"] for line in out.read_text().splitlines()] == ["timed out", "passed"]


def test_a_program_of_an_interactive_problem_has_a_line_without_a_verdict(
    command: Command, tmp_path: Path
) -> None:
    records = [record("a", [("1 2", "3")]), record("talks", [("1", "1")]) | {"interactive": True}]
    rows = [{"question_id": name, "code": RIGHT} for name in ("talks", "a")]
    path, out = lines(tmp_path / "s.jsonl", rows), tmp_path / "out.jsonl"
    code, _, _ = command(
        "judge", "--set", lines(tmp_path / "set.jsonl", records), "--solutions", path, "--out", out
    )
    graded = [json.loads(line) for line in out.read_text().splitlines()]
    assert code == 3 and [g["verdict"] for g in graded] == ["infrastructure error", "passed"]
    assert "interactive" in graded[0]["reason"]


def test_a_folder_is_no_file_of_verdicts(command: Command, tmp_path: Path, set_file: Path) -> None:
    path = lines(tmp_path / "s.jsonl", [{"question_id": "a", "code": RIGHT}])
    code, _, err = command("judge", "--set", set_file, "--solutions", path, "--out", tmp_path)
    assert code == 2 and "cannot read" in err
