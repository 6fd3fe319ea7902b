"""Runs requests that block on sockets at once, and brings their events to the caller's thread (room `models/`).

In: jobs. Out: their results in order. The caller's deadline holds whatever a job does; the first error cancels the
rest.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from forklock.models.contract import Completion, OnCompletion, OnTokens
from forklock.models.web import deadline

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tokens:
    """Event of a job: `count` more tokens were made."""

    count: int


@dataclass(frozen=True, slots=True)
class Sample:
    """Event of a job: sample `sample` of request `request` ended."""

    request: int
    sample: int
    completion: Completion


Emit = Callable[[Tokens | Sample], None]
"""How a job reports; raises `Cancelled` once the caller has given up."""


class Cancelled(Exception):
    """The caller of `fan_out` is gone; a job lets go of its socket."""


@dataclass(frozen=True, slots=True)
class _Done(Generic[T]):
    job: int
    result: T


@dataclass(frozen=True, slots=True)
class _Failed:
    error: BaseException


def fan_out(
    jobs: Sequence[Callable[[Emit], T]],
    *,
    at_once: int,
    on_tokens: OnTokens | None = None,
    on_completion: OnCompletion | None = None,
) -> list[T]:
    """Run blocking jobs in at most `at_once` threads; results in the order of the jobs.

    Callbacks run in the caller's thread, and the caller's deadline holds.
    The first error (a job's, a callback's, Ctrl-C) cancels the rest:
    queued jobs never start, running ones stop at their next `emit`, and are not waited for.
    """
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stopped = threading.Event()
    _start_threads(jobs, at_once, events, stopped)
    results: dict[int, T] = {}
    try:
        while len(results) < len(jobs):
            try:
                event = events.get(timeout=deadline.remaining())
            except (queue.Empty, ValueError):
                # A job that hangs where no socket's deadline reaches, such as in a resolver of names.
                raise deadline.out_of_time() from None
            if isinstance(event, _Done):
                results[event.job] = event.result
            elif isinstance(event, _Failed):
                raise event.error
            else:
                _call_back(event, on_tokens, on_completion)
    finally:
        stopped.set()
    return [results[index] for index in range(len(jobs))]


def _start_threads(
    jobs: Sequence[Callable[[Emit], T]],
    at_once: int,
    events: queue.SimpleQueue[Any],
    stopped: threading.Event,
) -> None:
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for index in range(len(jobs)):
        waiting.put(index)

    def emit(event: Tokens | Sample) -> None:
        if stopped.is_set():
            raise Cancelled
        events.put(event)

    def work() -> None:
        while not stopped.is_set():
            try:
                index = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                events.put(_Done(index, jobs[index](emit)))
            except BaseException as error:
                # Carried to the caller's thread and raised there.
                events.put(_Failed(error))

    for _ in range(min(at_once, len(jobs))):
        # Daemons: a job that hangs in a socket must not keep the process from ending.
        threading.Thread(target=work, daemon=True, name="forklock-models").start()


def _call_back(
    event: Tokens | Sample, on_tokens: OnTokens | None, on_completion: OnCompletion | None
) -> None:
    if isinstance(event, Tokens):
        if on_tokens is not None:
            on_tokens(event.count)
    elif on_completion is not None:
        on_completion(event.request, event.sample, event.completion)
