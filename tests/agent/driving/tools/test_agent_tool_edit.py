"""`edit`: all forms on real forks, what is refused and why, and what an answer shows of the change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from braces import GO, JAVASCRIPT, Sample
from programs import needs
from shop import RIGHT
from toolboxes import Box, Ground, ground

from forklock.models.families.profile import EditFormat
from forklock.tools.contract import TestReport, TestStatus

BUG, FIX = "    for price in prices[1:]:", "    for price in prices:"


def test_a_passage_is_replaced_and_checked(box: Box) -> None:
    answer = box("edit", path="shop.py", old=BUG, new=FIX)
    assert answer.kind == "ok"
    assert answer.wrote == ("shop.py",)
    assert FIX in box.text("shop.py")
    assert answer.report is not None
    assert answer.report.status is TestStatus.PASSED
    assert "passes (3 tests)" in answer.text
    assert "+1 -1" in answer.text


def test_a_definition_is_replaced(box: Box) -> None:
    answer = box("edit", path="shop.py", symbol="total", content=f"```python\n{RIGHT}```")
    assert "passes (3 tests)" in answer.text
    assert "def mean" in box.text("shop.py")


def test_a_failing_check_says_what_passes_and_what_fails_first(box: Box) -> None:
    answer = box("edit", path="shop.py", symbol="mean", content="def mean(prices):\n    return 3\n")
    assert answer.kind == "ok"
    assert "1 of 3 tests pass (1 before)" in answer.text
    assert "pass now: test_shop.Shop.test_mean" in answer.text
    assert "passed before, fail now: test_shop.Shop.test_empty" in answer.text
    assert "assert mean([]) == 0" in answer.text, "the assertion itself"


def test_a_check_that_is_not_quick_is_left_to_run(shop_ground: Ground) -> None:
    slow = replace(shop_ground.check, before=replace(shop_ground.check.before, wall_s=60.0))
    with shop_ground.rollout(check=slow) as box:
        answer = box("edit", path="shop.py", old=BUG, new=FIX)
        assert answer.report is None
        assert "check" not in answer.text


def test_syntax_errors_never_reach_the_disk(box: Box) -> None:
    before = box.text("shop.py")
    answer = box(
        "edit", path="shop.py", symbol="total", content="def total(prices):\n    return sum(prices\n"
    )
    assert answer.kind == "refused"
    assert box.text("shop.py") == before
    answer = box("edit", path="shop.py", content="def total(:\n")
    assert "would not parse. Line 1" in answer.text
    assert box.text("shop.py") == before


def test_nothing_changed_is_said(box: Box) -> None:
    answer = box("edit", path="shop.py", old=BUG, new=BUG)
    assert answer.no_op
    assert answer.wrote == ()


def test_a_failed_search_shows_the_real_lines_then_the_whole_file(box: Box) -> None:
    wrong = "    for price in pricess[1:]:\n        result += cost"
    first = box("edit", path="shop.py", old=wrong, new=FIX)
    assert first.kind == "refused"
    assert "4 |     for price in prices[1:]:" in first.text
    second = box("edit", path="shop.py", old=wrong, new=FIX)
    assert box.text("shop.py") in second.text
    third = box("edit", path="shop.py", old=BUG, new=FIX)
    assert third.kind == "refused", "only a whole write is taken now"
    assert BUG in box.text("shop.py")
    assert box("edit", path="shop.py", content=box.text("shop.py").replace(BUG, FIX)).kind == "ok"
    assert box("edit", path="shop.py", old=FIX, new=BUG).kind == "ok", (
        "parts again, once the whole write fitted"
    )


def test_a_long_file_is_edited_in_parts_however_often_it_failed(box: Box) -> None:
    for _ in range(3):
        assert "whole file now" not in box("edit", path="long.py", old="no such line", new="x").text
    assert box("edit", path="long.py", old="value_500 = 500", new="value_500 = 5").kind == "ok"


def test_files_are_made_and_deleted(box: Box) -> None:
    assert box("edit", path="new/folder/a.py", content="x = 1").kind == "ok"
    assert box.text("new/folder/a.py") == "x = 1\n"
    assert "new/folder/a.py" in box.box.diff()
    answer = box("edit", path="new/folder/a.py", delete=True)
    assert answer.wrote == ("new/folder/a.py",)
    assert box.box.diff() == ""
    assert box("edit", path="new/folder/a.py", delete=True).kind == "refused"
    assert box("edit", path="gone.py", old="a", new="b").kind == "refused"


def test_what_is_missing_in_the_arguments_is_said(box: Box) -> None:
    assert "`content`" in box("edit", path="shop.py").text
    assert "`new`" in box("edit", path="shop.py", old=BUG).text
    assert "`symbol`" in box("edit", path="shop.py", rename_to="other").text
    assert box("nonsense", path="x").kind == "refused"


# --- what judges -----------------------------------------------------------------------------------


@pytest.mark.hostile("judge")
@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("test_shop.py", "x = 1\n"), ("conftest.py", "x = 1\n"), ("unittest.py", "x = 1\n"),
        ("pytest.ini", "[pytest]\n"),
        ("tests/conftest.py", "x = 1\n"), ("sitecustomize.py", "x = 1\n"),
    ],
)  # fmt: skip
def test_what_judges_is_not_written(box: Box, path: str, content: str) -> None:
    answer = box("edit", path=path, content=content)
    assert answer.kind == "refused"
    assert "read-only" in answer.text
    assert box.box.diff() == ""
    assert box("edit", path="test_shop.py", delete=True).kind == "refused"


def test_new_tests_are_part_of_the_change_and_judge_nothing(box: Box) -> None:
    cheat = "import shop\nshop.total = sum\n\n\ndef test_total():\n    assert shop.total([1, 2]) == 3\n"
    assert box("edit", path="test_more.py", content=cheat).kind == "ok"
    assert box("edit", path="tests/test_deep.py", content=cheat).kind == "ok"
    assert box.box.own_tests == ("test_more.py", "tests/test_deep.py")
    report = box.box.judge()
    assert isinstance(report, TestReport)
    assert report.status is TestStatus.FAILED
    assert "test_more.py" in box.box.diff()
    assert box("edit", path="test_more.py", old="import shop\n", new="import shop  # it\n").kind == "ok"
    box("edit", path="test_more.py", delete=True)
    assert box.box.own_tests == ("tests/test_deep.py",)


def test_where_nothing_judges_tests_count(shop_ground: Ground) -> None:
    with shop_ground.rollout(guarded=False) as box:
        assert box("edit", path="test_shop.py", content="import unittest\n\n\nclass A(unittest.TestCase):\n"
                   "    def test_a(self):\n        assert True\n").kind == "ok"  # fmt: skip
        report = box.box.judge()
        assert isinstance(report, TestReport)
        assert report.status is TestStatus.PASSED


# --- language servers ------------------------------------------------------------------------------


def test_only_new_diagnostics_are_shown(shop_ground: Ground) -> None:
    with shop_ground.rollout(servers=True) as box:
        answer = box(
            "edit", path="shop.py", old="    result = 0", new="    result = 0\n    nothing = undefined_name"
        )
        assert "new diagnostics:" in answer.text
        assert "undefined_name" in answer.text
        answer = box("edit", path="shop.py", old="    nothing = undefined_name\n", new="")
        assert "no new diagnostics" in answer.text


def test_a_rename_changes_all_files_and_leaves_tests(shop_ground: Ground) -> None:
    with shop_ground.rollout(servers=True) as box:
        box(
            "edit",
            path="till.py",
            content="from shop import total\n\n\ndef pay(prices):\n    return total(prices)\n",
        )
        answer = box("edit", path="till.py", symbol="pay", rename_to="checkout")
        assert "Renamed pay to checkout in till.py" in answer.text
        answer = box("edit", path="shop.py", symbol="total", rename_to="summed")
        assert answer.kind == "refused"
        assert "test_shop.py would have to change" in answer.text
        assert "def total" in box.text("shop.py")


def test_a_rename_over_files(tmp_path: Path) -> None:
    files = {"a.py": "def old_name():\n    return 1\n", "b.py": "from a import old_name\n\nx = old_name()\n",
             "test_it.py": "import unittest\nfrom b import x\n\n\nclass T(unittest.TestCase):\n"
             "    def test_x(self):\n        self.assertEqual(x, 1)\n"}  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with ground(tmp_path, "python -m unittest test_it") as found, found.rollout(servers=True) as box:
        answer = box("edit", path="a.py", symbol="old_name", rename_to="new_name")
        assert set(answer.wrote) == {"a.py", "b.py"}
        assert "old_name" not in box.text("a.py") + box.text("b.py")
        assert "passes (1 test)" in answer.text
        assert box("edit", path="a.py", symbol="new_name", rename_to="not a name").kind == "refused"


def test_without_a_server_a_rename_says_how_by_hand(box: Box) -> None:
    answer = box("edit", path="shop.py", symbol="mean", rename_to="average")
    assert answer.kind == "refused"
    assert "by hand" in answer.text
    assert "shop.py:9 in mean" in answer.text
    assert "test_shop.py:10" in answer.text


# --- other languages -------------------------------------------------------------------------------


@pytest.fixture(
    params=[
        pytest.param(JAVASCRIPT, marks=needs("node"), id="javascript"),
        pytest.param(GO, marks=[needs("go"), pytest.mark.slow], id="go"),
    ]
)  # fmt: skip
def sample(request: pytest.FixtureRequest) -> Sample:
    found: Sample = request.param
    return found


@pytest.fixture
def braced(sample: Sample, tmp_path: Path) -> Iterator[Box]:
    with ground(sample.write(tmp_path / "repo"), sample.test) as found, found.rollout() as box:
        yield box


def test_other_languages_go_the_same_way(braced: Box, sample: Sample) -> None:
    path = next(path for path in sample.files if sample.fault in sample.files[path])
    name = "Cart.total" if sample.language == "javascript" else "Cart.Total"
    assert f"{name}: " in braced("find", query=name).text
    assert sample.fault in braced("read", symbol=name).text
    assert braced("edit", path=path, symbol=name, content=sample.broken).kind == "refused"
    wrong = braced("edit", path=path, symbol=name, content=sample.wrong.replace("{n}", "7"))
    assert "of 2 tests pass (1 before)" in wrong.text
    right = braced("edit", path=path, symbol=name, content=sample.right)
    assert "passes (2 tests)" in right.text


# --- hostile repositories --------------------------------------------------------------------------


@pytest.mark.hostile("sandbox")
@pytest.mark.parametrize(
    "path", ["out.py", "folder/x.py", "../x.py", "/tmp/x.py", ".git/hooks/post-checkout", "dangling.py"]
)
def test_nothing_outside_is_written(box: Box, tmp_path: Path, path: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.py").write_text("x = 1\n")
    (box.fork.root / "out.py").symlink_to(outside / "x.py")
    (box.fork.root / "folder").symlink_to(outside)
    (box.fork.root / "dangling.py").symlink_to(outside / "new.py")
    for arguments in ({"content": "x = 2\n"}, {"old": "x = 1", "new": "x = 2"}, {"delete": True}):
        assert box("edit", path=path, **arguments).kind == "refused"  # type: ignore[arg-type]
    assert [entry.name for entry in outside.iterdir()] == ["x.py"]
    assert (outside / "x.py").read_text() == "x = 1\n"
    assert not os.path.lexists(box.fork.root / ".git/hooks/post-checkout")


@pytest.mark.hostile("sandbox")
def test_tests_put_aside_are_not_looked_for_through_links(box: Box, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "test_mine.py").write_text("keep me\n")
    assert box("edit", path="tests/test_mine.py", content="x = 1\n").kind == "ok"
    (box.fork.root / "tests" / "test_mine.py").unlink()
    (box.fork.root / "tests").rmdir()
    (box.fork.root / "tests").symlink_to(outside)
    box.box.judge()
    assert (outside / "test_mine.py").read_text() == "keep me\n"


@pytest.mark.parametrize("form", ["whole", "symbol", "search-replace"])
def test_a_profile_decides_what_is_offered(shop_ground: Ground, form: EditFormat) -> None:
    with shop_ground.rollout(form=form) as box:
        assert [tool.name for tool in box.box.tools] == ["read", "find", "edit", "run", "finish"]
        offered = {parameter.name for parameter in box.box.tools[2].parameters}
        assert ("old" in offered) == (form == "search-replace")
        assert ("symbol" in offered) == (form != "whole")
