"""Minitest's results, by the real ruby in a real sandbox: what is believed, and what is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import needs

from forklock.sandbox import SandboxUnavailable, open_sandbox, workspace_policy
from forklock.tools.contract import TestReport, TestStatus
from forklock.tools.testing.command import detect_test_command, parse_command
from forklock.tools.testing.minitest import read_minitest
from forklock.tools.testing.run import run_tests

RUBY = needs("ruby", "-rminitest", "-e", "")
TESTS = """
require "minitest/autorun"
class CartTest < Minitest::Test
  def test_right = assert_equal(3, 1 + 2)
  def test_wrong
    assert_equal 2, total
  end
  def test_later = skip
  def total = [nil].first + 1
end
"""


def run(tmp_path: Path, text: str, command: str = "ruby -Itest test/cart_test.rb") -> TestReport:
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "cart_test.rb").write_text(text)
    try:
        sandbox = open_sandbox(tmp_path, workspace_policy(tmp_path), backend="bubblewrap")
    except SandboxUnavailable as reason:
        pytest.skip(f"BUBBLEWRAP IS NOT HERE, minitest was not tested: {reason}")
    with sandbox:
        return run_tests(sandbox, command)


@RUBY
@pytest.mark.parametrize(
    "command", ["ruby -Itest test/cart_test.rb", "ruby -Itest -e 'require \"cart_test\"'"]
)
def test_each_test_has_its_outcome(tmp_path: Path, command: str) -> None:
    report = run(tmp_path, TESTS, command)
    assert report.status is TestStatus.FAILED and report.passed == {"CartTest > test_right"}
    (failure,) = report.failures
    assert failure.test_id == "CartTest > test_wrong" and "NoMethodError" in failure.message
    assert [(one.path, one.line) for one in failure.frames] == [
        ("test/cart_test.rb", 6),
        ("test/cart_test.rb", 9),
    ]


@RUBY
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("exits before the end", TESTS.replace("def test_wrong", "def test_a_wrong = exit!(0)\n  def wrong")),
        ("does not parse", TESTS.replace("class CartTest", "class CartTest(")),
        ("has no tests", "require 'minitest/autorun'\n"),
        ("needs what is not there", f"require 'nowhere'\n{TESTS}"),
    ],
)
def test_a_run_that_shows_nothing_is_not_passed(tmp_path: Path, name: str, text: str) -> None:
    report = run(tmp_path, text)
    assert report.status is not TestStatus.PASSED and not report.passed, name


def test_where_options_end_and_what_is_guessed(tmp_path: Path) -> None:
    for command, at in (
        ("ruby test/a_test.rb", 1),
        ("ruby -Ilib -I test -rbundler/setup test/a_test.rb -v", 5),
        ("ruby -w -e 'p 1'", 2),
    ):
        parsed = parse_command(command)
        assert (parsed.runner, parsed.at) == ("minitest", at)
    assert parse_command("ruby -v").runner == "other"
    assert detect_test_command(tmp_path) is None
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "a_test.rb").write_text("")
    assert detect_test_command(tmp_path) == "ruby -Ilib -Itest test/a_test.rb"
    (tmp_path / "test" / "b_test.rb").write_text("")
    assert parse_command(detect_test_command(tmp_path) or "").runner == "minitest"


ROW = st.fixed_dictionaries(
    {
        "class": st.text(),
        "name": st.text(),
        "outcome": st.sampled_from(["passed", "failed", "x"]),
        "text": st.text(),
    }
)


@given(st.lists(ROW, max_size=4), st.integers(-1, 5), st.text(max_size=20))
def test_any_report_is_read_or_refused(rows: list[dict[str, str]], end: int, garbage: str) -> None:
    text = "\n".join(json.dumps(row) for row in [*rows, {"end": end}])
    found = read_minitest(text, "/w")
    assert (found is not None) == (end == len(rows))
    assert found is None or not found.passed & {failure.test_id for failure in found.failures}
    read_minitest(text + garbage, "/w")
