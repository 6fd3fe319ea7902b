"""A whole agent's command: started in a group of its own, which ends with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from evals.contract import EvalFault


def run_agent(
    words: Sequence[str], work: Path, out: Path, timeout_s: float, *, stderr: int, fix: str
) -> int | None:
    """Exit code, None where time ran out.

    Args:
        work: where it runs.
        out: takes what it prints; `stderr` is `subprocess.STDOUT` or `DEVNULL`.
        fix: what to do where it cannot be started.

    Raises:
        EvalFault: it cannot be started.
    """
    with out.open("wb") as output:
        try:
            process = subprocess.Popen(
                words,
                cwd=work,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=stderr,
                start_new_session=True,
            )
        except OSError as error:
            raise EvalFault(f"the agent cannot be started: {words[0]}: {error.strerror}", fix=fix) from error
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
