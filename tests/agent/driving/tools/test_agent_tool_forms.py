"""Arguments of `edit` as models write them: what is taken off, and that nothing a model writes does harm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from toolboxes import Box, Ground

from forklock.agent.driving.tools.find import TOOL as FIND
from forklock.agent.driving.tools.forms import (
    Delete,
    Rename,
    Unclear,
    change_of,
    edit_tool,
    passage,
    unfenced,
)
from forklock.agent.driving.tools.read import TOOL as READ
from forklock.models.calls.arguments import checked
from forklock.models.calls.contract import Call
from forklock.models.calls.known import format_named
from forklock.tools.contract import ReplaceFile, ReplaceSymbol, SearchReplace

CODE = "def a():\n    return 1\n"


@pytest.mark.parametrize(
    "written",
    [
        CODE, f"```python\n{CODE}```", f"~~~~\n{CODE}~~~~\n", f"Here it is:\n\n```python\n{CODE}```\nDone.",
        f"```python\n{CODE}", f"\n\n```py\n{CODE}```\n\n", "1 | def a():\n2 |     return 1\n",
        "def a():\\n    return 1\\n",
    ],
)  # fmt: skip
def test_what_stands_around_code_is_taken_off(written: str) -> None:
    assert unfenced("a.py", written).strip() == CODE.strip()


def test_fences_that_belong_to_a_file_stay() -> None:
    page = "# Title\n\n```python\nx = 1\n```\n"
    assert unfenced("a.md", page) == page
    assert unfenced("a.md", "```sh\nls\n```\n") == "```sh\nls\n```\n"
    assert unfenced("a.md", f"````markdown\n{page}````") == page
    quoted = 'TEXT = """\n```\ncode\n```\n"""\n'
    assert unfenced("a.py", quoted) == quoted
    assert unfenced("a.py", "x = 'a\\nb'") == "x = 'a\\nb'"


def test_copied_line_numbers_are_taken_off() -> None:
    assert passage("a.py", " 9 | def a():\n10 |     return 1") == "def a():\n    return 1"
    assert passage("a.txt", "1 | a\nb") == "1 | a\nb"


def test_forms() -> None:
    assert change_of("a", {"content": "x"}) == ReplaceFile(path="a", source="x")
    assert change_of("a", {"old": "x", "new": ""}) == SearchReplace(path="a", search="x", replace="")
    assert change_of("a", {"symbol": "A::b()", "content": "x"}) == ReplaceSymbol(
        path="a", name_path="A.b", source="x"
    )
    assert change_of("a", {"symbol": "b", "rename_to": " c "}) == Rename("a", "b", "c")
    assert change_of("a", {"delete": True}) == Delete("a")
    assert change_of("a", {"delete": False, "content": ""}) == ReplaceFile(path="a", source="")
    for unclear in ({}, {"old": "x"}, {"rename_to": "x"}, {"symbol": "x"}, {"delete": False}):
        with pytest.raises(Unclear):
            change_of("a", unclear)


def test_names_that_models_use_out_of_habit_are_understood() -> None:
    tools = (READ, FIND, edit_tool("search-replace"))
    for written, meant in [
        ({"file_path": "a", "old_str": "x", "new_str": "y"}, {"path": "a", "old": "x", "new": "y"}),
        ({"filename": "a", "code": "x"}, {"path": "a", "content": "x"}),
        ({"path": "a", "contents": "x"}, {"path": "a", "content": "x"}),
    ]:
        assert checked("edit", written, tools) == Call("edit", meant)
    assert checked("read", {"file_path": "a", "start_line": "3"}, tools) == Call(
        "read", {"path": "a", "start": 3}
    )
    assert "old_str" not in format_named("hermes").instructions(tools)


TEXT = st.one_of(
    st.sampled_from(
        [
            "",
            "shop.py",
            "total",
            "def total(p):\n    return 1\n",
            "```\n",
            "`" * 5,
            "\n" * 5,
            "1 | x",
            "\x1b[",
            "\ud800",
        ]
    ),
    st.text(max_size=60),
)
PATHS = st.one_of(
    st.sampled_from(
        ["shop.py", "../out.py", "/etc/x", "link/x.py", "a/../../x", ".git/config", "docs", "", ".", "~/x", "new.py",
         "C:\\x", "x\0y", "docs/notes.md/deep", "test_shop.py", "tests/test_n.py", "\ud800.py", "a" * 300]
    ),
    st.text(max_size=20),
)  # fmt: skip
VALUES = st.one_of(TEXT, st.booleans(), st.integers(-(10**12), 10**12))
NAMES = [
    "old",
    "new",
    "content",
    "symbol",
    "rename_to",
    "delete",
    "search",
    "code",
    "start",
    "end",
    "query",
    "kind",
]


@pytest.fixture
def unchecked(shop_ground: Ground, tmp_path: Path) -> Iterator[Box]:
    """The tools of one rollout for all examples. Its check is not run after edits."""
    check = shop_ground.check
    slow = replace(check, before=replace(check.before, wall_s=60.0))
    with shop_ground.rollout(check=slow) as box:
        (tmp_path / "outside").mkdir()
        (box.fork.root / "link").symlink_to(tmp_path / "outside")
        yield box


@pytest.mark.hostile("answers")
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tool=st.sampled_from(["edit", "edit", "edit", "read", "find", "", "eval"]),
    path=PATHS,
    arguments=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4),
)
@example(tool="edit", path="shop.py", arguments={"content": " " * 200_000 + "```"})
@example(tool="edit", path="shop.py", arguments={"content": "```\n" * 50_000})
def test_nothing_that_a_model_writes_raises_or_leads_out(
    unchecked: Box, tmp_path: Path, tool: str, path: str, arguments: dict[str, str | int | bool]
) -> None:
    answer = unchecked(tool, path=path, **arguments)
    assert answer.text == answer.text.encode("utf-8", "replace").decode()
    assert "\x1b" not in answer.text
    assert len(answer.text) < 40_000
    assert list((tmp_path / "outside").iterdir()) == []
    assert not (unchecked.fork.root.parent / "out.py").exists()
    assert all(not one.startswith(("/", "..")) and ".git/" not in one for one in answer.wrote)
