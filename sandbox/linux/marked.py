"""Ends processes that left their session, by a mark that they inherited in their environment.

Whoever starts a process puts `MARK=<random words>` into its environment and calls `end_marked` when the process has
ended. Not covered: a process that takes the mark off its environment.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from pathlib import Path

_TRIES = 50


class Mark:
    """A variable of the environment that no other process on this machine has."""

    def __init__(self, name: str) -> None:
        self.environment = {name: secrets.token_hex(16)}
        self._line = f"{name}={self.environment[name]}".encode()

    def end(self, *, tries: int = _TRIES) -> None:
        """Kill the processes that carry the mark, until none is left: one may start another meanwhile."""
        for _ in range(tries):
            found = self._carriers()
            for pid in found:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if not found:
                return
            time.sleep(0.01)

    def _carriers(self) -> list[int]:
        names = [name for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
        return [int(name) for name in names if self._is_on(name)]

    def _is_on(self, pid: str) -> bool:
        try:
            return self._line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False
