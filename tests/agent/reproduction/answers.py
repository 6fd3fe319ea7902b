"""A repository whose suite passes though it has a bug, and tests that a model might write about it: good and bad."""

from __future__ import annotations

from pathlib import Path

from scripted import Script, ScriptedEngine
from shop import commit_all

from forklock.agent.log import RunLog, TestTried
from forklock.agent.loop import Report
from forklock.agent.repo import inspect_repo
from forklock.agent.session import Assignment, Prepared, execute, prepare
from forklock.agent.session.assignment import WriteTest
from forklock.agent.settings import AgentSettings

SOURCE = '''
def total(prices):
    """Sum of the prices."""
    result = 0
    for price in prices[1:]:
        result += price
    return result


def mean(prices):
    """Mean of the prices."""
    return total(prices) / len(prices)
'''
SUITE = """
from shop import total


def test_nothing_costs_nothing():
    assert total([]) == 0
"""
STATEMENT = "`total` forgets the first price: total([1, 2, 3]) should be 6."
RIGHT = "def total(prices):\n    return sum(prices)\n"
HEAD = "from shop import total, mean\n\n\n"
SIX = HEAD + "def test_all():\n    assert total([1, 2, 3]) == 6\n"
ONE = HEAD + "def test_one():\n    prices = [4]\n    assert total(prices) == 4\n"


def write_shop(folder: Path) -> Path:
    """A git repository with a bug in `total` that its suite does not see."""
    (folder / "tests").mkdir(parents=True)
    (folder / "shop.py").write_text(SOURCE.lstrip())
    (folder / "tests" / "test_shop.py").write_text(SUITE.lstrip())
    (folder / "conftest.py").write_text("")
    (folder / ".gitignore").write_text("__pycache__/\n.pytest_cache/\n")
    commit_all(folder)
    return folder


def fenced(code: str) -> str:
    return f"```python\n{code}```"


def is_for_tests(request: object) -> bool:
    return "who writes tests" in str(request)


def wish(
    repo: Path,
    statement: str = STATEMENT,
    write_test: WriteTest = "always",
    *,
    verified: bool = True,
    keep_test: bool = True,
    **flags: object,
) -> Assignment:
    settings = AgentSettings.load(repo, **{"diagnostics": False, "regression": "none", "width": 4, **flags})
    return Assignment(
        statement,
        inspect_repo(repo),
        "python -m pytest -q",
        settings,
        False,
        verified,
        ".",
        write_test,
        keep_test,
    )


def begin(repo: Path, engine: ScriptedEngine, **wishes: object) -> Prepared:
    return prepare(wish(repo, **wishes), engine.identity, preset="weak")  # type: ignore[arg-type]


def solve(repo: Path, script: Script, **wishes: object) -> tuple[Report, RunLog, ScriptedEngine]:
    """A run that was given no check."""
    engine = ScriptedEngine(script)
    prepared = begin(repo, engine, **wishes)
    return execute(prepared, engine), prepared.log, engine


def tried(log: RunLog) -> list[TestTried]:
    return [event for event in log.read().events if isinstance(event, TestTried)]
