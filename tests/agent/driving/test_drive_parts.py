"""The chat of a rollout, the rules by which it ends, and the choice of lanes: what is pure."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from forklock.agent.driving.contract import ToolAnswer
from forklock.agent.driving.history import History, common
from forklock.agent.driving.stops import StopRules, Watch
from forklock.agent.driving.turn_log import TurnLog
from forklock.agent.judging.lanes import Situation, asks_for_new, lanes_for
from forklock.agent.log import RunLog, RunStarted
from forklock.agent.log.recorded import Recorded
from forklock.models.calls.contract import Call
from forklock.models.contract import Completion, Decoding, FinishReason, Message, ModelIdentity, Request
from forklock.tools.contract import TestFailure, TestReport, TestStatus

OK = ToolAnswer("fine", "ok")
WROTE = ToolAnswer("written", "ok", ("a.py",))


def count(text: str) -> int:
    return len(text) // 4 + 1


def chat(window: int = 2000) -> History:
    history = History(count, window)
    history.begin("You work through tools.", "# Task\n\nAdd a discount.")
    return history


def turn(history: History, number: int, size: int = 200) -> None:
    history.add_answer(f"call {number}")
    history.add_reply(
        Message(role="user", content=f"answer {number}\n" + "x" * size), f"answer {number} (left out)"
    )


def test_each_request_begins_with_the_one_before() -> None:
    history = chat()
    before = history.messages()
    for number in range(12):
        turn(history, number)
        now = history.messages()
        assert now[: len(before)] == before
        before = now


def test_a_full_window_shrinks_in_one_rare_step_and_keeps_what_matters() -> None:
    history = chat()
    shrinks = []
    for number in range(200):
        if history.is_full:
            assert history.shrink(
                "# Your change so far\n\n+discount\n\n# What failed last\n\nassert 360 == 400"
            )
            shrinks.append(number)
            messages = history.messages()
            assert messages[0].content == "You work through tools."
            assert messages[1].content.startswith(
                "# Task\n\nAdd a discount.\n\n# Your change so far\n\n+discount"
            )
            assert "assert 360 == 400" in messages[1].content
            assert messages[-1].content.startswith(f"answer {number - 1}\nxxx"), (
                "the last turns stay as they are"
            )
            assert history.tokens <= 0.75 * 2000
        turn(history, number)
    assert 3 < len(shrinks) < 30
    assert all(later - earlier > 4 for earlier, later in itertools.pairwise(shrinks))


@given(some.lists(some.integers(0, 3000), max_size=60), some.integers(300, 5000))
def test_a_chat_never_outgrows_its_window_unless_it_says_so(sizes: list[int], window: int) -> None:
    history = chat(window)
    for number, size in enumerate(sizes):
        if history.is_full and not history.shrink("diff " * 50):
            return
        assert history.tokens <= window
        roles = [message.role for message in history.messages()]
        assert roles[:2] == ["system", "user"] and all(
            one != other for one, other in itertools.pairwise(roles)
        )
        turn(history, number, size)


def watched(*rows: tuple[Call, ToolAnswer]) -> Watch:
    watch = Watch()
    for call, answer in rows:
        watch.called(call, answer)
    return watch


def test_reads_are_counted_anew_after_a_change() -> None:
    reads = [(Call("read", {"path": f"{n}.py"}), OK) for n in range(20)]
    edit = (Call("edit", {"path": "a.py"}), WROTE)
    rules = StopRules()
    assert not watched(*reads[: rules.reads_before - 1]).why
    assert "reads without a change" in watched(*reads[: rules.reads_before]).why
    assert not watched(*reads[:6], edit, *reads[: rules.reads_between - 1]).why
    assert "reads without a change" in watched(*reads[:6], edit, *reads[: rules.reads_between]).why


def test_the_model_is_told_before_the_end() -> None:
    watch = Watch()
    words = [watch.called(Call("read", {"path": f"{n}.py"}), OK) for n in range(12)]
    assert [bool(word) for word in words].index(True) == 5 and watch.why
    assert "changes nothing" in Watch().called(Call("edit", {}), ToolAnswer("same", "ok", no_op=True))


def failing(message: str) -> TestReport:
    return TestReport(TestStatus.FAILED, frozenset(), (TestFailure("t", message),))


@pytest.mark.parametrize(
    ("statement", "report", "new"),
    [
        ("total() forgets a price", failing("AssertionError: 5 == 6"), False),
        ("Add a discount", failing("AssertionError: 5 == 6"), False),
        ("x", failing("ImportError: cannot import name 'reduced' from 'till.prices'"), True),
        ("x", failing("ModuleNotFoundError: No module named 'till.reports'"), True),
        ("x", failing("AttributeError: 'NoneType' object has no attribute 'total'"), False),
        ("Add a small web page", TestReport(TestStatus.PASSED, frozenset({"t"})), True),
        ("The sum is wrong", TestReport(TestStatus.PASSED, frozenset({"t"})), False),
    ],
)
def test_what_asks_for_something_new(statement: str, report: TestReport, new: bool) -> None:
    assert asks_for_new(statement, report) is new


@pytest.mark.parametrize(
    ("places", "drives", "report", "lanes"),
    [
        (True, False, failing("AssertionError"), ("repair",)),
        (True, True, failing("AssertionError"), ("repair", "drive")),
        (False, False, failing("AssertionError"), ("drive",)),
        (True, False, failing("No module named 'x'"), ("drive", "repair")),
    ],
)
def test_auto_takes_what_the_task_and_the_model_suggest(
    places: bool, drives: bool, report: TestReport, lanes: tuple[str, ...]
) -> None:
    now = Situation("the sum is wrong", report, places, drives)
    assert lanes_for("auto", now) == lanes
    assert lanes_for("repair", now) == ("repair",) and lanes_for("drive", now) == ("drive",)


def test_a_log_of_a_thousand_turns_is_linear(tmp_path: Path) -> None:
    sizes = [_log_of(tmp_path / str(turns), turns) for turns in (250, 1000)]
    assert 3.5 < sizes[1] / sizes[0] < 4.7


def _log_of(folder: Path, turns: int) -> int:
    log, model = RunLog(folder), ModelIdentity(name="m", engine="e")
    log.open_for_append()
    log.append(
        RunStarted(
            run_id="r", task="t", repo="/", base_commit=None, test_command="x", regression_command=None, options={},
            model="{}",
        )
    )  # fmt: skip
    notes, history, decoding = TurnLog(1, log, Recorded(), model), chat(16_000), Decoding()
    for number in range(1, turns + 1):
        if history.is_full:
            history.shrink("diff")
        request = Request(messages=history.messages())
        digest = notes.digest(request, decoding)
        notes.asked(number, request.messages, digest, history.tokens)
        notes.sent(request.messages, history.tokens)
        answer = Completion(
            text=f"call {number}", finish_reason=FinishReason.STOP, prompt_tokens=1, completion_tokens=1, seconds=0.0,
            model=model,
        )  # fmt: skip
        notes.answered(number, digest, answer)
        history.add_answer(answer.text)
        history.add_reply(Message(role="user", content=f"answer {number} " + "y" * 1500), f"answer {number}")
    log.close()
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_common_beginnings() -> None:
    one = tuple(Message(role="user", content=str(n)) for n in range(3))
    assert common(one, one) == 3 and common(one, one[:1]) == 1 and common((), one) == 0
