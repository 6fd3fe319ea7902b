"""Kills our processes that were orphaned when their parent was killed.

bubblewrap's inner process waits forever for an outer one that is gone. Removing its control group ends it; this module
is for machines without control groups. Such a process is found by an open file that nobody else has, or by a folder's
name among its words. Each function looks at all processes, so it is for the error path only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

_TRIES = 20
_FIRST = 4
"""A script's name is among this many words, after the interpreter and its flags."""


def end_holders(fd: int, *programs: str) -> None:
    """Kill every process of these programs (file names, or the first word) that has this file open."""
    file = os.fstat(fd)

    def chosen(pid: int) -> bool:
        ours = any(_name(word) in programs for word in _words(pid)[:_FIRST])
        return ours and any(os.path.samestat(file, found) for found in _open_files(pid))

    _end(chosen)


def end_bubblewraps_of(folders: Collection[Path]) -> None:
    """Kill every bubblewrap with a word that is one of these folders, or a path in one."""

    def chosen(pid: int) -> bool:
        words = _words(pid)
        if _name(words[0]) != "bwrap":
            return False
        return any(
            word == str(folder) or word.startswith(f"{folder}/") for word in words for folder in folders
        )

    _end(chosen)


def _end(chosen: Callable[[int], bool]) -> None:
    """Kill until none is left: one may start another while we look."""
    for _ in range(_TRIES):
        victims = [pid for pid in _others() if chosen(pid)]
        if not victims:
            return
        for pid in victims:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _others() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]  # noqa: PTH208


def _words(pid: int) -> list[str]:
    """Return the words of its command line; at least one."""
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
    except OSError:
        return [""]


def _name(word: str) -> str:
    return word.rpartition("/")[2]


def _open_files(pid: int) -> Iterator[os.stat_result]:
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                yield entry.stat()
