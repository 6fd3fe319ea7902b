"""What the user sees while a round works: bars on a terminal, plain lines elsewhere; on stderr.

In: facts from the stages. Out: text. Results (verdict, tables) are the CLI's and go to stdout.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from models.console import screen, words_column

if TYPE_CHECKING:
    from models.console import Screen

LINE_EVERY_S = 15.0
"""Seconds between plain lines where there is no terminal."""


class Meter:
    """One running task: done of total, tokens, and a note (the loss)."""

    def __init__(self, label: str, total: int, done: int) -> None:
        self.label, self.total, self.done = label, total, done
        self.first = done
        self.tokens = 0
        self.note = ""
        self.began = self.last = time.monotonic()

    def advance(self, items: int = 0, *, tokens: int = 0, note: str | None = None) -> None:
        self.done += items
        self.tokens += tokens
        self.note = self.note if note is None else note
        self.refresh()

    def start_at(self, done: int) -> None:
        """Count what was there before, without taking it for this run's speed."""
        self.done = self.first = done
        self.refresh()

    def refresh(self) -> None:
        """Show the new state; overridden by what shows it."""

    @property
    def detail(self) -> str:
        """Tokens a second, and the note."""
        elapsed = time.monotonic() - self.began
        rate = f"{self.tokens / elapsed:.0f} tok/s" if self.tokens and elapsed > 0 else ""
        return "  ".join(part for part in (rate, self.note) if part)

    @property
    def seconds_left(self) -> float | None:
        made = self.done - self.first
        if not made:
            return None
        return (time.monotonic() - self.began) / made * (self.total - self.done)


class _Lines(Meter):
    def __init__(self, label: str, total: int, done: int, console: Screen) -> None:
        super().__init__(label, total, done)
        self.console = console

    def refresh(self) -> None:
        if time.monotonic() - self.last >= LINE_EVERY_S:
            self.last = time.monotonic()
            left = self.seconds_left
            eta = f"  {left:.0f} s left" if left is not None else ""
            self.console.print(f"{self.label}: {self.done}/{self.total}  {self.detail}{eta}")


class _Bar(Meter):
    def __init__(self, label: str, total: int, done: int, progress: Progress) -> None:
        super().__init__(label, total, done)
        self.progress = progress
        self.task = progress.add_task(label, total=total, completed=done, detail="")

    def refresh(self) -> None:
        self.progress.update(self.task, completed=self.done, detail=self.detail)


class Show:
    """Where a round's messages go."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = screen(stderr=True, quiet=quiet)

    def say(self, text: str) -> None:
        self.console.print(text)

    @contextmanager
    def meter(self, label: str, total: int, done: int = 0) -> Iterator[Meter]:
        if not self.console.is_terminal or self.console.quiet:
            if done:
                self.say(f"{label}: {done} of {total} already there")
            yield _Lines(label, total, done, self.console)
            return
        columns = (
            words_column("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            words_column("{task.fields[detail]}"),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            yield _Bar(label, total, done, progress)
