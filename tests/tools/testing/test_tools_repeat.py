"""Limits for single tests, and tests that fail only sometimes: with the real runners in a real sandbox."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from programs import needs

from forklock.sandbox import SandboxUnavailable, open_sandbox, workspace_policy
from forklock.tools.contract import TestReport, TestStatus
from forklock.tools.testing.args import with_test_limit
from forklock.tools.testing.command import parse_command
from forklock.tools.testing.repeat import Repeated, run_repeatedly
from forklock.tools.testing.run import run_tests


def run(root: Path, command: str, limit: float) -> TestReport:
    try:
        with open_sandbox(root, workspace_policy(root), backend="bubblewrap") as sandbox:
            return run_tests(sandbox, command, timeout_s=60, test_timeout_s=limit)
    except SandboxUnavailable as reason:
        pytest.skip(f"BUBBLEWRAP IS NOT HERE: {reason}")


PYTEST = """
import time, pytest
def test_slow(): time.sleep(30)
def test_busy():
    while True: pass
@pytest.fixture
def slow(): time.sleep(30)
def test_set_up(slow): pass
def test_fine(): pass
"""
UNITTEST = """
import time, unittest
class T(unittest.TestCase):
    def test_slow(self): time.sleep(30)
    def test_fine(self): pass
"""
NODE = """
const { test } = require('node:test')
test('slow', async () => { await new Promise(done => setTimeout(done, 30000)) })
test('fine', () => {})
"""


def test_pytest_and_unittest_end_a_slow_test_and_go_on(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(PYTEST)
    report = run(tmp_path, "python -m pytest -q test_a.py", 0.5)
    assert report.status is TestStatus.FAILED and report.passed == {"test_a.py::test_fine"}
    assert {f.test_id.partition("::")[2] for f in report.failures} == {
        "test_slow",
        "test_busy",
        "test_set_up",
    }
    assert all("timed out after 0.5 s" in failure.message for failure in report.failures)
    assert report.wall_s < 20

    (tmp_path / "test_a.py").write_text(UNITTEST)
    report = run(tmp_path, "python -m unittest test_a", 0.5)
    assert report.passed == {"test_a.T.test_fine"}
    (slow,) = report.failures
    assert "timed out after 0.5 s" in slow.message and report.wall_s < 20


@needs("node")
def test_node_ends_a_slow_file(tmp_path: Path) -> None:
    (tmp_path / "a.test.js").write_text(NODE)
    report = run(tmp_path, "node --test a.test.js", 0.5)
    assert report.status is TestStatus.FAILED and not report.passed  # node's limit is one for each file
    assert "timed out" in report.failures[0].message
    assert report.wall_s < 20


@pytest.mark.parametrize(
    ("command", "limited"),
    [
        ("node --test a.js", "node --test --test-timeout=1500 a.js"),
        ("vitest run", "vitest --testTimeout=1500 run"),
        ("ctest -R a", "ctest --timeout 1.5 -R a"),
        ("go test ./...", "go test -timeout=1.5s ./..."),
        ("go test -timeout=9s .", "go test -timeout=9s ."),
        ("cargo test", "cargo test"),
    ],
)
def test_options_of_other_runners(command: str, limited: str) -> None:
    assert " ".join(with_test_limit(parse_command(command), 1.5).argv) == limited


# Fails in every second run: its state lies where forks do not reach.
FLAKY = """
import os, pathlib
def test_sometimes():
    count = pathlib.Path({state!r})
    seen = len(count.read_text())
    count.write_text("x" * (seen + 1))
    assert seen % 2
def test_never(): assert False
def test_always(): pass
"""


def test_flaky_tests_are_told_from_failing_ones(tmp_path: Path) -> None:
    root, state = tmp_path / "repo", tmp_path / "state"
    root.mkdir()
    state.write_text("")
    (root / "test_a.py").write_text(FLAKY.format(state=str(state)))
    with open_sandbox(root, workspace_policy(root), backend="host") as sandbox:
        found = run_repeatedly(sandbox, "python -m pytest -q", times=4)
    assert found.flaky == ("test_a.py::test_sometimes",)
    assert (found.passed["test_a.py::test_sometimes"], found.failed["test_a.py::test_sometimes"]) == (2, 2)
    assert found.failed["test_a.py::test_never"] == 4 and isinstance(found, Repeated)


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("def test_fine(): pass\ndef test_bad():\n    assert 1 == 2\n")
    words = [
        sys.executable,
        "-m",
        "forklock.tools.commands.main",
        "test",
        "--repo",
        str(tmp_path),
        "--sandbox",
        "bubblewrap",
    ]
    done = subprocess.run([*words, "--repeat", "2"], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1, done.stderr
    assert "python -m pytest -q: failed; 1 passed, 1 failed" in done.stdout
    assert (
        "test_a.py::test_bad  test_a.py:3" in done.stdout
        and "no test fails only sometimes; 1 that" in done.stdout
    )
    (tmp_path / "test_a.py").write_text("def test_fine(): pass\n")
    assert subprocess.run(words, capture_output=True, check=False, timeout=120).returncode == 0
