# ruff: noqa: E501 - hostile values a line
"""Problem sets that are damaged or mean harm: a fault that names the line, or problems; never a traceback, soon."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import pickle
import pickletools
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forklock.evals.agents.tasks import read_tasks
from forklock.evals.contract import EvalFault
from forklock.evals.problems.sets import load_set
from forklock.evals.problems.unpickle import packed_text
from forklock.evals.runs.grade import read_solutions

TESTS = json.dumps([{"input": "1", "output": "2", "testtype": "stdin"}])


def packed(value: object) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


RECORDS: dict[str, dict[str, Any]] = {
    "lcb": {
        "question_id": "a", "question_title": "t", "question_content": "Say.", "contest_date": "2024-01-01",
        "platform": "leetcode", "difficulty": "easy", "starter_code": "", "public_test_cases": TESTS,
        "private_test_cases": packed(TESTS), "metadata": "{}", "time_limit_s": 3, "checker": "lines",
        "test_time_limits_s": [1, 2],
    },
    "humaneval": {
        "task_id": "H/1", "prompt": "def f(n):\n    '''Say.'''\n", "entry_point": "f",
        "test": "def check(candidate):\n    assert candidate(1) == 1\n", "canonical_solution": "    return n\n",
    },
    "leetcode": {
        "task_id": "two-sum", "query": "Q", "input_output": [], "entry_point": "Solution().f", "prompt": "import math",
        "test": "def check(candidate):\n    assert candidate(1) == 1\n", "meta": {"lang_code": "x", "difficulty": "Easy"},
    },
    "task": {
        "task_id": "t-1", "repo": "a/b", "base_commit": "0" * 40, "problem_statement": "p", "fix_commit": "1" * 40,
        "test_files": ["t.py"], "FAIL_TO_PASS": '["t.py::a"]', "PASS_TO_PASS": [], "test_patch": "",
    },
    "solution": {"question_id": "a", "code": "print(1)"},
}  # fmt: skip
VALUES = [
    "1e999", "-1e999", "NaN", "Infinity", "9" * 5000, "1e308", "-1", "0", "1e15", "253402300800", "-99999999999", "true",
    "null", '""', '"\\ud800"', '"\\u0000"', "[]", "{}", "[[]]", '[{"input": 1}]', '"[]"', '"{"', "[" * 500 + "]" * 500,
    "[" * 99_999, '"' + "(" * 9999 + '"', '"' + "-" * 9999 + '1"', '"' + "[" * 50_000 + '"', '{"kind": "program"}',
    '{"kind": "float", "abs_tol": 1e999}', '"interactive"', '["1", "2"]', "[1e999, 1]", "[0, 0]", '"../../etc"', '"x\\ny"',
    json.dumps("f(" * 3000), json.dumps("x" * 300_000), json.dumps("return the answer " * 20_000), json.dumps(packed([1])),
    json.dumps(packed({"a": print})), json.dumps(packed("[" * 100_000)), json.dumps("AAAA"),
]  # fmt: skip
RAW = st.sampled_from(VALUES)


def written(folder: Path, *lines: str) -> Path:
    path = folder / "set.jsonl"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    return path


def is_read_or_named(kind: str, parts: dict[str, str], folder: Path) -> None:
    line = "{" + ", ".join(f'"{name}": {text}' for name, text in parts.items()) + "}"
    began = time.monotonic()
    try:
        read(kind, written(folder, "", line))
    except EvalFault as fault:
        assert "line 2" in fault.message or "interactive" in fault.message, fault.message
        assert len(fault.message) < 600 and fault.fix
    assert time.monotonic() - began < 20


def read(kind: str, path: Path) -> None:
    if kind == "task":
        read_tasks(path)
    elif kind == "solution":
        (path.parent / "s.jsonl").write_text(json.dumps(RECORDS["lcb"]))
        read_solutions(path, load_set(path.parent / "s.jsonl"))
    else:
        load_set(path)


@pytest.mark.hostile("damage")
@pytest.mark.parametrize("kind", RECORDS)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_a_changed_record_is_read_or_named(kind: str, tmp_path: Path, data: st.DataObject) -> None:
    record = dict(RECORDS[kind])
    fields = data.draw(st.lists(st.sampled_from(sorted(record)), min_size=1, max_size=3, unique=True))
    parts = {name: json.dumps(value) for name, value in record.items()}
    for name in fields:
        value = data.draw(RAW | st.just(None) | st.text(max_size=5).map(json.dumps))
        if value is None:
            del parts[name]
        else:
            parts[name] = value
    is_read_or_named(kind, parts, tmp_path)


@pytest.mark.hostile("damage")
@pytest.mark.parametrize("kind", RECORDS)
def test_every_field_takes_every_value_or_names_it(
    kind: str, tmp_path: Path, tried: Callable[[int], None]
) -> None:
    parts = {name: json.dumps(value) for name, value in RECORDS[kind].items()}
    tried(len(parts) * len(VALUES))
    for name in parts:
        for value in VALUES:
            is_read_or_named(kind, parts | {name: value}, tmp_path)


@pytest.mark.hostile("damage")
@pytest.mark.parametrize("kind", RECORDS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_are_named(kind: str, tmp_path: Path, data: st.DataObject) -> None:
    whole = json.dumps(RECORDS[kind]).encode()
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(whole)))
    path = tmp_path / "set.jsonl"
    path.write_bytes(bytes(damaged[:cut]))
    try:
        read(kind, path)
    except EvalFault as fault:
        assert fault.fix
    path.write_bytes(gzip.compress(whole)[: max(20, cut // 4)])
    try:
        read(kind, path)
    except EvalFault as fault:
        assert fault.fix


@pytest.mark.hostile("damage")
def test_a_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: Callable[[int], None]
) -> None:
    import tracemalloc

    monkeypatch.setattr("forklock.evals.problems.unpickle.MAX_BYTES", 1 << 22)
    monkeypatch.setattr("forklock.evals.problems.files.MAX_LINE_BYTES", 1 << 22)
    zeros = base64.b64encode(zlib.compress(b"\0" * (1 << 27), 9)).decode()
    text = base64.b64encode(zlib.compress(pickle.dumps("[" + "1," * (1 << 25)), 9)).decode()
    nested = base64.b64encode(zlib.compress(zlib.compress(b"\0" * (1 << 27)))).decode()
    lines = [json.dumps(RECORDS["lcb"] | {"private_test_cases": bomb}) for bomb in (zeros, text, nested)]
    packed_file = tmp_path / "bomb.jsonl.gz"
    packed_file.write_bytes(gzip.compress(b'{"question_content": "' + b"a" * (1 << 27), 9))
    files = [
        *(
            written(tmp_path / str(n), line)
            for n, line in enumerate(lines)
            if not (tmp_path / str(n)).mkdir()
        ),
        packed_file,
    ]
    tried(len(files))
    for file in files:
        tracemalloc.start()
        with pytest.raises(EvalFault, match="line 1"):
            load_set(file)
        assert tracemalloc.get_traced_memory()[1] < 1 << 26
        tracemalloc.stop()


OPCODES = [code.code.encode("latin-1") for code in pickletools.opcodes]


@pytest.mark.hostile("damage")
@settings(max_examples=400)
@given(st.lists(st.sampled_from(OPCODES) | st.binary(max_size=6), max_size=12))
def test_nothing_but_one_text_comes_out_of_a_pickle(parts: list[bytes]) -> None:
    data = base64.b64encode(zlib.compress(b"".join(parts) + b".")).decode()
    with contextlib.suppress(ValueError):
        assert isinstance(packed_text(data), str)


@pytest.mark.hostile("answers")
@pytest.mark.parametrize(
    "change", [{"question_content": "Other."}, {"public_test_cases": "[]"}, {"time_limit_s": 4}]
)
def test_one_id_with_two_contents_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    two = [
        json.dumps(RECORDS["lcb"] | more)
        for more in ({"test_time_limits_s": None}, {"test_time_limits_s": None} | change)
    ]
    with pytest.raises(EvalFault, match="line 2: question_id 'a' repeats line 1"):
        load_set(written(tmp_path, *two))


@pytest.mark.hostile("answers")
@pytest.mark.parametrize(
    "change",
    [{"time_limit_s": 4}, {"checker": "exact"}, {"question_content": "x"}, {"test_time_limits_s": [1, 3]}],
)
def test_a_set_that_changed_has_another_version(tmp_path: Path, change: dict[str, Any]) -> None:
    first = load_set(written(tmp_path, json.dumps(RECORDS["lcb"]))).version
    assert load_set(written(tmp_path, json.dumps(RECORDS["lcb"] | change))).version != first
