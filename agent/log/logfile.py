"""Lines of an append-only log, each sealed with a checksum of itself and of all lines before it.

In: the bytes of a log, and what makes an event of a line. Out: its good lines, and where the damage begins. A line
that was changed, dropped, doubled or moved does not fit the checksums after it. The checksum finds damage, not
forgery: whoever may write the log can seal it anew.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


class LogFault(Exception):
    """The log cannot be read or written. `fix` says what the user can do next."""

    exit_code = 2

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


_SUM = re.compile(rb',"sum":"([0-9a-f]{16})"\}$')


@dataclass(slots=True)
class Scan(Generic[T]):
    """The good lines at the beginning of a log."""

    events: list[T] = field(default_factory=list)
    end: int = 0
    """Bytes of the good lines."""
    chain: bytes = b""
    """Checksum of the last of them; empty before the first that has one."""
    damaged: int | None = None
    """Number of a damaged line that is not the last."""


def scan(raw: bytes, parse: Callable[[bytes], T | None]) -> Scan[T]:
    """Read lines until one is damaged. A last line that is damaged or unfinished is torn, which is no damage.

    Args:
        parse: returns None for a line that is no event.
    """
    found: Scan[T] = Scan()
    lines = raw.split(b"\n")
    tail = lines.pop()
    for number, line in enumerate(lines, start=1):
        body, chain = _opened(line, found.chain)
        event = parse(body) if body is not None else None
        if event is None:
            if number < len(lines) or tail:
                found.damaged = number
            break
        found.events.append(event)
        found.end += len(line) + 1
        found.chain = chain
    return found


def seal(body: bytes, chain: bytes) -> tuple[bytes, bytes]:
    """Return the line for a JSON object that follows `chain`, newline included, and the chain after it."""
    after = _sum_of(body, chain)
    return body[:-1] + b',"sum":"' + after + b'"}\n', after


def _opened(line: bytes, chain: bytes) -> tuple[bytes | None, bytes]:
    """A line without its checksum, and the checksum; (None, …) where it is wrong or missing.

    Logs of the first version have none: a chain begins with the first line that has one.
    """
    found = _SUM.search(line)
    if found is None:
        return (None if chain else line), chain
    body = line[: found.start()] + b"}"
    return (body if _sum_of(body, chain) == found[1] else None), found[1]


def _sum_of(body: bytes, chain: bytes) -> bytes:
    return hashlib.sha256(chain + body).hexdigest()[:16].encode()
