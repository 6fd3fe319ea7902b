"""The talk with a driver, without one: what it sends, what it believes, and what is left when it ends."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forklock.evals.contract import Problem, TestCase, Verdict
from forklock.evals.judging.driver_session import DriverSession, Work, frame, whole_frames
from forklock.evals.judging.limits import JudgeLimits


def works(count: int, tests: int = 2) -> deque[Work]:
    cases = tuple(TestCase(kind="stdin", input=str(n), output=str(n)) for n in range(tests))
    problem = Problem(question_id="q", title="", prompt="", tests=cases)
    return deque(Work(index, (problem, f"# {index}")) for index in range(count))


def talk(waiting: deque[Work], **how: Any) -> DriverSession:
    return DriverSession(lambda: waiting.popleft() if waiting else None, JudgeLimits(), most=9, **how)


def sent(data: bytes | None) -> list[Any]:
    assert data is not None
    raw = bytearray(data)
    values = list(whole_frames(raw))
    assert not raw
    return values


def reply(nonce: str, *outputs: str, **more: Any) -> bytes:
    results = [["ok", output] for output in outputs]
    return frame({"nonce": nonce, "results": results, "seconds": [0.1] * len(outputs)} | more)


def test_one_program_after_the_other_until_none_is_left() -> None:
    done: list[Work] = []
    session = talk(works(2), finish=done.append)
    job, tests = sent(session.answer(b""))
    assert job["id"] == 0 and tests["inputs"] == ["0", "1"] and "output" not in str(tests)
    assert sent(session.answer(frame("ready"))) == []
    job, after = sent(session.answer(reply(tests["nonce"], "0", "1")))
    assert job["id"] == 1
    assert session.answer(reply(after["nonce"], "0", "2")) is None
    assert [work.judgement.verdict for work in done if work.judgement] == [
        Verdict.PASSED,
        Verdict.WRONG_ANSWER,
    ]
    assert not session.left()


def test_a_second_program_waits_while_many_are_queued() -> None:
    waiting = works(3)
    session = talk(waiting, prefetch=lambda: len(waiting) > 0)
    assert [value["id"] for value in sent(session.answer(b""))[::2]] == [0, 1]
    assert [work.index for work in session.left()] == [0, 1]


def test_a_wrong_output_among_those_so_far_is_enough() -> None:
    session = talk(works(1, tests=4))
    _, tests = sent(session.answer(b""))
    session.answer(frame("ready"))
    nonce = tests["nonce"]
    assert sent(session.answer(frame({"nonce": nonce, "so_far": [["ok", "0"], ["ok", "1"]]}))) == []
    assert sent(session.answer(frame({"nonce": nonce, "so_far": [["ok", "7"]]}))) == [{"enough": nonce}]
    assert session.answer(reply(nonce, "0", "1", "7")) is None


@pytest.mark.parametrize(
    "forged",
    [
        reply("guessed", "0", "1"),
        frame(["ok"]),
        frame({"nonce": "NONCE", "results": "0"}),
        frame({"nonce": "NONCE", "results": [["ok", "0"]] * 3, "seconds": []}),
        frame({"nonce": "NONCE", "results": [["ok", "0"]], "seconds": None}),
        frame({"nonce": "NONCE", "results": [["ok", "0"]], "seconds": ["x"]}),
        frame({"nonce": "NONCE", "results": [["ok", "0", "1"]], "seconds": []}),
        frame({"nonce": "NONCE", "so_far": [["ok", "0"]] * 3}),
        (3).to_bytes(8, "big") + b"{]}",
        (100_000).to_bytes(8, "big") + b"[" * 100_000,
    ],
)
def test_what_no_driver_says_ends_the_talk(forged: bytes) -> None:
    session = talk(works(2))
    _, tests = sent(session.answer(b""))
    session.answer(frame("ready"))
    nonce = tests["nonce"].encode()
    if b"NONCE" in forged:  # the lengths in these frames are of the text with the nonce in it
        body = forged[8:].replace(b"NONCE", nonce)
        forged = len(body).to_bytes(8, "big") + body
    assert session.answer(forged) is None
    assert session.broken and session.deadline < time.monotonic()
    assert [work.index for work in session.left()] == [0]


def test_a_driver_that_says_too_much_is_cut() -> None:
    session = talk(works(1))
    session.answer(b"")
    session.answer(frame("ready"))
    said: bytes | None = (1 << 60).to_bytes(8, "big")
    while said is not None and not session.cut:
        said = session.answer(b"x" * (1 << 22))
    assert session.cut and said is None and session.deadline < time.monotonic()


@given(st.lists(st.integers() | st.text()), st.lists(st.integers(1, 40)))
def test_frames_come_out_however_they_are_cut(values: list[Any], cuts: list[int]) -> None:
    data, raw, got = b"".join(map(frame, values)), bytearray(), []
    for size in [*cuts, len(data)]:
        raw += data[:size]
        data = data[size:]
        got += list(whole_frames(raw))
    assert got == values and not raw
