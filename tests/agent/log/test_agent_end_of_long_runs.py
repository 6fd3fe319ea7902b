"""At the end of a long run: the bell, a desktop notification, and the share of prompts that were cached."""

from __future__ import annotations

import contextlib
import os
import pty
from pathlib import Path

import pytest
from ran import solved

from forklock.agent.log import RunLog, view
from forklock.agent.log.schema import EventLine, ModelAnswered, RunEnded
from forklock.agent.log.shown.cached import CachedShare
from forklock.sandbox.terminal import screen


def ended(outcome: str) -> RunEnded:
    return RunEnded(
        outcome=outcome, detail="", diff="", steps=1, prompt_tokens=1, completion_tokens=1, cost_usd=None, seconds=1
    )  # fmt: skip


def drawn(log: RunLog, *, bell: bool, terminal: bool = True, outcome: str = "solved") -> bytes:
    """What a live view writes over a run's end."""
    master, slave = pty.openpty()
    reading, writing = (master, slave) if terminal else os.pipe()
    with os.fdopen(writing, "w") as file, contextlib.redirect_stdout(file):
        with view.LiveView(screen(), log, bell=bell) as live:
            live.on_event(ended(outcome))
        file.flush()
        os.set_blocking(reading, False)
        told = b""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(reading, 1 << 16):
                told += piece
    return told


def test_a_long_run_rings_and_notifies_on_a_terminal_alone(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "_LONG_S", 0.0)
    monkeypatch.setenv("TERM", "xterm-256color")
    log = solved(repo)
    evil = "solved\x07\x1b]52;c;aGk=\x07\u202e"
    told = drawn(log, bell=True, outcome=evil)
    [notice] = [part.split(b"\x07")[0] for part in told.split(b"\x1b]9;")[1:]]
    assert notice.startswith(b"Forklock: solved ") and b"\x1b" not in notice and notice.isascii()
    assert b"\x1b]52" not in told
    assert b"\x1b]9;" not in drawn(log, bell=False) and b"\x1b]9;" not in drawn(
        log, bell=True, terminal=False
    )
    monkeypatch.setenv("TERM", "linux")
    assert b"\x1b]9;" not in drawn(log, bell=True)


def test_the_cached_share_is_over_the_answers_that_tell_of_it() -> None:
    line = (
        '{"type": "model_answered", "step": 1, "request": 0, "sample": 0, "digest": "", "text": "", "finish_reason": '
        '"stop", "prompt_tokens": 100, "completion_tokens": 1, "seconds": 1}'
    )
    old = EventLine.validate_json(line)  # a log of before
    assert isinstance(old, ModelAnswered) and old.cached_tokens is None
    share = CachedShare()
    share.take(old)
    assert share.words == ""
    for cached in (50, 100):
        share.take(old.model_copy(update={"cached_tokens": cached}))
    assert share.words == "75 % of prompts cached"
