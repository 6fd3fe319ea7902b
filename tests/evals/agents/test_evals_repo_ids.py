"""Test ids of records: what they stand for among the tests that a runner really reports."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forklock.evals.agents.tasks import RepoTask, read_tasks
from forklock.evals.agents.verdicts import stands_for
from forklock.evals.contract import EvalFault
from forklock.tools.testing.reports import read_junit

RECORD = {
    "task_id": "t-1", "repo": "a/b", "base_commit": "0" * 40, "problem_statement": "p", "fix_commit": "1" * 40,
    "test_files": ["t.py"],
}  # fmt: skip
PARAMETERS = st.text(min_size=1, max_size=12).filter(lambda text: "\0" not in text)


@pytest.mark.hostile("answers")
@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1), st.booleans())
def test_ids_come_through_a_record_to_the_letter(ids: list[str], as_text: bool) -> None:
    field = json.dumps(ids) if as_text else ids
    read = RepoTask.model_validate_json(json.dumps(RECORD | {"FAIL_TO_PASS": field}))
    assert read.fail_to_pass == tuple(ids)


@pytest.mark.hostile("answers")
def test_ids_that_pytest_gives_are_found_whole_and_cut(tmp_path: Path, tried: Callable[[int], None]) -> None:
    """Parameters of every kind, through pytest itself: the id of its report, as SWE-bench's parser cut it."""
    values = [
        "a b", "a  b", "a - b", " lead", "trail ",
        "x[y", "x]y", "[a b]", "a] b", "a::b c", "ü ö", "\u2003 wide", "tab\tbed",
        "new\nline",
        "\x1b[31m red", "a/b c", "q'uo\"te s", "back\\slash s", "<a & b>", "100% of", 
        "\U0001f600 smile", "", " ", "-", " - ",
    ]  # fmt: skip
    (tmp_path / "test_p.py").write_text(
        f"import pytest\n@pytest.mark.parametrize('v', {values!r})\ndef test_one(v): pass\n"
        f"class TestIn:\n    @pytest.mark.parametrize('v', {values!r})\n    def test_two(self, v): pass\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rA",
        "-p",
        "no:cacheprovider",
        "--color=no",
        "-c",
        "/dev/null",
    ]
    done = subprocess.run(
        [*command, "--rootdir=.", "--junitxml=r.xml", "-o", "junit_family=xunit1"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    results = read_junit((tmp_path / "r.xml").read_text(), str(tmp_path))
    assert results is not None and len(results.passed) == 2 * len(values)
    printed = [
        line.removeprefix("PASSED ") for line in done.stdout.splitlines() if line.startswith("PASSED ")
    ]
    tried(2 * len(printed))
    assert len(printed) == 2 * len(values)
    lost = [one for one in printed if stands_for(one, results.passed) != [one]]
    assert not lost
    for one in printed:
        cut = one.split()[0]
        named = stands_for(cut, results.passed)
        assert one in named
        assert all(name == cut or name.startswith(f"{cut} ") for name in named)


@pytest.mark.hostile("answers")
@given(PARAMETERS, st.lists(PARAMETERS, max_size=6))
def test_a_cut_id_stands_for_nothing_else(value: str, others: list[str]) -> None:
    reported = {f"t.py::test[{one}]" for one in (value, *others)} | {"t.py::test", "t.py::test_other"}
    whole = f"t.py::test[{value}]"
    assert stands_for(whole, reported) == [whole]
    cut = re.split(r"\s", whole, maxsplit=1)[0]
    for name in stands_for(cut, reported):
        assert name == cut or name.startswith(f"{cut} ")
    assert stands_for("t.py::tes", reported) == []


@pytest.mark.parametrize(
    ("test", "reported", "named"),
    [
        ("test_x (pkg.Class)", "pkg.Class.test_x", True),
        ("test_x (pkg.Class.test_x)", "pkg.Class.test_x", True),
        ("test_x (pkg.Class)", "pkg.Class.test_xy", False),
        ("test_x", "test_x (pkg.Class)", False),
        ("t.py::t", "t.py::t - a reason", True),
        ("t.py::t", "t.py::t[a b]", False),
        ("t.py::t[a", "t.py::t[ab]", False),
        ("t.py::t[a", "t.py::t[a b]", True),
        ("t.py::t[a]", "t.py::t[a] b]", True),
    ],
)
def test_what_an_id_stands_for(test: str, reported: str, named: bool) -> None:
    assert bool(stands_for(test, [reported])) is named


@pytest.mark.hostile("damage")
@pytest.mark.parametrize(
    "field", ["x", "[", "[" * 100_000, '{"a": 1}', "[1]", "[[]]", '[""]', "[]", "null", '["a", null]']
)
def test_a_list_of_ids_that_is_none_is_refused(tmp_path: Path, field: str) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps(RECORD | {"FAIL_TO_PASS": field}) + "\n")
    with pytest.raises(EvalFault, match="line 1: FAIL_TO_PASS"):
        read_tasks(path)


def test_one_task_id_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text((json.dumps(RECORD | {"FAIL_TO_PASS": ["t.py::a"]}) + "\n") * 2)
    with pytest.raises(EvalFault, match="line 2: task_id 't-1' repeats line 1"):
        read_tasks(path)
