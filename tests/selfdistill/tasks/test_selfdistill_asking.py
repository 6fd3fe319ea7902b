"""Prompts of tasks are what the agent asks, and show nothing of the test split."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted import ScriptedEngine, begin
from shop import QUICK, write_repo

from forklock.agent.contract import AgentFault
from forklock.agent.log.runs import iter_runs
from forklock.agent.repo import inspect_repo
from forklock.agent.session import Assignment, execute, first_requests
from forklock.agent.settings import AgentSettings
from forklock.models.contract import Request
from forklock.selfdistill.tasks.asking import bodies, shows
from forklock.selfdistill.tasks.contract import Ground

WORDS = "total() forgets a price"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))


def assignment(repo: Path, test: str = QUICK) -> Assignment:
    settings = AgentSettings.load(repo, regression="none", diagnostics=False, width=6, steps=1)
    return Assignment(WORDS, inspect_repo(repo), test, settings)


def test_first_requests_are_what_a_run_asks(tmp_path: Path) -> None:
    repo = write_repo(tmp_path / "one" / "shop-repo")
    engine = ScriptedEngine(lambda _request, _number: "no code")
    prepared = begin(repo, engine, statement=WORDS, width=6, steps=1)
    execute(prepared, engine)
    prepared.log.close()
    sent = {
        request.model_copy(update={"seed": None, "max_tokens": None, "greedy": False})
        for request in engine.requests
    }
    assert len(sent) > 1

    again = write_repo(tmp_path / "two" / "shop-repo")
    listened = ScriptedEngine(lambda _request, _number: "never asked")
    asked = first_requests(assignment(again), listened, preset="weak")
    assert {one.model_dump_json() for one in asked} == {one.model_dump_json() for one in sent}
    assert listened.answered == 0, "no sample was made"
    assert not list(iter_runs(again)), "the run is forgotten"
    assert not list((tmp_path / "home" / "cache" / "runs").glob("*")), "and so is its copy"


def test_a_check_that_passes_asks_nothing(tmp_path: Path) -> None:
    repo = write_repo(tmp_path / "shop-repo")
    engine = ScriptedEngine(lambda _request, _number: "")
    with pytest.raises(AgentFault, match="passes already"):
        first_requests(
            assignment(repo, "python -m unittest test_shop.Shop.test_empty"), engine, preset="weak"
        )
    assert not list(iter_runs(repo))


def test_code_of_the_test_split_is_found_in_a_prompt(tmp_path: Path) -> None:
    text = (
        'def held(a):\n    """Doc."""\n    b = a + 1\n    c = b * 2\n    return c - b\n\n\n'
        "def shown(a):\n    b = a\n    c = b\n    return c\n\n\ndef short(a):\n    return a\n"
    )
    (tmp_path / "x.py").write_text(text)
    split = {"x.py:held": "test", "x.py:shown": "practice", "x.py:short": "test"}
    ground = Ground(digest="d", commit="c", command="t", tests=("t",), excluded={}, frozen=(), traced=True,
                    reach=dict.fromkeys(split, (0,)), split=split, seconds=1.0)  # fmt: skip
    found = list(bodies(tmp_path, ground, "test"))
    assert found == ["b = a + 1 c = b * 2 return c - b"], "a body of one line tells nothing"
    assert shows(Request.chat("Look:\n    b = a + 1\n\n    c = b * 2\n    return c - b\n"), found)
    assert shows(Request(text="b = a + 1 c = b * 2 return c - b"), found)
    assert not shows(Request.chat("b = a\nc = b\nreturn c"), found)
