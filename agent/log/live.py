"""Live progress of a run: each event as a line, and below them tokens and speed."""

from __future__ import annotations

import time

from rich.live import Live
from rich.progress import BarColumn, Progress, TimeElapsedColumn

from agent.log.events import RunLog
from agent.log.schema import Event, ModelAnswered, StepStarted
from agent.log.view import describe
from sandbox.terminal import words_column
from sandbox.terminal.screen import Screen


class LiveView:
    """Prints events as they come; on a terminal, a live line shows tokens and speed below them."""

    def __init__(self, console: Screen, log: RunLog) -> None:
        self._console = console
        self._log = log
        self._progress = Progress(
            words_column("{task.description}"), BarColumn(bar_width=24), words_column("{task.fields[facts]}"),
            TimeElapsedColumn(), console=console, transient=True,
        )  # fmt: skip
        self._task = self._progress.add_task("preparing", total=None, facts="")
        self._live = Live(self._progress, console=console, transient=True, refresh_per_second=4)
        self._tokens = 0
        self._done = 0
        self._samples = 0
        self._step_began = time.monotonic()
        self._interactive = console.is_terminal

    def __enter__(self) -> LiveView:
        if self._interactive:
            self._live.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._interactive:
            self._live.stop()

    def on_event(self, event: Event) -> None:
        if isinstance(event, StepStarted):
            self._tokens = self._done = 0
            self._samples = event.samples
            self._step_began = time.monotonic()
            self._progress.update(
                self._task, description=f"step {event.step}", total=event.samples, completed=0
            )
        if isinstance(event, ModelAnswered):
            self._done += 1
        line = describe(event, self._log, whole=not self._interactive)
        if line is not None:
            self._console.print(line, overflow="ellipsis", no_wrap=True)
        self._refresh()

    def on_tokens(self, count: int) -> None:
        self._tokens += count
        self._refresh()

    def _refresh(self) -> None:
        seconds = max(time.monotonic() - self._step_began, 1e-3)
        facts = f"{self._done}/{self._samples} answers, {self._tokens} tokens, {self._tokens / seconds:.0f}/s"
        if self._samples:
            self._progress.update(self._task, completed=self._done, facts=facts)
