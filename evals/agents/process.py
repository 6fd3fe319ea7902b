"""evals: runs a whole agent's command.

The command starts in its own process group. When it ends, the group ends with it, and so do processes that it moved to
other sessions.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from forklock.agent.log import LogFault
from forklock.agent.log.runs import forget
from forklock.evals.contract import EvalFault
from forklock.sandbox.files.reading import parse_json
from forklock.sandbox.linux.marked import Mark

MOST_OUTPUT_BYTES = 64 << 20
"""Number of bytes kept of what an agent prints."""


def said_outcome(out: Path) -> str:
    """Return the outcome in the last line of JSON that our own agent printed (`agent solve --json`); "" where none is.

    Args:
        out: file with what it printed.
    """
    try:
        lines = out.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in reversed(lines[-50:]):
        with contextlib.suppress(ValueError):
            found = parse_json(line)
            if isinstance(found, dict) and isinstance(found.get("outcome"), str):
                return str(found["outcome"])
    return ""


def words_of(command: str) -> list[str]:
    """Split the value of `--agent`, or part of it, as a shell would; no shell is involved.

    Raises:
        EvalFault: it cannot be split into words.
    """
    try:
        return shlex.split(command)
    except ValueError as error:
        raise EvalFault(f"--agent {command!r}: {error}", fix="close the quotes") from error


def filled(word: str, values: Mapping[str, str]) -> str:
    """Fill the placeholder in a word of a command; a word has one, and what is filled in is not searched again."""
    for place, value in values.items():
        if place in word:
            return word.replace(place, value)
    return word


def run_agent(
    words: Sequence[str], work: Path, out: Path, timeout_s: float, *, stderr: int, fix: str
) -> int | None:
    """Run an agent; return its exit code, None where time ran out.

    Args:
        work: folder where it runs, made for this run.
        out: file for what it prints.
        stderr: `subprocess.STDOUT` or `subprocess.DEVNULL`.
        fix: advice for a command that cannot be started.

    Raises:
        EvalFault: the command cannot be started.
    """
    mark = Mark("FORKLOCK_EVALUATION")
    with out.open("wb") as output:
        try:
            process = subprocess.Popen(
                words,
                cwd=work,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
                env={**os.environ, **mark.environment},
            )
        except OSError as error:
            raise EvalFault(f"the agent cannot be started: {words[0]}: {error.strerror}", fix=fix) from error
        assert process.stdout is not None
        reader = threading.Thread(target=_keep, args=(process.stdout, output), daemon=True)
        reader.start()
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            mark.end()
            reader.join(5)
            with contextlib.suppress(LogFault):
                forget(work)  # removes runs of our own agent on a folder that is gone


def _keep(source: IO[bytes], target: IO[bytes]) -> None:
    """Copy until the end; bytes beyond the limit are read and dropped."""
    left = MOST_OUTPUT_BYTES
    while part := os.read(source.fileno(), 1 << 16):
        with contextlib.suppress(ValueError):  # closed: an unknown process still holds the pipe
            target.write(part[: max(0, left)])
        left -= len(part)


def refuse_crash(code: int | None, output: Path, *, answers: tuple[int, ...] = (0, 1)) -> None:
    """Raise where an agent could not work, so that what it left is no answer.

    Args:
        code: its exit code; None is out of time, which counts as the agent's own failure.
        output: file with what it printed.
        answers: exit codes that mean that it has worked; our own agent returns 1 for "not solved".

    Raises:
        EvalFault: the agent failed; the problem gets no verdict.
    """
    if code is None or code in answers:
        return
    fault = EvalFault(
        f"the agent failed (exit code {code}): {last_words(output)}",
        fix="run the agent alone to see why; then give the same command again: stored answers are kept",
    )
    fault.exit_code = AGENT_FAILED
    raise fault


AGENT_FAILED = 3
"""Exit code of our own agent when its model or sandbox failed."""


def last_words(output: Path) -> str:
    """Return the last line that is not empty, printable characters only."""
    with output.open("rb") as file:
        file.seek(max(0, output.stat().st_size - 4096))
        lines = file.read().decode("utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
    return "".join(one for one in last if one.isprintable())[:300]
