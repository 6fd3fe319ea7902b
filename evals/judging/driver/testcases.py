"""evals: stdin and functional tests of a program, in one process for several or in one of their own.

In: a job and inputs. Out: what each gave, or how it failed: `[status, output or reason]`. Runs inside the sandbox.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import time
from typing import Any

from evals.judging.driver.child import CandidateEnded, Child, by_signal
from evals.judging.driver.wire import EXCEPTION, MEMORY, OK, OUTPUT, TIMEOUT, WRONG, framed, write_all

SHARED_S = 0.5
"""Seconds (wall clock) that a test may take in a process which other tests share; a longer one is better off alone."""


class Shared:
    """One process for several tests of a program. It gets all inputs as fast as it takes them, and answers in turn."""

    def __init__(self, ask: Any, job: dict[str, Any], inputs: list[str]) -> None:
        every = {"cpu_s": job["total_s"], "output_bytes": min(job["output_bytes"] * 2, 1 << 30)}
        self.child: Child | None = Child(ask, b"n", job | every)
        self.most = job["output_bytes"]
        self.child.send_ahead(b"".join(map(framed, inputs)))
        self._first()

    def _first(self) -> None:
        if self.child is not None and self._said(self.child.deadline) is None:
            self.close()

    def _said(self, deadline: float) -> str | None:
        try:
            status, text = self.child.answer(deadline) if self.child is not None else ("", "")
        except CandidateEnded:
            return None
        return text if status == OK and isinstance(text, str) and len(text) <= self.most else None

    def run(self, wall_s: float) -> str | None:
        """The output for the next input; None when this test needs a process of its own, as all after it do."""
        if self.child is None:
            return None
        self.child.deadline = time.monotonic() + min(SHARED_S, wall_s)
        said = self._said(self.child.deadline)
        if said is None:
            self.close()
        return said

    def close(self) -> None:
        if self.child is not None:
            self.child.close()
            self.child = None


def run_alone(ask: Any, job: dict[str, Any], text: str) -> list[str]:
    """One stdin or functional test in a fresh process: [status, output or reason]."""
    style = job["style"]
    spare: tuple[int, ...] = ()
    outs: list[int] = []
    if style == "stdin":
        source = os.memfd_create("stdin")
        write_all(source, text.encode("utf-8", "surrogatepass"))
        os.lseek(source, 0, os.SEEK_SET)
        out, theirs = os.pipe()
        spare, outs = (source, theirs), [out]
    child = Child(ask, b"1", job, spare)
    with contextlib.suppress(CandidateEnded):
        child.put("" if style == "stdin" else text)
    child.hang_up()
    got, ended = gather([*outs, child.back], job["output_bytes"], child.deadline)
    if ended != OK or not child.ended():
        ended = ended if ended != OK else TIMEOUT
    said = got[child.back]
    child.close()
    for fd in outs:
        os.close(fd)
    return verdict_of(child, ended, got[outs[0]] if outs else b"", said, style)


def gather(fds: list[int], limit: int, deadline: float) -> tuple[dict[int, bytes], str]:
    """Read all pipes to their ends: what came, and OK, TIMEOUT or OUTPUT."""
    got: dict[int, list[bytes]] = {fd: [] for fd in fds}
    size, poll = 0, select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    left = set(fds)
    while left:
        wait = deadline - time.monotonic()
        if wait <= 0:
            return {fd: b"".join(parts) for fd, parts in got.items()}, TIMEOUT
        for fd, _ in poll.poll(wait * 1000):
            part = os.read(fd, 1 << 16)
            if not part:
                poll.unregister(fd)
                left.discard(fd)
            size += len(part)
            got[fd].append(part)
            if size > limit:
                return {fd: b"".join(parts) for fd, parts in got.items()}, OUTPUT
    return {fd: b"".join(parts) for fd, parts in got.items()}, OK


def verdict_of(child: Child, ended: str, out: bytes, said: bytes, style: str) -> list[str]:
    """From how a child ended and what it said to [status, output or reason]."""
    if ended == TIMEOUT:
        return [TIMEOUT, "wall clock"]
    if ended == OUTPUT:
        return [OUTPUT, "too much output"]
    if child.signal is not None:
        return by_signal(child.signal)
    message = parse_said(said)
    if style == "functional":
        return message or [EXCEPTION, f"the program ended (exit status {child.exit}) before it answered"]
    if child.exit:
        return message or [EXCEPTION, f"exit status {child.exit}"]
    return [OK, out.decode("utf-8", errors="replace")]


def parse_said(said: bytes) -> list[str] | None:
    """The child's own last words, if they are well formed."""
    try:
        if len(said) < 8 or len(said) != 8 + int.from_bytes(said[:8], "big"):
            return None
        status, text = json.loads(said[8:])
    except (ValueError, TypeError, RecursionError):
        return None
    return [status, text] if status in (OK, WRONG, EXCEPTION, MEMORY) and isinstance(text, str) else None
