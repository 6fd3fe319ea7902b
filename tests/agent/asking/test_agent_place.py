"""Where a check runs and when: in the folder where the user stands, and before a model is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from scripted import ScriptedEngine
from shop import QUICK, RIGHT, SOURCE, TEST, TESTS, commit_all
from warm import warm_run

from forklock.agent.contract import AgentFault, Outcome
from forklock.agent.log import BaselineTaken, PlacesRanked, RunStarted
from forklock.agent.repo import apply_diff, inspect_repo
from forklock.agent.session import Assignment, execute, prepare, rehearse, suggested_command
from forklock.agent.settings import AgentSettings
from forklock.models.paths import cache_dir

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def monorepo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two packages with files of the same names; the bug is in one of them."""
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    top = tmp_path / "mono"
    for name, source in (("one", SOURCE.lstrip()), ("two", SOURCE.lstrip().replace("[1:]", ""))):
        (top / name / "tests").mkdir(parents=True)
        (top / name / "shop.py").write_text(source)
        (top / name / "tests" / "test_shop.py").write_text(TESTS.lstrip())
        (top / name / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    commit_all(top)
    return top


def test_a_check_runs_where_the_user_stands(monorepo: Path) -> None:
    engine = ScriptedEngine(lambda _r, _i: f"```python\n{RIGHT}```")
    settings = AgentSettings.load(monorepo, width=2, regression="auto", diagnostics=False)
    state, test = inspect_repo(monorepo / "one"), "python -m pytest -q tests/test_shop.py"
    assignment = Assignment("total() forgets a price", state, test, settings, cwd="one")
    prepared = prepare(assignment, engine.identity, preset="weak", rehearsal=rehearse(assignment))
    report = execute(prepared, engine)
    assert report.outcome is Outcome.SOLVED, report
    apply_diff(monorepo, report.diff)
    assert "sum(prices)" in (monorepo / "one" / "shop.py").read_text()
    events = prepared.log.read().events
    begun, ranked = events[0], next(event for event in events if isinstance(event, PlacesRanked))
    assert isinstance(begun, RunStarted) and (begun.cwd, begun.regression_cwd) == ("one", "one")
    assert ranked.places[0]["path"] == "one/shop.py"
    assert sum(isinstance(e, BaselineTaken) and e.role == "task" for e in events) == 1  # run once, not again


@pytest.mark.parametrize(("place", "found"), [("one", "one"), ("one/docs", "one"), (".", ".")])
def test_the_suggested_command_is_the_next_one_upwards(monorepo: Path, place: str, found: str) -> None:
    (monorepo / "conftest.py").write_text("")
    (monorepo / "one" / "docs").mkdir()
    assert suggested_command(monorepo, place) == ("python -m pytest -q", found)


def solve(repo: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("agent")), "solve", "total() forgets a price", *words]
    env = os.environ | {"COLUMNS": "240"}
    return warm_run(command, cwd=repo, env=env, timeout=200)


@pytest.mark.hostile("setup")
@pytest.mark.parametrize(
    ("test", "words"),
    [
        (TEST.replace("test_shop", "test_shp"), "can never pass"),
        (f"{TEST}::Shop::test_totl", "can never pass"),
        (f"{TEST} -k nothing", "no test is selected"),
        (f"{TEST} --no-such-option", "can never pass"),
        (f"{TEST}::Shop::test_empty", "passes already"),
        ("no-such-program", "cannot be started"),
    ],
)
def test_a_check_that_cannot_serve_is_refused_and_leaves_nothing(repo: Path, test: str, words: str) -> None:
    settings = AgentSettings.load(repo, regression="none", diagnostics=False)
    with pytest.raises(AgentFault, match=words) as refused:
        rehearse(Assignment("total() forgets a price", inspect_repo(repo), test, settings))
    assert refused.value.exit_code == 2
    assert not list(cache_dir().glob("runs/*"))


def test_a_check_is_refused_before_a_model_is_loaded(repo: Path, tiny_model_dir: Path) -> None:
    test = f"{QUICK}.Shop.test_empty"
    done = solve(repo, "--test", test, "--model", str(tiny_model_dir), "--no-diagnostics")
    assert done.returncode == 2, done.stderr
    assert "passes already" in done.stderr and "Traceback" not in done.stderr
    assert "check     running" in done.stdout and "model" not in done.stdout
    assert not list(cache_dir().glob("runs/*"))


def test_what_can_be_said_of_a_model_without_loading_it_comes_first(repo: Path) -> None:
    done = solve(repo, "--test", QUICK, "--model", "no-such-model")
    assert done.returncode == 2 and "no-such-model" in done.stderr and "check" not in done.stdout


def test_the_check_is_told_to_a_pipe_before_the_model(repo: Path, tiny_model_dir: Path) -> None:
    done = solve(
        repo, "--test", QUICK, "--model", str(tiny_model_dir), "--no-diagnostics", "--steps", "1", "--width", "1",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    told = [line.split()[0] for line in done.stdout.splitlines() if line.split()]
    assert told[:4] == ["check", "check", "model", "model"], done.stdout
