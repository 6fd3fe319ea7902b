"""Serves the three pipes of one process: feeds stdin, keeps a bounded part of the output, waits for the end.

In: our ends of the pipes, a deadline and a way to kill. Out: a `Finished` with the raw wait status. Not covered: what
the status means inside a sandbox; that is the backend's knowledge.

One thread serves one process: the three pipes and the process's end are multiplexed, so that a full pipe never blocks
another, and memory is bounded by `keep` however much the process prints.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from forklock.sandbox.contract import SandboxFault, Talk

_CHUNK = 1 << 16
KILL_GRACE_S = 10.0
"""Seconds that a killed tree may take to vanish before it counts as an infrastructure fault."""


class BoundedCapture:
    """Keeps the first and the last `keep // 2` bytes of a stream; the middle is counted and dropped."""

    def __init__(self, keep: int) -> None:
        self._half = max(keep // 2, 1)
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def feed(self, data: bytes) -> None:
        room = self._half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        if len(self._tail) > 2 * self._half + _CHUNK:
            self._trim()

    def _trim(self) -> None:
        excess = len(self._tail) - self._half
        if excess > 0:
            del self._tail[:excess]
            self._dropped += excess

    @property
    def truncated(self) -> bool:
        return self._dropped > 0 or len(self._tail) > self._half

    def value(self) -> bytes:
        """Return what was kept; a line says how much of the middle was dropped."""
        self._trim()
        if not self._dropped:
            return bytes(self._head + self._tail)
        return bytes(self._head) + f"\n[... {self._dropped} bytes dropped ...]\n".encode() + bytes(self._tail)


@dataclass(frozen=True, slots=True)
class Finished:
    """What is known about a process that has ended."""

    status: int
    """Raw wait status, for `os.WIFEXITED` and friends."""
    timed_out: bool
    stdout: bytes
    stderr: bytes
    truncated: bool
    wall_s: float
    cpu_s: float | None
    """User plus system seconds of the process and the children that it waited for; None if it is unknown."""
    max_rss_mb: float | None
    """Largest resident set of one process, MiB. None if our own was larger: until the child executes a program, the
    kernel counts the parent's memory as the child's."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What the kernel tells about a process that has ended; the fields are those of `Finished`."""

    status: int
    cpu_s: float | None
    max_rss_mb: float | None


class Streams:
    """The pipes for a process's stdin, stdout and stderr."""

    def __init__(self) -> None:
        self.made = time.monotonic()
        """When they were made (monotonic clock)."""
        stdin, ours_in = os.pipe()
        ours_out, stdout = os.pipe()
        ours_err, stderr = os.pipe()
        self.ours, self.theirs = [ours_in, ours_out, ours_err], [stdin, stdout, stderr]

    def close_theirs(self) -> None:
        while self.theirs:
            os.close(self.theirs.pop())

    def close(self) -> None:
        self.close_theirs()
        while self.ours:
            os.close(self.ours.pop())


class Pump:
    """Multiplexes the three pipes of a process with a descriptor that becomes readable when the process ends."""

    def __init__(self, pipes: Sequence[int], end: int, stdin: bytes | Talk, keep: int) -> None:
        """`pipes`: our ends of stdin, stdout and stderr. The pump closes all descriptors."""
        self._all, self._talk = (
            stdin if isinstance(stdin, bytes) else b"",
            None if isinstance(stdin, bytes) else stdin,
        )
        self.out, self.err = BoundedCapture(keep), BoundedCapture(keep)
        self._stdin, stdout, stderr = pipes
        self._open = {*pipes, end}
        self._pending, self._last_word, self._writing = memoryview(b""), False, False
        self._selector = selectors.DefaultSelector()
        self._selector.register(end, selectors.EVENT_READ, None)
        for fd, capture in ((stdout, self.out), (stderr, self.err)):
            os.set_blocking(fd, False)
            self._selector.register(fd, selectors.EVENT_READ, capture)
        os.set_blocking(self._stdin, False)

    def serve(self, deadline: float, kill: Callable[[], None], tick: Callable[[], None] | None) -> bool:
        """Serve the process to its end. Return True if the deadline (monotonic clock) came first and `kill` was called.

        Raises:
            SandboxFault: the process survived `kill()` for ten seconds.
        """
        timed_out = False
        if self._talk is not None:
            self._say(self._talk.answer(b""))
        else:
            self._say(self._all)
            self._say(None)
        while not self.step(min(max(deadline - time.monotonic(), 0), 0.05 if tick else 1.0)):
            if tick:
                tick()
            patience = self._talk.deadline if self._talk is not None and not timed_out else deadline
            if time.monotonic() < min(deadline, patience):
                continue
            if timed_out:
                raise SandboxFault(
                    "a killed process does not end (blocked in the kernel?)",
                    fix="look for processes in state D (`ps ax`) and a hanging network file system",
                )
            timed_out = True
            deadline = time.monotonic() + KILL_GRACE_S
            kill()
        return timed_out

    def step(self, timeout_s: float) -> bool:
        """Read and write what is ready. Return True if the process has ended and its pipes are empty."""
        ended = False
        for key, _ in self._selector.select(timeout_s):
            if isinstance(key.data, BoundedCapture):
                self._read(key.fd, key.data)
            elif key.data is None:
                ended = True
            else:
                key.data()
        if ended:
            self._drain()
        return ended

    def _read(self, fd: int, capture: BoundedCapture) -> bool:
        """Read once. Return False at the end of the stream, or if nothing is there."""
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._close(fd)
            return False
        capture.feed(data)
        if self._talk is not None and capture is self.out and not self._last_word:
            self._say(self._talk.answer(data))
        return True

    def _say(self, data: bytes | None) -> None:
        """Queue `data` for the program's stdin. None closes it after what is queued."""
        if data is None:
            self._last_word = True
        elif data:
            self._pending = memoryview(bytes(self._pending) + data if self._pending else data)
        if self._stdin in self._open:
            self._write()

    def _write(self) -> None:
        try:
            while self._pending:
                self._pending = self._pending[os.write(self._stdin, self._pending[:_CHUNK]) :]
        except BlockingIOError:
            if not self._writing:
                self._selector.register(self._stdin, selectors.EVENT_WRITE, self._write)
                self._writing = True
            return
        except BrokenPipeError:  # the program does not read its input: its own affair
            self._pending = self._pending[:0]
        if self._last_word:
            self._close(self._stdin)
        elif self._writing:
            self._selector.unregister(self._stdin)
            self._writing = False

    def _drain(self) -> None:
        """Read what the dead process left in the pipes; at most so much, since a survivor may go on writing."""
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, BoundedCapture):
                for _ in range(32):  # twice the largest default pipe
                    if not self._read(key.fd, key.data):
                        break

    def _close(self, fd: int) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(fd)
        os.close(fd)
        self._open.discard(fd)

    def finished(self, ended: Ended, *, timed_out: bool, since: float) -> Finished:
        """Return how the process ended, with what was kept of its output."""
        return Finished(
            status=ended.status,
            timed_out=timed_out,
            stdout=self.out.value(),
            stderr=self.err.value(),
            truncated=self.out.truncated or self.err.truncated,
            wall_s=time.monotonic() - since,
            cpu_s=ended.cpu_s,
            max_rss_mb=ended.max_rss_mb,
        )

    def close(self) -> None:
        self._selector.close()
        for fd in self._open:
            os.close(fd)
        self._open.clear()
