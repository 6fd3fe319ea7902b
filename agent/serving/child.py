"""Runs an `agent` command in a process of its own, follows its lines, and ends it within seconds.

In: the words after `agent`. Out: each line of its stdout as it comes, and an `Ended`. A run may load a model, and its
native code may hold the interpreter; a server that must answer meanwhile, and end the run at once, keeps it outside. A
cancelled task interrupts the command as Ctrl-C does, so that it cleans up, and kills what is still there after
`GRACE_S`. The command is interrupted too when this process ends, even by SIGKILL.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

GRACE_S = 8.0
"""Seconds that an interrupted command has for its own end."""
MOST_LINE = 64 << 20
"""Bytes of one line of stdout."""
_TAIL = 16 << 10
"""Bytes of stderr that are kept."""

# `-P`: the folder that we stand in may be a repository, whose modules must not be imported.
_LAUNCH = """
import os, signal, sys
parent = int(sys.argv.pop(1))
try:
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGINT, 0, 0, 0)  # PR_SET_PDEATHSIG
except (AttributeError, OSError):
    pass
if os.getppid() == parent:
    sys.argv[0] = "agent"
    from forklock.agent.cli import main
    main()
"""

OnLine = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    """Its exit code: 0 done, 1 a negative result, 2 bad input, 3 infrastructure, 130 interrupted; below 0 a signal."""
    fault: str = ""
    """What it said was wrong and what to do; "" where nothing was, or where its stderr was not read."""


async def run(
    words: Sequence[str], *, stdin: bytes = b"", on_line: OnLine | None = None, reads_stderr: bool = True
) -> Ended:
    """Run `agent` with these words to its end.

    Args:
        on_line: awaited with each line of stdout, without its end.
        reads_stderr: False leaves stderr where ours goes, for people to read.

    Raises:
        OSError: it cannot be started.
        asyncio.CancelledError: the task was cancelled; nothing runs any more.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", _LAUNCH, str(os.getpid()), *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE if reads_stderr else None,
        start_new_session=True,
        limit=MOST_LINE,
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_feed(process, stdin))
            tasks.create_task(_follow(process, on_line))
            tail = tasks.create_task(_tail(process))
        code = await process.wait()
    except BaseException:
        await asyncio.shield(_end(process))
        raise
    return Ended(code, fault_of(tail.result()))


def fault_of(said: str) -> str:
    """The last error that a command wrote to stderr, with its fix; "" where there is none."""
    lines = said.splitlines()
    start = next((n for n in reversed(range(len(lines))) if lines[n].startswith("error: ")), None)
    if start is None:
        return ""
    return "\n".join(lines[start:]).removeprefix("error: ").strip()


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()


async def _follow(process: asyncio.subprocess.Process, on_line: OnLine | None) -> None:
    """Awaits each line.

    Raises:
        ValueError: a line is longer than `MOST_LINE`.
    """
    assert process.stdout is not None
    while line := await process.stdout.readline():
        if on_line is not None:
            await on_line(line.decode("utf-8", "replace").rstrip("\n"))


async def _tail(process: asyncio.subprocess.Process) -> str:
    """Reads stderr to its end, and returns the last of it."""
    if process.stderr is None:
        return ""
    kept = b""
    while piece := await process.stderr.read(_TAIL):
        kept = (kept + piece)[-_TAIL:]
    return kept.decode("utf-8", "replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Interrupts the command, and kills its session when `GRACE_S` is over."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        await asyncio.wait_for(_drained(process), GRACE_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _drained(process: asyncio.subprocess.Process) -> None:
    """Waits for the end, and reads what comes meanwhile: a full pipe would hold the command."""
    streams = [stream for stream in (process.stdout, process.stderr) if stream is not None]
    await asyncio.gather(process.wait(), *(_read_all(stream) for stream in streams))


async def _read_all(stream: asyncio.StreamReader) -> None:
    while await stream.read(1 << 16):
        pass
