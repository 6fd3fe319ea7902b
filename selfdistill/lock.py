"""Two rounds never run at once: they would fight for the machine and for `current`.

Not covered: a round does not yet yield to a running agent; start it when the machine is free.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sandbox.reading import parse_json
from selfdistill.contract import EXIT_INFRASTRUCTURE, RoundFault


@contextmanager
def only_round(root: Path, what: str) -> Iterator[None]:
    """Hold the lock of `root` while the body runs; the kernel frees it when the process dies.

    Raises:
        RoundFault: another process holds it; says which.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RoundFault(
            f"{root} cannot be made: {error.strerror}",
            fix="set FORKLOCK_HOME to a writable folder",
            exit_code=EXIT_INFRASTRUCTURE,
        ) from error
    holder = root / "holder.json"
    lock = FileLock(root / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RoundFault(
            f"another round is running{_who(holder)}",
            fix="wait for it, or stop it; it resumes where it was",
            exit_code=EXIT_INFRASTRUCTURE,
        ) from error
    try:
        holder.write_text(json.dumps({"pid": os.getpid(), "round": what}), encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _who(holder: Path) -> str:
    try:
        held = parse_json(holder.read_text(encoding="utf-8"))
        return f" (process {held['pid']}, {held['round']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
