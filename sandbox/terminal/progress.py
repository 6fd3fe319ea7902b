"""Shows the progress of long work on stderr: a bar or a spinner on a terminal, plain lines elsewhere.

`open_progress` is for work whose amount is known, `spinner` for work that has steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as RichProgress

from sandbox.terminal.console import Screen
from sandbox.terminal.output import screen, words_column

Advance = Callable[[int], None]
"""Takes what was done since the last call."""


class Progress(Protocol):
    def say(self, text: str) -> None:
        """One line that stays."""

    def task(
        self, label: str, total: int, *, done: int = 0, unit: str = "bytes"
    ) -> AbstractContextManager[Advance]:
        """A bar from `done` to `total`, in `unit` ("bytes", or what is counted)."""


class Bars:
    """For a terminal: amount, speed and time left."""

    def __init__(self, console: Screen) -> None:
        self.console = console

    def say(self, text: str) -> None:
        self.console.print(text)

    @contextmanager
    def task(self, label: str, total: int, *, done: int = 0, unit: str = "bytes") -> Iterator[Advance]:
        count: tuple[ProgressColumn, ...] = (MofNCompleteColumn(), words_column(unit))
        if unit == "bytes":
            count = (DownloadColumn(), TransferSpeedColumn())
        columns = (words_column("{task.description}"), BarColumn(), *count, TimeRemainingColumn())
        with RichProgress(*columns, console=self.console, transient=True) as bars:
            bar = bars.add_task(label, total=total, completed=done)
            yield lambda amount: bars.advance(bar, amount)


class Lines:
    """For logs and pipes: one line at the start, then every `every_s` seconds, and one at the end."""

    def __init__(self, console: Screen, every_s: float = 10.0) -> None:
        self.console = console
        self.every_s = every_s

    def say(self, text: str) -> None:
        self.console.print(text)

    @contextmanager
    def task(self, label: str, total: int, *, done: int = 0, unit: str = "bytes") -> Iterator[Advance]:
        start = last = time.monotonic()
        now_done = done

        def amount(value: int) -> str:
            return f"{value / 1e6:,.0f} MB" if unit == "bytes" else f"{value} {unit}"

        def advance(step: int) -> None:
            nonlocal now_done, last
            now_done += step
            if time.monotonic() - last >= self.every_s:
                last = time.monotonic()
                rate = (now_done - done) / (last - start)
                left = f", {(total - now_done) / rate:.0f} s left" if rate > 0 else ""
                self.say(f"{label}: {amount(now_done)} of {amount(total)}{left}")

        self.say(f"{label}: {amount(total)}" + (f", {amount(done)} already here" if done else ""))
        yield advance
        self.say(f"{label}: done in {time.monotonic() - start:.1f} s")


def open_progress() -> Progress:
    """The progress that suits stderr."""
    console = screen(stderr=True)
    return Bars(console) if console.is_terminal else Lines(console)


@contextmanager
def spinner(title: str, *, lines: bool = True) -> Iterator[Callable[[str], None]]:
    """Show `title` while the block runs. The block calls the function that it gets with each step.

    Args:
        lines: without a terminal, print each step as a line; else print `title` alone.
    """
    console = screen(stderr=True)
    if console.is_terminal:
        with console.status(title) as status:
            yield lambda step: status.update(step[: max(console.width - 4, 20)])
        return
    if not lines:
        console.print(title)
    yield (lambda step: console.print(step)) if lines else (lambda _step: None)
