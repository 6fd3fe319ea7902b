"""Progress of long work: a bar on a terminal, plain lines elsewhere, on stderr. The only module that draws bars.

In: what is done, of how much. Out: what the user sees: amount, speed, a note, time passed and time left.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TaskID,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as RichProgress

from forklock.sandbox.terminal.console import Screen
from forklock.sandbox.terminal.output import screen, words_column

EVERY_S = 10.0
"""Seconds between two plain lines while something happens."""
ALIVE_S = 60.0
"""Seconds between two plain lines while nothing does."""
BYTES = "bytes"
"""The unit that is shown as megabytes."""

Advance = Callable[[int], None]
"""Takes what was done since the last call."""


class Meter:
    """One running task. A context manager; may be advanced from any thread."""

    def __init__(
        self,
        console: Screen,
        label: str,
        total: int | None,
        *,
        done: int = 0,
        unit: str = "",
        lines: bool = True,
        every_s: float = EVERY_S,
        alive_s: float = ALIVE_S,
    ) -> None:
        """
        Args:
            label: what is done; "" where the unit says it.
            total: None where it is not known yet.
            done: how much of it was there before.
            unit: `BYTES`, or what is counted.
            lines: print plain lines where there is no terminal.
        """
        self.console, self.label, self.total, self.done, self.unit = console, label, total, done, unit
        self.note = ""
        self._first, self._tokens = done, 0
        self._began = self._said = time.monotonic()
        self._every_s, self._alive_s = every_s, alive_s
        self._over = threading.Event()
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._lines = lines and not console.quiet
        if console.is_terminal and not console.quiet:
            self._lines = False
            self._bar = RichProgress(*_columns(unit), console=console, transient=True)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._task = self._bar.add_task(self.label, total=self.total, completed=self.done, facts="")
            self._bar.start()
        elif self._lines:
            if self.label:
                there = f", {self._amount(self.done)} already there" if self.done else ""
                self.console.print(f"{self.label}: {self._amount(self.total or 0)}{there}")
            threading.Thread(target=self._stay_alive, name="progress", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._bar is not None:
            self._bar.stop()

    def advance(self, count: int = 0, *, tokens: int = 0, note: str | None = None) -> None:
        """Count what was done since the last call.

        Args:
            tokens: tokens made meanwhile, for the speed.
            note: shown behind the speed from now on.
        """
        self.done += count
        self._tokens += tokens
        self.note = self.note if note is None else note
        self._show()

    def start_at(self, done: int, total: int | None = None, label: str | None = None) -> None:
        """Begin anew at `done`, which does not count for this run's speed."""
        self.done = self._first = done
        self.total = self.total if total is None else total
        self.label = self.label if label is None else label
        self._tokens, self._began = 0, time.monotonic()
        self._show()

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self._tokens / max(time.monotonic() - self._began, 0.1)

    @property
    def facts(self) -> str:
        """The speed, where tokens were counted, and the note."""
        speed = f"{self.rate:.0f} tok/s" if self._tokens else ""
        return ", ".join(part for part in (self.note, speed) if part)

    @property
    def seconds_left(self) -> float | None:
        """A guess from the speed so far; None where there is none."""
        made = self.done - self._first
        if made <= 0 or self.total is None:
            return None
        return (time.monotonic() - self._began) / made * (self.total - self.done)

    def _show(self) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task, description=self.label, total=self.total, completed=self.done, facts=self.facts
            )
        elif self._lines and time.monotonic() - self._said >= self._every_s:
            self._say()

    def _say(self) -> None:
        self._said = time.monotonic()
        left = "" if self.seconds_left is None else f"{self.seconds_left:.0f} s left"
        rest = ", ".join(part for part in (self.facts, left) if part)
        words = f"{self._amount(self.done, bare=True)}/{self._amount(self.total or 0)}"
        self.console.print((f"{self.label}: " if self.label else "") + words + (f"; {rest}" if rest else ""))

    def _stay_alive(self) -> None:
        while not self._over.wait(max(0.1, self._said + self._alive_s - time.monotonic())):
            if time.monotonic() - self._said >= self._alive_s:
                self._say()

    def _amount(self, value: int, *, bare: bool = False) -> str:
        number, unit = (f"{value / 1e6:,.0f}", "MB") if self.unit == BYTES else (str(value), self.unit)
        return number if bare or not unit else f"{number} {unit}"


def _columns(unit: str) -> tuple[ProgressColumn, ...]:
    count: tuple[ProgressColumn, ...] = (MofNCompleteColumn(), words_column(unit))
    if unit == BYTES:
        count = (DownloadColumn(), TransferSpeedColumn())
    return (
        words_column("{task.description}"),
        BarColumn(bar_width=24),
        *count,
        words_column("{task.fields[facts]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )


class Progress:
    """Where long work says what it does: lines that stay, and meters."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = screen(stderr=True, quiet=quiet)

    def say(self, text: str) -> None:
        """Print one line that stays."""
        self.console.print(text)

    def meter(self, label: str, total: int, *, done: int = 0, unit: str = "") -> Meter:
        """Return a meter to be entered."""
        return Meter(self.console, label, total, done=done, unit=unit)

    @contextmanager
    def task(self, label: str, total: int, *, done: int = 0, unit: str = BYTES) -> Iterator[Advance]:
        """Show a meter; the value takes what was done since its last call."""
        with self.meter(label, total, done=done, unit=unit) as meter:
            yield meter.advance


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
