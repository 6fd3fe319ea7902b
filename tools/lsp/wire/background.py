"""One event loop in a daemon thread. In: coroutines. Out: their results, in bounded time."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

T = TypeVar("T")
END_S = 10.0
"""Seconds for the last work of a loop, and again for tasks to end once they were cancelled."""


class Background:
    """Processes are started by this thread, so they get their death signal when it ends."""

    def __init__(self, name: str, at_end: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """`at_end` is the last work of the loop: it ends what other work started, whether that was finished or not."""
        self.loop = asyncio.new_event_loop()
        self._at_end = at_end
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            self.loop.run_until_complete(self._end())
        finally:
            self.loop.close()

    async def _end(self) -> None:
        """Leave no task and no process behind. A loop that is closed with tasks in it abandons their processes, and
        asyncio warns of each task."""
        await asyncio.sleep(0)  # starts what was handed over just before
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._at_end(), END_S)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            if not task.cancelling():  # a second request would interrupt its clean-up
                task.cancel()
        if left:
            await asyncio.wait(left, timeout=END_S)

    def run(
        self, work: Coroutine[Any, Any, T], timeout_s: float, meanwhile: Callable[[], object] | None = None
    ) -> T:
        """Run a coroutine on the loop and return its result. `meanwhile` is called in this thread, before it waits.

        Raises:
            TimeoutError: the work did not keep its own bounds, and was cancelled; or the loop has stopped.
        """
        try:
            future = asyncio.run_coroutine_threadsafe(work, self.loop)
        except RuntimeError:  # the loop is closed
            work.close()
            raise TimeoutError("the event loop has stopped") from None
        try:
            if meanwhile is not None:
                meanwhile()
            return future.result(timeout_s)
        except FutureTimeout:
            raise TimeoutError(f"no result within {timeout_s:g} s") from None
        finally:
            future.cancel()

    def stop(self) -> None:
        """End all tasks, close the loop and join the thread. Safe twice."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(2 * END_S + 1.0)
