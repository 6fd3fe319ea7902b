"""Texts of others are parsed in one place, whose errors are one kind."""

from __future__ import annotations

import ast
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forklock.sandbox.files.reading import Unreadable, parse_json, parse_toml, read_regular

ROOT = Path(__file__).parent.parent
ROOMS = ("agent", "evals", "models", "sandbox", "selfdistill", "tools")
PARSERS = {"json.loads", "json.load", "tomllib.loads", "tomllib.load", "json5.loads"}
KNOWN = {
    "evals/judging/outputs.py": "values of programs and of tests; the judge counts what cannot be compared as wrong",
    "evals/judging/driver/main.py": "runs in the sandbox, beside the program",
    "evals/judging/driver/program.py": "runs in the sandbox, beside the program",
    "evals/judging/driver/supervisor.py": "runs in the sandbox, beside the program",
    "evals/judging/driver/wire.py": "frames that our own driver wrote",
    "evals/problems/errata/find_the_last_marked_nodes_in_tree.py": "runs in the sandbox",
    "evals/agents/problem_repo.py": "tests of a problem that `forklock.evals.problems.records` has read",
    "evals/cluster.py": "what our own driver sent to its workers",
    "evals/problems/records.py": "called by `forklock.evals.problems.sets`, which catches",
    "evals/agents/tasks.py": "called by pydantic, whose caller catches",
    "models/adapters/registry.py": "read by the models room's own strict reader",
    "models/catalogue/weights.py": "read by the models room's own strict reader",
    "sandbox/linux/accountant.py": "requests that our own process wrote; standard library only",
    "sandbox/linux/accounted.py": "words of our own accountant",
    "sandbox/backends/bubblewrap/inside.py": "words of bubblewrap; standard library only",
    "sandbox/backends/docker/backend.py": "words of our own supervisor",
    "sandbox/backends/docker/supervisor.py": "requests that our own process wrote; standard library only",
    "tools/testing/inside/behaviour_watch.py": "a job that our own process wrote; runs in the sandbox",
    "tools/testing/inside/mutants_plugin.py": "a job that our own process wrote; runs in the sandbox",
    "selfdistill/training/train.py": "what PEFT wrote a moment before",
}
"""Modules that parse without `forklock.sandbox.files.reading`, and do not catch RecursionError there: why they may."""


def parsers(node: ast.AST, caught: frozenset[str] = frozenset()) -> Iterator[int]:
    """Lines of calls of a parser outside of a `try` that catches too deep nesting."""
    if isinstance(node, ast.Try):
        kinds = [handler.type for handler in node.handlers]
        names = {
            ast.unparse(part) for kind in kinds for part in getattr(kind, "elts", [kind]) if part is not None
        }
        for part in node.body:
            yield from parsers(part, caught | names)
        rest: list[ast.AST] = [*node.handlers, *node.orelse, *node.finalbody]
        for part in rest:
            yield from parsers(part, caught)
        return
    if (
        isinstance(node, ast.Call)
        and ast.unparse(node.func) in PARSERS
        and not caught & {"RecursionError", "Exception"}
    ):
        yield node.lineno
    for child in ast.iter_child_nodes(node):
        yield from parsers(child, caught)


@pytest.mark.hostile("damage")
def test_no_other_module_parses_what_may_be_nested_too_deeply(tried: Callable[[int], None]) -> None:
    files = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    found = {}
    for path in files:
        lines = list(parsers(ast.parse(path.read_text(encoding="utf-8"))))
        name = str(path.relative_to(ROOT))
        if lines and name not in KNOWN:
            found[name] = lines
    assert not found, "use forklock.sandbox.files.reading, or say here why not"
    tried(len(files))


DEEP = 200_000
JSON = {
    "deep list": "[" * DEEP, "deep object": '{"a":' * DEEP, "closed": "[" * DEEP + "]" * DEEP, "nan": "[NaN]",
    "infinity": "Infinity", "minus": "-Infinity", "big": "1e999", "digits": "9" * 20_000, "half": '"\\ud800"',
    "other half": '{"\\uDfff": 1}', "inside": '["\\ud83d", "\\ude00"]', "nul": "\0", "empty": "", "bytes": b"\xff",
    "utf-16": "[1]".encode("utf-16"),
}  # fmt: skip


@pytest.mark.hostile("damage")
@pytest.mark.parametrize("what", JSON)
def test_json_that_is_none(what: str) -> None:
    with pytest.raises(Unreadable):
        parse_json(JSON[what])


@pytest.mark.hostile("damage")
def test_any_text_is_json_or_unreadable_as_the_library_has_it(tried: Callable[[int], None]) -> None:
    count = 0

    @given(
        st.one_of(
            st.text(),
            st.binary(),
            st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps),
        )
    )
    def parse(text: str | bytes) -> None:
        nonlocal count
        count += 1
        try:
            value = parse_json(text)
        except Unreadable:
            return
        assert value == json.loads(text)
        assert all(math.isfinite(number) for number in floats(value))
        json.dumps(value, ensure_ascii=False).encode()

    parse()
    assert parse_json('"\\ud83d\\ude00"') == "😀"
    assert math.isnan(parse_json("NaN", finite=False))
    tried(count)


def floats(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from floats(part)


TOML = {
    "deep": b"a = " + b"[" * DEEP, "inline": b"a = " + b"{a = " * 50_000, "key": b".".join([b"a"] * 50_000) + b" = 1",
    "header": b"[" + b".".join([b"a"] * 50_000) + b"]", "quoted": b".".join([b'"a"'] * 50_000) + b" = 1",
    "digits": b"a = " + b"9" * 20_000, "bytes": b"\xff", "nul": b"\0", "twice": b"a = 1\na = 2",
    "date": b"a = 1979-13-45",
}  # fmt: skip


@pytest.mark.hostile("damage")
@pytest.mark.parametrize("what", TOML)
def test_toml_that_is_none_or_takes_for_ever(what: str) -> None:
    began = time.process_time()
    with pytest.raises(Unreadable):
        parse_toml(TOML[what])
    assert time.process_time() - began < 5


@pytest.mark.hostile("damage")
@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "device", "large", "growing", "nul", "long name"])
def test_files_that_are_not_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    if kind == "link":
        (tmp_path / "other").write_text("x")
        path.symlink_to("other")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "large":
        path.write_bytes(b"x" * 101)
    path = {"device": Path("/dev/zero"), "growing": Path("/proc/self/maps"), "nul": tmp_path / "a\0b",
            "long name": tmp_path / ("x" * 5000)}.get(kind, path)  # fmt: skip
    with pytest.raises((Unreadable, OSError)):
        read_regular(path, most_bytes=100)
