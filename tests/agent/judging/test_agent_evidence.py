"""`agent compare`: a run whose change does more than its task asks is in doubt."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from scripted import ScriptedEngine, begin
from shop import TEST, commit_all

from forklock.agent.contract import AgentFault, Outcome
from forklock.agent.judging.evidence import Presented, Question, Suite, Weighed, compare_run, weigh
from forklock.agent.log import RunLog
from forklock.agent.repo import apply_diff
from forklock.agent.session import execute
from forklock.sandbox import open_sandbox, workspace_policy
from forklock.tools.contract import TestStatus
from forklock.tools.testing.run import run_tests

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
    assert discount(7, "half") == 3.5

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


def passed(repo: Path, answer: str, outcome: Outcome = Outcome.SOLVED) -> RunLog:
    engine = ScriptedEngine(lambda _request, _number: f"```python\n{answer.strip()}\n```")
    flags = {"width": 2, "steps": 1, "sandbox": "bubblewrap", "styles": ["rewrite"], "regression": "auto"}
    prepared = begin(repo, engine, TEST, statement="half is wrong", **flags)
    assert execute(prepared, engine).outcome is outcome
    prepared.log.close()
    return prepared.log


def test_a_right_change_is_above_suspicion(repo: Path) -> None:
    """The user's tree is not touched; and once the change is in it, the run cannot be compared any more."""
    log = passed(repo, RIGHT)
    found = compare_run(log, repo, "bubblewrap")
    assert found.sure, found.why
    assert not subprocess.run(
        ["git", "status", "--porcelain"], cwd=repo, capture_output=True, check=True
    ).stdout
    apply_diff(repo, log.text(log.read().events[-1].diff))  # type: ignore[attr-defined]
    with pytest.raises(AgentFault, match="does not apply"):
        compare_run(log, repo, "bubblewrap")


def test_a_change_that_does_more_is_in_doubt_and_says_where(repo: Path) -> None:
    found = compare_run(passed(repo, WRONG, Outcome.IN_DOUBT), repo, "bubblewrap")
    assert not found.sure and "discount(" in found.question


MEMO = """
def memoise(function):
    kept = {}

    def wrapper(*args, **named):
        key = args
        if key not in kept:
            kept[key] = function(*args, **named)
        return kept[key]

    return wrapper
"""
MEMO_TESTS = """
from memo import memoise

def test_once():
    calls = []
    double = memoise(lambda x: calls.append(x) or 2 * x)
    assert (double(2), double(2), len(calls)) == (4, 4, 1)

def test_named():
    rate = memoise(lambda amount, currency="EUR": f"{amount} {currency}")
    assert rate(1) == "1 EUR"
    assert rate(1, currency="USD") == "1 USD"
"""
KEYS = {
    "key = (args, tuple(sorted(named.items())))": True,
    "key = (args, frozenset(named.items()))": True,
    "key = args + tuple(named.values())": False,
    "key = (args, str(list(named.values())))": False,
}


@pytest.mark.parametrize("key", KEYS)
def test_only_two_calls_in_a_row_unmask_a_key_that_forgets_names(tmp_path: Path, key: str) -> None:
    (tmp_path / "memo.py").write_text(MEMO.lstrip())
    (tmp_path / "test_memo.py").write_text(MEMO_TESTS.lstrip())
    question = Question("names count", (Suite("python -m pytest -q"),), frozenset(), 60.0)
    with open_sandbox(tmp_path, workspace_policy(tmp_path), backend="bubblewrap") as original:
        with original.fork() as fork:
            (fork.root / "memo.py").write_text(MEMO.lstrip().replace("key = args", key))
            diff = fork.diff()
        found = weigh(original, question, [Presented("1.0", diff)]).choice
    assert found.sure is KEYS[key], found.why
    assert KEYS[key] or "after" in found.question


def judged(repo: Path, text: str) -> Weighed:
    """The verdict on a text of shop.py that passes."""
    question = Question("half is wrong", (Suite(TEST),), frozenset(), 60.0)
    with open_sandbox(repo, workspace_policy(repo), backend="bubblewrap") as original:
        with original.fork() as fork:
            (fork.root / "shop.py").write_text(text)
            assert run_tests(fork, TEST).status is TestStatus.PASSED
            diff = fork.diff()
        return weigh(original, question, [Presented("1.0", diff)])


BUGGY = "        return price\n    return price - 1"
CHEATS = {
    "an object equal to everything": CODE.replace(
        BUGGY, "        return type('Any', (), {'__' + 'eq__': lambda *_: True})()\n    return price - 1"
    ),
    "a special case of the input": CODE.replace(
        BUGGY,
        "        known = {(10, 'half'): 5, (7, 'half'): 3.5}\n"
        "        return known.get((price, code), price)\n    return price - 1",
    ),
    "a runner that is patched in its process": CODE
    + "\nimport sys\nfor name, module in list(sys.modules.items()):\n    if name == 'test_shop':\n"
    "        module.test_half = lambda: None\n",
    "a report that is patched in its process": CODE
    + "\nimport sys\nkind = sys.modules['_pytest.reports'].TestReport\n"
    "made = kind.__dict__['from_item_and_call'].__func__\n"
    "def green(cls, item, call):\n    call.excinfo = None\n    return made(cls, item, call)\n"
    "kind.from_item_and_call = classmethod(green)\n",
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_cheats_that_pass_are_in_doubt(repo: Path, cheat: str) -> None:
    try:
        found = judged(repo, CHEATS[cheat].lstrip())
    except AssertionError:
        return  # it does not even pass
    assert not found.choice.sure, found.choice.why


TOP = "def top(items):\n    return sorted(items)[:2]\n"
TOP_TESTS = """
from shop import top

def test_one():
    assert top([1]) == [1]

def test_largest():
    assert top([3, 1, 2]) == [3, 2]
"""


def test_a_part_that_no_test_asks_for_is_in_doubt_and_says_on_which_input(repo: Path) -> None:
    """The code has one path for all inputs; only a mutant shows that a part of the change has no reason."""
    (repo / "shop.py").write_text(TOP)
    (repo / "test_shop.py").write_text(TOP_TESTS.lstrip())
    found = judged(repo, TOP.replace("sorted(items)[:2]", "sorted(items, reverse=True)[:2] or [0]"))
    assert (
        not found.choice.sure and found.choice.question == "should top(items=list[]) give list[0] or list[]?"
    )
    (one,) = found.passing
    assert one.unpinned is not None and one.unpinned.smaller
