"""evals: the host of one program: it runs each test in a process of its own.

Input: frames `[text, limits]` on descriptor 3. Output: first `[ok, ""]` or why the program does not compile, then
`[status, output or reason]` for each test, on descriptor 4. The host compiles the program and never runs it, so every
test starts from the same memory: nothing that one test leaves in an object, a module or the interpreter can reach the
next. Files and processes that a test leaves are removed before the next one. Runs inside the sandbox.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import resource
import select
import signal
import time
import types
from typing import Any

from forklock.evals.judging.driver.child import Ended, by_signal
from forklock.evals.judging.driver.cleanup import Place, sweep
from forklock.evals.judging.driver.program import (
    compiled_program,
    described,
    limit,
    limit_always,
    run_functional,
    run_stdin,
    status_of,
)
from forklock.evals.judging.driver.seccomp import protect
from forklock.evals.judging.driver.wire import (
    EXCEPTION,
    MEMORY,
    OK,
    OUTPUT,
    TIMEOUT,
    WRONG,
    read_frame,
    write_all,
    write_frame,
)

UNCLEAN = 71
"""Exit status of a host, a zygote or a driver that cannot remove what a program left."""


def host(job: dict[str, Any], libc: Any, folder: str, places: list[Place]) -> None:
    """Run the tests of one program as they come, until descriptor 3 is closed."""
    libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans of a test's process become our children
    protect(libc)
    limit_always()
    program = _compiled(job)
    write_frame(4, [OK, ""] if isinstance(program, types.CodeType) else program)
    if not isinstance(program, types.CodeType):
        os._exit(0)
    gc.freeze()
    while True:
        try:
            text, limits = read_frame(3)
        except EOFError:
            os._exit(0)
        result = _tested(job | limits, program, text, folder)
        if not sweep():
            os._exit(UNCLEAN)
        for place in places:
            place.tidy()
        write_frame(4, result)


def _compiled(job: dict[str, Any]) -> types.CodeType | list[str]:
    """Return the program, compiled within its memory limit, or `[status, reason]`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (job["memory_mb"] << 20, hard))
    try:
        return compiled_program(job)
    except BaseException as error:
        return [status_of(error), described(error)]
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _tested(job: dict[str, Any], program: types.CodeType, text: str, folder: str) -> list[str]:
    """Run one test; return [status, output or reason]."""
    deadline = time.monotonic() + job["wall_s"]
    scripted = job["style"] == "stdin"
    back, its = os.pipe()
    outs, theirs = [back], [its]
    if scripted:
        source = os.memfd_create("stdin")
        write_all(source, text.encode("utf-8", "surrogatepass"))
        os.lseek(source, 0, os.SEEK_SET)
        out, printed = os.pipe()
        outs, theirs = [back, out], [its, source, printed]
    pid = os.fork()
    if pid == 0:
        try:
            _confine(theirs, folder)
            limit(job)
            run_stdin(job, program) if scripted else run_functional(job, program, text)
        finally:
            os._exit(70)
    for fd in theirs:
        os.close(fd)
    got, status = gather(outs, job["output_bytes"], deadline)
    ended = _end(pid, deadline if status == OK else 0.0)
    for fd in outs:
        os.close(fd)
    if status == OK and ended is None:
        status = TIMEOUT
    if status != OK or ended is None:
        return [status, "wall clock" if status == TIMEOUT else "too much output"]
    return verdict_of(ended, job, got[out] if scripted else None, got[back])


def _confine(theirs: list[int], folder: str) -> None:
    """Give a test's process its own session and descriptors: 4 for its result, and for a script 0 and 1.

    `/dev/null` is opened again, because all processes that inherited an open file share its flags and owner.
    """
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    keep = {0: null, 1: null, 2: null} | dict(zip((4, 0, 1), theirs, strict=False))
    high = [(target, fcntl.fcntl(source, fcntl.F_DUPFD, 64)) for target, source in keep.items()]
    for target, source in high:
        os.dup2(source, target)
    os.close(3)
    os.closerange(5, 4096)
    os.chdir(folder)


def _end(pid: int, deadline: float) -> Ended | None:
    """Wait for a test's process until the deadline, then kill it; return how it ended, None if it was killed here."""
    pause, killed = 0.0001, False
    while True:
        found, status, used = os.wait4(pid, 0 if killed else os.WNOHANG)
        if found:
            return None if killed else Ended.of(status, used.ru_utime + used.ru_stime)
        if time.monotonic() >= deadline:
            killed = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            continue
        time.sleep(pause)
        pause = min(0.02, pause * 2)


def gather(fds: list[int], limit: int, deadline: float) -> tuple[dict[int, bytes], str]:
    """Read all pipes to their ends; return their content, and OK, TIMEOUT or OUTPUT."""
    got: dict[int, list[bytes]] = {fd: [] for fd in fds}
    size, poll, status = 0, select.poll(), OK
    for fd in fds:
        poll.register(fd, select.POLLIN)
    left = set(fds)
    while left and status == OK:
        wait = deadline - time.monotonic()
        if wait <= 0:
            status = TIMEOUT
            break
        for fd, _ in poll.poll(wait * 1000):
            part = os.read(fd, 1 << 16)
            if not part:
                poll.unregister(fd)
                left.discard(fd)
            size += len(part)
            got[fd].append(part)
            if size > limit:
                status = OUTPUT
    return {fd: b"".join(parts) for fd, parts in got.items()}, status


def verdict_of(ended: Ended, job: dict[str, Any], out: bytes | None, written: bytes) -> list[str]:
    """Return [status, output or reason] from how a test's process ended and what it wrote.

    Args:
        out: output of a script; None for a functional test.
        written: what the process wrote to descriptor 4.
    """
    if ended.signal is not None:
        return by_signal(ended, job["cpu_s"])
    if ended.cpu_s > job["cpu_s"]:  # includes its children, each of which has a limit of its own
        return [TIMEOUT, "CPU time"]
    message = _parsed(written)
    if out is None:
        return message or [EXCEPTION, f"the program ended (exit status {ended.exit}) before it answered"]
    if ended.exit:
        return message or [EXCEPTION, f"exit status {ended.exit}"]
    return [OK, out.decode("utf-8", errors="replace")]


def _parsed(written: bytes) -> list[str] | None:
    """Parse what the process wrote; None if it is malformed."""
    try:
        if len(written) < 8 or len(written) != 8 + int.from_bytes(written[:8], "big"):
            return None
        status, text = json.loads(written[8:])
    except (ValueError, TypeError, RecursionError):
        return None
    return [status, text] if status in (OK, WRONG, EXCEPTION, MEMORY) and isinstance(text, str) else None
