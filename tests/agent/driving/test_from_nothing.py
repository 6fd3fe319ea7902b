"""A project from nothing, by a scripted model: an empty repository, a page, and the tests that it brings."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from feature import driver, write
from scripted import ScriptedEngine, begin

from forklock.agent.contract import WITH_CHANGE, Outcome
from forklock.agent.driving import new_project
from forklock.agent.driving.new_project import COMMAND, find_uv
from forklock.agent.log import RunLog
from forklock.agent.loop import Report
from forklock.agent.repo import apply_diff
from forklock.agent.session import execute
from forklock.models.calls.contract import Call
from forklock.models.calls.known import format_named

TEXT = format_named("text")
TASK = "A small web page that says hello."
PAGE = "<!doctype html>\n<html lang='en'>\n<title>Hello</title>\n<h1 id='greeting'>Hello</h1>\n</html>\n"
TESTS = (
    "from pathlib import Path\n\n\ndef test_it_says_hello():\n"
    "    assert 'Hello</h1>' in Path('index.html').read_text()\n"
)
DONE = Call("finish", {"summary": "A page, and a test of it."})
CALLS = (write("tests/test_page.py", TESTS), write("index.html", PAGE), DONE)

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    (tmp_path / "page").mkdir()
    subprocess.run(["git", "init", "-q"], cwd=tmp_path / "page", check=True)
    return tmp_path / "page"


def drive(repo: Path, calls: Sequence[Call]) -> tuple[Report, RunLog, ScriptedEngine]:
    engine = ScriptedEngine(driver(TEXT, calls))
    prepared = begin(repo, engine, strategy="auto", rollouts=1, test=COMMAND, statement=TASK)
    return execute(prepared, engine), prepared.log, engine


def test_a_page_from_nothing(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_project, "find_uv", lambda: None)
    report, _, engine = drive(empty, CALLS)
    assert report.outcome is Outcome.IN_DOUBT, report.detail
    assert "1 test that it brings" in report.detail
    assert "The project is new" in engine.requests[0].messages[1].content
    apply_diff(empty, report.diff)
    assert sorted(path.name for path in empty.iterdir()) == [
        ".git",
        ".gitignore",
        "index.html",
        "pyproject.toml",
        "tests",
    ]
    subprocess.run([sys.executable, "-m", "pytest", "-q"], cwd=empty, check=True)


def test_code_without_a_test_is_not_solved(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_project, "find_uv", lambda: None)
    report, _, engine = drive(empty, (write("index.html", PAGE), DONE))
    assert report.outcome not in WITH_CHANGE
    assert "Not finished yet" in engine.requests[2].messages[-1].content


@pytest.mark.network
@pytest.mark.skipif(find_uv() is None, reason="uv IS NOT INSTALLED: its run in the sandbox was not tested")
def test_a_page_from_nothing_with_uv(empty: Path) -> None:
    report, _, _ = drive(empty, CALLS)
    assert report.outcome is Outcome.IN_DOUBT, report.detail
    apply_diff(empty, report.diff)
    assert 'name = "pytest"' in (empty / "uv.lock").read_text()
