"""Runs that were given no check: tests are written, tried and chosen, and then judge the repair.

Real sandbox, real pytest."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from answers import ONE, RIGHT, SIX, begin, fenced, is_for_tests, solve, tried, wish, write_shop
from scripted import Script, ScriptedEngine
from shop import commit_all

from forklock.agent.contract import AgentFault, Outcome
from forklock.agent.log import TestsChosen, TestTried
from forklock.agent.log.runs import find
from forklock.agent.log.view import story, summary
from forklock.agent.repo import apply_diff, inspect_repo
from forklock.agent.session import execute, rehearse, reopen
from forklock.models.contract import ModelFault, Request

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    return write_shop(tmp_path / "shop")


def answering(*tests: str) -> Script:
    def script(request: Request, number: int) -> str:
        return fenced(tests[number % len(tests)] if is_for_tests(request) else RIGHT)

    return script


def test_several_tests_that_agree_solve(shop: Path) -> None:
    report, log, engine = solve(shop, answering(SIX, ONE, SIX, ONE))
    assert report.outcome is Outcome.OWN_TEST, report.detail
    assert "2 tests" in report.detail and "2 samples" in report.detail
    apply_diff(shop, report.diff)
    assert "sum(prices)" in (shop / "shop.py").read_text()
    written = (shop / "tests" / "test_total_reproduction.py").read_text()
    assert "total([1, 2, 3]) == 6" in written and "total(prices) == 4" in written
    facts = summary(log.read().events)["own_tests"]
    assert json.loads(json.dumps(facts))["tests"][0]["samples"] == 2 and facts["doubt"] == ""
    assert engine.requests[0].messages[-1].content.startswith("# The report")
    assert story(log, log.read().events)


@pytest.mark.slow
def test_a_single_test_leaves_the_change_in_doubt(shop: Path) -> None:
    report, _, _ = solve(shop, answering(SIX, "no code"), keep_test=False)
    assert report.outcome is Outcome.IN_DOUBT and "one test alone" in report.detail
    assert "reproduction" not in report.diff and "sum(prices)" in report.diff


BAD = {
    "passes now": "from shop import total\n\ndef test_x():\n    assert total([]) == 0\n",
    "cannot be imported": "from shop import totals\n\ndef test_x():\n    assert totals([1]) == 1\n",
    "is broken itself": "from shop import total\n\ndef test_x():\n    assert total(pricez) == 1\n",
    "is broken itself ": "from shop import total\n\ndef test_x(no_such_fixture):\n    assert total([1]) == 1\n",
    "is broken itself  ": "from shop import total\n\ndef test_x():\n    assert total([1], 2, 3) == 1\n",
    "is broken itself   ": (
        "from shop import total\n\ndef test_x():\n    open('no/such/file')\n    assert total([1]) == 1\n"
    ),
    "fails for another reason than the statement's": (
        "from shop import mean\n\ndef test_x():\n    assert mean([]) == 0\n"
    ),
    "fails for another reason than the statement's ": (
        "import pytest\nfrom shop import total\n\ndef test_x():\n    with pytest.raises(ValueError):\n"
        "        total([1])\n"
    ),
    "judges nothing of the code under test": (
        "from shop import total\n\ndef test_x():\n    total([1])\n    assert False\n"
    ),
    "replaces the code under test": (
        "import shop\n\ndef test_x(monkeypatch):\n    monkeypatch.setattr(shop, 'total', lambda x: 5)\n"
        "    assert shop.total([1]) == 1\n"
    ),
    "replaces the code under test ": (
        "from unittest import mock\nfrom shop import mean\n\ndef test_x():\n"
        "    with mock.patch('shop.total', return_value=9):\n        assert mean([1]) == 1\n"
    ),
    "changes files of the repository": (
        "from pathlib import Path\nfrom shop import total\n\ndef test_x():\n"
        "    Path('conftest.py').write_text('x = 1')\n    assert total([1]) == 1\n"
    ),
    "is skipped": (
        "import pytest\nfrom shop import total\n\n@pytest.mark.skip\ndef test_x():\n    assert total([1]) == 1\n"
    ),
    "ends differently each time": (
        "import random\nfrom shop import total\n\ndef test_x():\n    n = random.getrandbits(60)\n"
        "    assert total([1]) == n\n"
    ),
    "ends the test run": (
        "import os\nfrom shop import total\n\ndef test_x():\n    os._exit(1)\n    assert total([1]) == 1\n"
    ),
    "does not parse": "from shop import total\n\ndef test_x(:\n    assert total([1]) == 1\n",
    "does not run the code under test": "import shop\n\ndef test_x():\n    assert shop.total is None\n",
    "no test in the answer": "from shop import total\n\ndef check():\n    assert total([1]) == 1\n",
    "is broken itself    ": (
        "import urllib.request\nfrom shop import total\n\ndef test_x():\n"
        "    urllib.request.urlopen('http://192.0.2.1/', timeout=1)\n    assert total([1]) == 1\n"
    ),
}


@pytest.mark.slow
def test_bad_tests_are_rejected_each_for_its_reason(shop: Path) -> None:
    """None of them judges a repair, whatever it does; the run says how many failed for which reason, and ends."""
    before = {path: path.read_bytes() for path in shop.rglob("*.py")}
    report, log, _ = solve(shop, answering(*BAD.values()), width=len(BAD))
    verdicts = {event.sample: event.verdict for event in tried(log)}
    assert verdicts == {number: reason.strip() for number, reason in enumerate(BAD)}
    assert report.outcome is Outcome.NO_TEST and report.diff == ""
    assert "5 is broken itself" in report.detail and "1 passes now" in report.detail
    assert {path: path.read_bytes() for path in shop.rglob("*.py")} == before


@pytest.mark.slow
def test_an_exception_that_the_statement_names_counts(shop: Path) -> None:
    empty = "from shop import mean\n\ndef test_empty():\n    assert mean([]) == 0\n"
    said = "`mean` of no prices ends in a ZeroDivisionError; it should be 0."
    _, log, _ = solve(shop, answering(empty), statement=said, width=1, write_test="only")
    assert [event.verdict for event in tried(log)] == ["kept"]
    assert "division by zero" in tried(log)[0].message


@pytest.mark.slow
def test_samples_that_disagree_are_dropped_or_leave_a_doubt(shop: Path) -> None:
    seven = SIX.replace("== 6", "== 7")
    report, log, _ = solve(shop, answering(SIX, SIX, seven, ONE, ONE), width=5, write_test="only")
    chosen = next(event for event in log.read().events if isinstance(event, TestsChosen))
    assert {test["says"].partition(":")[0] for test in chosen.tests} == {
        "total([1, 2, 3]) should be 6", "total([4]) should be 4",
    }  # fmt: skip
    assert chosen.rejected == {"contradicts tests that more samples agree on": 1}
    assert report.outcome is Outcome.TEST_WRITTEN and report.diff.startswith("diff --git a/tests/test_total")


@pytest.mark.slow
def test_only_what_is_missing_is_asked_after_a_kill(shop: Path) -> None:
    """The engine fails in the middle of the tests: a resumed run asks for the rest alone, and ends the same."""
    script = answering(SIX, ONE, SIX, ONE)

    def failing(request: Request, number: int) -> str:
        if number == 2:
            raise ModelFault("the engine is gone")
        return script(request, number)

    engine = ScriptedEngine(failing)
    prepared = begin(shop, engine)
    with pytest.raises(ModelFault):
        execute(prepared, engine)
    prepared.log.close()
    second = ScriptedEngine(lambda request, number: script(request, number + 2))
    report = execute(reopen(find(shop, "last"), inspect_repo(shop)), second)
    assert report.outcome is Outcome.OWN_TEST and second.calls[0] == 2
    events = find(shop, "last").read().events
    assert len({(event.sample, event.name) for event in events if isinstance(event, TestTried)}) == 4


@pytest.mark.slow
def test_a_kill_after_the_choice_writes_the_same_test_again(shop: Path) -> None:
    def failing(request: Request, number: int) -> str:
        if not is_for_tests(request):
            raise ModelFault("the engine is gone")
        return fenced((SIX, ONE)[number % 2])

    engine = ScriptedEngine(failing)
    prepared = begin(shop, engine)
    with pytest.raises(ModelFault):
        execute(prepared, engine)
    prepared.log.close()
    second = ScriptedEngine(lambda _request, _number: fenced(RIGHT))
    report = execute(reopen(find(shop, "last"), inspect_repo(shop)), second)
    assert report.outcome is Outcome.OWN_TEST and not any(map(is_for_tests, second.requests))
    assert "test_total_reproduction.py" in report.diff


@pytest.mark.slow
def test_without_a_test_the_unverified_way_is_taken_only_if_asked(shop: Path) -> None:
    report, _, _ = solve(shop, answering("no code"), verified=False, steps=1)
    assert report.outcome is Outcome.UNVERIFIED and "sum(prices)" in report.diff


def test_what_no_test_can_be_written_for_is_refused_before_a_model_is_loaded(
    shop: Path, tmp_path: Path
) -> None:
    (tmp_path / "js").mkdir()
    (tmp_path / "js" / "shop.js").write_text("export function total(prices) { return 1 }\n")
    commit_all(tmp_path / "js")
    with pytest.raises(AgentFault, match="no definition that the statement leads to"):
        rehearse(wish(tmp_path / "js"))
    assert rehearse(wish(shop, write_test="auto")).writes_tests  # its own suite passes
    (shop / "tests" / "test_shop.py").write_text(SIX)
    suite = rehearse(dataclasses.replace(wish(shop, write_test="auto"), allow_dirty=True))
    assert not suite.writes_tests and suite.before is not None  # its own suite fails, and is the check
