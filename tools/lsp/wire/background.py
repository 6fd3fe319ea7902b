"""One event loop in a daemon thread (room `tools/`). In: coroutines. Out: their results, in bounded time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """Children are started by this thread, so they get their death signal when it ends."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run(
        self, work: Coroutine[Any, Any, T], timeout_s: float, meanwhile: Callable[[], object] | None = None
    ) -> T:
        """`meanwhile` is called here, while the work waits for others. Raises TimeoutError, after cancelling, where the
        work does not keep its own bounds."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            if meanwhile is not None:
                meanwhile()
            return future.result(timeout_s)
        except FutureTimeout:
            raise TimeoutError(f"no result within {timeout_s:g} s") from None
        finally:
            future.cancel()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5.0)
        if not self._thread.is_alive():
            self.loop.close()
