"""Whole runs in which a scripted model drives: real sandbox, real tools, real tests."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from feature import BASKET, CALLS, CHECK, NEW_TEST, PRICES, TASK, driver, write, write_till
from ran import git
from scripted import Script, ScriptedEngine, begin
from shop import RIGHT, WRONG

from forklock.agent.contract import Outcome
from forklock.agent.log import (
    CandidateRuled,
    RolloutEnded,
    RolloutStarted,
    RunLog,
    StepStarted,
    ToolAnswered,
    TurnAnswered,
    TurnAsked,
)
from forklock.agent.log.runs import find
from forklock.agent.loop import Report
from forklock.agent.repo import apply_diff, inspect_repo
from forklock.agent.session import execute, reopen
from forklock.models.calls.contract import Call
from forklock.models.calls.known import format_named
from forklock.models.contract import Request

TEXT = format_named("text")
REPAIR_SHOP = write(
    "shop.py", (RIGHT + "\n\ndef mean(prices):\n    return total(prices) / len(prices) if prices else 0\n")
)
DONE = Call("finish", {"summary": "done"})

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def till(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    return write_till(tmp_path / "till")


def drive(repo: Path, script: Script, **flags: object) -> tuple[Report, RunLog, ScriptedEngine]:
    engine = ScriptedEngine(script)
    prepared = begin(repo, engine, **{"strategy": "drive", "rollouts": 1, **flags})  # type: ignore[arg-type]
    return execute(prepared, engine), prepared.log, engine


def of_kind(log: RunLog, *kinds: type) -> list:  # type: ignore[type-arg]
    return [event for event in log.read().events if isinstance(event, kinds)]


def ends(log: RunLog) -> list[str]:
    return [event.why for event in of_kind(log, RolloutEnded)]


def test_a_feature_over_three_files_with_a_new_test(till: Path) -> None:
    report, log, _ = drive(till, driver(TEXT), test=CHECK, statement=TASK, rollouts=2)
    assert report.outcome is Outcome.SOLVED, report.detail
    ruled = of_kind(log, CandidateRuled)
    assert Counter(event.hop for event in ruled) == {"solved": 1, "duplicate": 1}
    apply_diff(till, report.diff)
    assert (till / "till/basket.py").read_text() == BASKET
    assert (till / "test_reduced.py").read_text() == NEW_TEST
    subprocess.run([sys.executable, "-m", "unittest", "test_discount", "test_reduced"], cwd=till, check=True)


def test_without_a_failing_check_the_suite_has_to_go_on_passing(till: Path) -> None:
    """A change that breaks it is sent back; one that does not is taken, and called unverified."""
    breaks = write("till/prices.py", PRICES.replace('"tea": 250', '"tea": 1'))
    calls = (breaks, DONE, CALLS[1], CALLS[4], DONE)
    report, log, _ = drive(
        till,
        driver(TEXT, calls),
        test="python -m unittest test_basket",
        verified=False,
        statement="Add reduced()",
    )
    assert report.outcome is Outcome.UNVERIFIED, report.detail
    assert (
        "+def reduced(" in report.diff and "+class Reduced(" in report.diff and '"tea": 1' not in report.diff
    )
    assert [e.hop for e in of_kind(log, CandidateRuled)][-1] == "unverified"


def test_a_symbol_renamed_across_files(till: Path) -> None:
    """The tests ask for the new name; the language server knows every use."""
    (till / "test_discount.py").write_text(
        "from unittest import TestCase\nfrom till import prices\n\n\nclass T(TestCase):\n"
        "    def test_renamed(self):\n        self.assertEqual(getattr(prices, 'cents_of')('tea'), 250)\n"
    )
    git(till, "commit", "-qam", "the name that is wanted")
    rename = Call("edit", {"path": "till/prices.py", "symbol": "price_of", "rename_to": "cents_of"})
    report, log, _ = drive(
        till, driver(TEXT, [rename, DONE]), test=CHECK, statement="Rename price_of to cents_of everywhere",
        diagnostics=True, regression="python -m unittest test_basket",
    )  # fmt: skip
    assert report.outcome in (Outcome.SOLVED, Outcome.IN_DOUBT), [
        log.text(e.text) for e in of_kind(log, ToolAnswered)
    ]
    assert "+from till.prices import cents_of" in report.diff and "+def cents_of(name):" in report.diff
    assert [e.hop for e in of_kind(log, CandidateRuled)] == ["solved"]


def test_a_new_test_that_fails_is_sent_back_to_the_model(till: Path) -> None:
    wrong = write("test_reduced.py", NEW_TEST.replace("100)", "999)"))
    calls = (*CALLS[1:4], wrong, DONE, CALLS[4], DONE)
    report, log, engine = drive(
        till, driver(TEXT, calls), test=CHECK, statement=TASK,
        regression="python -m unittest test_basket test_reduced test_discount",
    )  # fmt: skip
    assert [event.hop for event in of_kind(log, CandidateRuled)] == ["regression", "solved"], report.detail
    assert "not right yet" in engine.requests[5].messages[-1].content
    assert "200, 50), 100" in report.diff


def test_turns_are_logged_once_and_say_what_the_model_wrote(till: Path) -> None:
    _, log, engine = drive(till, driver(TEXT), test=CHECK, statement=TASK)
    asked = of_kind(log, TurnAsked)
    assert [event.kept for event in asked] == [0, 2, 4, 6, 8, 10]
    chat: list[tuple[str, str, bool]] = []
    for event, request in zip(asked, engine.requests, strict=True):
        chat[event.kept :] = [(m.role, log.text(m.content), m.sampled) for m in event.messages]
        assert [(role, text) for role, text, _ in chat] == [(m.role, m.content) for m in request.messages]
    answers = [log.text(event.text) for event in of_kind(log, TurnAnswered)]
    assert [text for _, text, sampled in chat if sampled] == answers[:-1]
    assert sum(event.new_tokens for event in asked) < 2 * asked[-1].prompt_tokens


@pytest.mark.parametrize(
    ("calls", "why"),
    [
        ([Call("read", {"path": "shop.py"})], "the same call of read 3 times in a row"),
        ([None], "3 answers in a row held no call"),
        ([write("shop.py", "def total(:\n"), Call("run", {"command": "true"})] * 9, "turns"),
        ([Call("read", {"path": "shop.py", "start": n, "end": n + 1}) for n in range(1, 14)], "12 reads without"),
        ([DONE], "it finished without a change"),
    ],
)  # fmt: skip
def test_a_rollout_that_goes_in_circles_ends(repo: Path, calls: Sequence[Call | None], why: str) -> None:
    def script(request: Request, _number: int) -> str:
        said = sum(message.role == "assistant" for message in request.messages)
        call = calls[min(said, len(calls) - 1)]
        return TEXT.write(call) if call else f"I think about it for the time {said}."

    report, log, engine = drive(repo, script, turns=14)
    assert report.outcome is Outcome.STUCK and all(why in end for end in ends(log)), ends(log)
    prompts = [request.messages for request in engine.requests]
    assert all(one != other for one, other in itertools.pairwise(prompts)), "the same request again"


def test_the_rest_of_the_budget_goes_to_further_rollouts(repo: Path) -> None:
    """The first two rollouts go in circles; the budget that they leave pays for one that solves it."""

    def script(request: Request, number: int) -> str:
        said = sum(message.role == "assistant" for message in request.messages)
        if number < 6:
            return TEXT.write(Call("read", {"path": "shop.py"}))
        return TEXT.write((REPAIR_SHOP, DONE)[min(said, 1)])

    report, log, _ = drive(repo, script, rollouts=2, max_tokens_total=20_000)
    assert report.outcome in (Outcome.SOLVED, Outcome.IN_DOUBT)
    assert len(of_kind(log, RolloutStarted)) == report.rollouts >= 3
    assert [end for end in ends(log) if "same call" in end] and "it passes" in ends(log)
    told = [log.text(event.told) for event in of_kind(log, RolloutStarted)]
    assert told[:3] == ["", "", ""] and "same call" in told[3]


def test_limits_hold_over_all_rollouts(repo: Path) -> None:
    script = driver(TEXT, [Call("read", {"path": "shop.py", "start": n, "end": n + 1}) for n in range(1, 12)])
    report, _, _ = drive(repo, script, rollouts=3, max_tokens_total=4000)
    assert report.outcome is Outcome.TOKENS
    assert 4000 <= report.prompt_tokens + report.completion_tokens < 6000


def test_auto_drives_where_repairs_are_stuck(repo: Path) -> None:
    """One budget, one log: repairs come to nothing, and the model that can drive takes over."""

    def script(request: Request, _number: int) -> str:
        if "through tools" not in request.messages[0].content:
            return "```python\n" + WRONG.format(n=7) + "```"
        said = sum(message.role == "assistant" for message in request.messages)
        return format_named("hermes").write((REPAIR_SHOP, DONE)[min(said, 1)])

    engine = ScriptedEngine(script, name="qwen3-coder")
    engine.supports_prefill = False
    prepared = begin(repo, engine, strategy="auto", rollouts=1, width=2, steps=4, styles=["rewrite"])
    if not prepared.options.drive.drives_well:
        pytest.skip("no profile")
    report = execute(prepared, engine)
    log = prepared.log
    assert report.outcome in (Outcome.SOLVED, Outcome.IN_DOUBT) and report.steps and report.rollouts
    order = [type(e) for e in log.read().events if isinstance(e, StepStarted | RolloutStarted)]
    assert order[0] is StepStarted and order[-1] is RolloutStarted


def test_auto_repairs_where_driving_is_stuck(till: Path) -> None:
    """A check that imports what does not exist: driving first."""
    (till / "test_discount.py").write_text(
        "from unittest import TestCase\nfrom till.prices import reduced\n\n\n"
        "class T(TestCase):\n    def test_reduced(self):\n        self.assertEqual(reduced(200, 50), 100)\n"
    )
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qam", "x"], cwd=till, check=True
    )
    report, log, _ = drive(
        till,
        lambda _r, _i: "no idea",
        test=CHECK,
        statement="reduced() is missing",
        strategy="auto",
        steps=1,
        width=2,
    )
    kinds = [type(e) for e in log.read().events if isinstance(e, StepStarted | RolloutStarted)]
    assert kinds[0] is RolloutStarted
    assert report.outcome in (Outcome.STEPS, Outcome.STUCK)


KILLED = """
    import sys, time
    sys.path[:0] = {paths!r}
    from pathlib import Path
    from feature import CHECK, TASK, driver
    from scripted import ScriptedEngine, begin
    from test_drive_lane import TEXT, RESUMED
    from forklock.agent.session import execute

    script = driver(TEXT, RESUMED)

    def slow(request, number):
        print(number, flush=True)
        time.sleep(0.2)
        return script(request, number)

    engine = ScriptedEngine(slow)
    prepared = begin(Path({repo!r}), engine, CHECK, statement=TASK, strategy="drive", rollouts=2)
    execute(prepared, engine)
"""
RESUMED = (
    Call("run", {"command": "echo once >> till/notes.txt; date +%N"}),
    *CALLS[1:4],
    DONE,
)


@pytest.mark.parametrize("answers", [1, 5, 8])
def test_kill_and_resume_pays_for_no_answer_twice(till: Path, answers: int) -> None:
    here = Path(__file__).parent
    paths = [str(here), str(here.parent)]
    code = textwrap.dedent(KILLED).format(paths=paths, repo=str(till))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == str(answers):
                break
        time.sleep(0.1)
        os.kill(process.pid, signal.SIGKILL)
    log = find(till, "last")
    kept = of_kind(log, TurnAnswered)
    engine = ScriptedEngine(driver(TEXT, RESUMED))
    report = execute(reopen(log, inspect_repo(till)), engine)
    assert report.outcome is Outcome.SOLVED, report.detail
    turns = [(e.rollout, e.turn) for e in of_kind(log, TurnAnswered)]
    assert len(turns) == len(set(turns)) == len(kept) + engine.answered
    calls = [(e.rollout, e.turn, e.call) for e in of_kind(log, ToolAnswered)]
    assert len(calls) == len(set(calls))
    assert report.diff.count("+once\n") == 1, "what a tool did is done once, and not twice"
    assert PRICES.splitlines()[-1] in report.diff


def test_kinds_of_calls_that_are_answered_by_the_tools(till: Path) -> None:
    """Tests that are there already stay as they are, whatever the model drives."""
    cheat = write("test_discount.py", "")
    _, log, _ = drive(till, driver(TEXT, [cheat, DONE, DONE]), test=CHECK, statement=TASK, turns=4)
    answer = of_kind(log, ToolAnswered)[0]
    assert answer.kind == "refused" and "read-only" in log.text(answer.text)
