"""What is told while samples are made and judged."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from forklock.evals.contract import Verdict
from forklock.evals.reports import terminal as report
from forklock.evals.reports.terminal import LiveProgress


def plain() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=False, width=200), out


def test_what_is_stored_is_said_and_each_line_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "PLAIN_EVERY_S", 0.0)
    console, out = plain()
    with LiveProgress(console) as progress:
        progress.begin(3, 2)
        progress.sampled()
        progress.tokens(7)
        progress.judged(Verdict.PASSED)
    said = out.getvalue().splitlines()
    assert said[0] == "2 samples of this configuration are stored already"
    assert said[-1].startswith("1/3 judged; 1 made, ") and "1/1 passed" in said[-1]


def test_without_a_terminal_long_silence_is_broken_and_ends_with_the_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(report, "ALIVE_EVERY_S", 0.2)
    console, out = plain()
    with LiveProgress(console) as progress:
        time.sleep(0.5)
        assert out.getvalue() == "", "nothing has begun"
        progress.begin(3, 0)
        until = time.monotonic() + 20
        while out.getvalue().count("0/3 judged; 0 made") < 2 and time.monotonic() < until:
            time.sleep(0.05)
    told = out.getvalue()
    assert told.count("0/3 judged; 0 made") >= 2
    time.sleep(0.6)
    assert out.getvalue() == told
