"""`agent compare`: a run whose change does more than its task asks is in doubt."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from scripted import ScriptedEngine, begin
from shop import TEST, commit_all

from forklock.agent.contract import AgentFault, Outcome
from forklock.agent.judging.evidence import compare_run
from forklock.agent.log import RunLog
from forklock.agent.repo import apply_diff
from forklock.agent.session import execute

CODE = """
def discount(price, code):
    if code == "none":
        return price
    if code.startswith("half"):
        return price
    return price - 1
"""
TESTS = """
from shop import discount

def test_none():
    assert discount(10, "none") == 10

def test_half():
    assert discount(10, "half") == 5

def test_other():
    assert discount(10, "x") < 10
"""
RIGHT = CODE.replace('"half"):\n        return price', '"half"):\n        return price / 2')
WRONG = RIGHT.replace("price - 1", "price - 2")


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "shop.py").write_text(CODE.lstrip())
    (folder / "test_shop.py").write_text(TESTS.lstrip())
    commit_all(folder)
    return folder


def solved(repo: Path, answer: str) -> RunLog:
    engine = ScriptedEngine(lambda _request, _number: f"```python\n{answer.strip()}\n```")
    flags = {"width": 2, "steps": 1, "sandbox": "bubblewrap", "styles": ["rewrite"], "regression": "auto"}
    prepared = begin(repo, engine, TEST, statement="half is wrong", **flags)
    assert execute(prepared, engine).outcome is Outcome.SOLVED
    prepared.log.close()
    return prepared.log


def test_a_right_change_is_above_suspicion(repo: Path) -> None:
    """The user's tree is not touched; and once the change is in it, the run cannot be compared any more."""
    log = solved(repo, RIGHT)
    found = compare_run(log, repo, "bubblewrap")
    assert found.sure, found.why
    assert not subprocess.run(
        ["git", "status", "--porcelain"], cwd=repo, capture_output=True, check=True
    ).stdout
    apply_diff(repo, log.text(log.read().events[-1].diff))  # type: ignore[attr-defined]
    with pytest.raises(AgentFault, match="does not apply"):
        compare_run(log, repo, "bubblewrap")


def test_a_change_that_does_more_is_in_doubt_and_says_where(repo: Path) -> None:
    found = compare_run(solved(repo, WRONG), repo, "bubblewrap")
    assert not found.sure and "discount(" in found.question
