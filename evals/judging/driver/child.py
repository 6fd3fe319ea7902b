"""evals: a process of one program as the supervisor uses it: how it is started, addressed, limited and reaped.

Input: a socket to the zygote, a job. Output: frames that the process writes, and how it ended. Runs inside the sandbox.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import signal
import time
from dataclasses import dataclass
from typing import Any, Self

from forklock.evals.judging.driver.wire import EXCEPTION, KILLED, OUTPUT, TIMEOUT, write_frame


class CandidateEnded(BaseException):
    """The candidate cannot answer any more. This is no `Exception`, because a check must not catch it."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended."""

    exit: int | None
    """Exit status; None when a signal ended it."""
    signal: int | None
    cpu_s: float
    """CPU seconds of the process and of its children that it waited for."""

    @classmethod
    def of(cls, status: int, cpu_s: float) -> Self:
        """Read the status that `wait` returns."""
        if os.WIFSIGNALED(status):
            return cls(None, os.WTERMSIG(status), cpu_s)
        return cls(os.WEXITSTATUS(status), None, cpu_s)


def receive(sock: Any) -> tuple[bytes, list[int]]:
    """Receive one message and the descriptors that came with it; empty at the end."""
    size = array.array("i").itemsize
    message, extra, _, _ = sock.recvmsg(16, 64)
    fds = array.array("i")
    for _level, _kind, data in extra:
        fds.frombytes(data[: len(data) - len(data) % size])
    return message, list(fds)


def reply(ask: Any) -> bytes:
    """Receive the zygote's answer.

    Raises:
        EOFError: the zygote died, or could not clean up; this driver must end.
    """
    message: bytes = ask.recv(16)
    if not message:
        raise EOFError
    return message


class Child:
    """A host or an assert program's process: the pipes to and from it, and how it ended."""

    def __init__(self, ask: Any, mode: bytes, job: dict[str, Any], *, most_bytes: int) -> None:
        """
        Args:
            most_bytes: largest size of a frame from it.
        """
        self.ask, self.deadline = ask, time.monotonic() + job["wall_s"]
        self.cpu_s: float = job["cpu_s"]
        self.end: Ended | None = None
        self.size = most_bytes
        self._read = bytearray()
        self._ahead = memoryview(b"")
        theirs, self.to = os.pipe()
        self.back, its = os.pipe()
        fds = array.array("i", (theirs, its))
        ask.sendmsg([mode], [(1, 1, fds)])  # SOL_SOCKET, SCM_RIGHTS
        self.pid = int.from_bytes(reply(self.ask), "big")
        for fd in fds:
            os.close(fd)
        with contextlib.suppress(BrokenPipeError):
            write_frame(self.to, job)

    def ended(self, *, now: bool = False) -> bool:
        """Reap it and everything that it left; return False if it had to be killed: after the deadline, or `now`."""
        in_time = True
        if self.end is None:
            if now:
                self._kill()
            self.ask.send(self.pid.to_bytes(4, "big"))
            left = max(0.0, self.deadline - time.monotonic())
            if not select.select([self.ask], [], [], left)[0]:
                in_time = False
                self._kill()
            message = reply(self.ask)
            self.end = Ended.of(int.from_bytes(message[:4], "big"), int.from_bytes(message[4:], "big") / 1e6)
        return in_time and not now

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):  # it has not created its group yet
                os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill it and close the pipes."""
        self.ended(now=True)
        self.hang_up()
        if self.back >= 0:
            os.close(self.back)
            self.back = -1

    def hang_up(self) -> None:
        """Close the pipe to it."""
        if self.to >= 0:
            os.close(self.to)
            self.to = -1

    def answer(self, deadline: float) -> Any:
        """Return the next frame from it.

        Raises:
            CandidateEnded: the frame is late, too large, missing or malformed.
        """
        size = int.from_bytes(self._bytes(8, deadline), "big")
        if size > self.size:
            raise CandidateEnded(OUTPUT, "too large a result")
        try:
            status, value = json.loads(self._bytes(size, deadline))
            if not isinstance(status, str):
                raise TypeError
        except (ValueError, TypeError, RecursionError):
            raise CandidateEnded(EXCEPTION, "the program spoke on the judge's channel") from None
        return status, value

    def _bytes(self, count: int, deadline: float) -> bytes:
        while len(self._read) < count:
            wait = deadline - time.monotonic()
            due = [self.to] if self._ahead else []
            readable, writable, _ = select.select([self.back], due, [], max(0.0, wait))
            if writable:
                self._send_some()
            if not readable:
                if not writable:
                    raise CandidateEnded(TIMEOUT, "wall clock")
                continue
            part = os.read(self.back, 1 << 16)
            if not part:
                raise self.why()
            self._read += part
        taken = bytes(self._read[:count])
        del self._read[:count]
        return taken

    def send_ahead(self, data: bytes) -> None:
        """Set the bytes that it gets while we wait for its answers."""
        self._ahead = memoryview(data)
        os.set_blocking(self.to, False)

    def _send_some(self) -> None:
        try:
            self._ahead = self._ahead[os.write(self.to, self._ahead[: 1 << 16]) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:  # it has ended, as the other pipe shows
            self._ahead = self._ahead[:0]

    def why(self) -> CandidateEnded:
        """Return the reason why a candidate does not answer any more."""
        if not self.ended():
            return CandidateEnded(TIMEOUT, "wall clock")
        if self.end is not None and self.end.signal is not None:
            return CandidateEnded(*by_signal(self.end, self.cpu_s))
        return CandidateEnded(EXCEPTION, "the program ended before the check did")

    def put(self, value: Any) -> None:
        """Send a value.

        Raises:
            CandidateEnded: it is not read in time.
        """
        data = json.dumps(value).encode()
        view = memoryview(len(data).to_bytes(8, "big") + data)
        os.set_blocking(self.to, False)
        while view:
            try:
                view = view[os.write(self.to, view) :]
            except BlockingIOError:
                wait = self.deadline - time.monotonic()
                if wait <= 0 or not select.select([], [self.to], [], wait)[1]:
                    raise CandidateEnded(TIMEOUT, "wall clock") from None
            except BrokenPipeError:
                raise self.why() from None


def by_signal(ended: Ended, cpu_s: float) -> list[str]:
    """Return [status, reason] of a process that a signal ended.

    The kernel sends a signal to a process that exceeds its CPU limit. A program can send the same signal to itself, so
    the CPU time used decides. `KILLED` means a SIGKILL of unknown origin: only the control group outside knows whether
    the kernel sent it for memory.
    """
    if ended.signal in (signal.SIGXCPU, signal.SIGKILL) and ended.cpu_s >= cpu_s:
        return [TIMEOUT, "CPU time"]
    if ended.signal == signal.SIGKILL:
        return [KILLED, "killed by SIGKILL"]
    return [EXCEPTION, f"ended by {_name(ended.signal)}"]


def _name(number: int | None) -> str:
    try:
        return signal.Signals(number or 0).name
    except ValueError:
        return f"signal {number}"
