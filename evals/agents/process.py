"""A whole agent's command: started in a group of its own, which ends with it, and with it all that it started."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from agent.log import LogFault
from agent.log.runs import forget
from evals.contract import EvalFault
from sandbox.linux.marked import Mark

MOST_OUTPUT_BYTES = 64 << 20
"""Of what an agent prints, so much is kept."""


def words_of(command: str) -> list[str]:
    """What stands behind `--agent`, or part of it, as a shell would split it; no shell is involved.

    Raises:
        EvalFault: it cannot be split into words.
    """
    try:
        return shlex.split(command)
    except ValueError as error:
        raise EvalFault(f"--agent {command!r}: {error}", fix="close the quotes") from error


def run_agent(
    words: Sequence[str], work: Path, out: Path, timeout_s: float, *, stderr: int, fix: str
) -> int | None:
    """Exit code, None where time ran out.

    Args:
        work: where it runs; a folder that is made for this.
        out: takes what it prints; `stderr` is `subprocess.STDOUT` or `DEVNULL`.
        fix: what to do where it cannot be started.

    Raises:
        EvalFault: it cannot be started.
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
                forget(work)  # runs of our own agent would outlive the folder that they are about


def _keep(source: IO[bytes], target: IO[bytes]) -> None:
    """Copy until the end; what is too much is read and forgotten."""
    left = MOST_OUTPUT_BYTES
    while part := os.read(source.fileno(), 1 << 16):
        with contextlib.suppress(ValueError):  # closed: somebody whom we do not know still holds the pipe
            target.write(part[: max(0, left)])
        left -= len(part)


def refuse_crash(code: int | None, said: Path, *, answers: tuple[int, ...] = (0, 1)) -> None:
    """Refuse to take for an answer what an agent left that could not work.

    Args:
        code: its exit code; None is out of time, which is its own failure.
        answers: exit codes with which it has done its work; our own agent says "not solved" with 1.
        said: file with what it printed.

    Raises:
        EvalFault: the agent failed; nothing may be said of the problem.
    """
    if code is None or code in answers:
        return
    fault = EvalFault(
        f"the agent failed (exit code {code}): {last_words(said)}",
        fix="run the agent alone to see why; then give the same command again: answers that are here are kept",
    )
    fault.exit_code = AGENT_FAILED
    raise fault


AGENT_FAILED = 3
"""Exit code of our own agent whose model or sandbox failed."""


def last_words(said: Path) -> str:
    """The last line that is not empty, printable characters only."""
    with said.open("rb") as file:
        file.seek(max(0, said.stat().st_size - 4096))
        lines = file.read().decode("utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
    return "".join(one for one in last if one.isprintable())[:300]
