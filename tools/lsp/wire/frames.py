"""Writes messages to a server's input and reads them from its output, at little cost.

The thread that has a message writes it at once, as far as the pipe takes it; the event loop writes the rest. So a
question needs no hop to the loop's thread and back, and messages are never interleaved. Reading yields whole bodies
as soon as they have arrived, without a task that waits for each line.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import threading
from collections.abc import Callable
from typing import Any

_LENGTH = re.compile(rb"^Content-Length: *(\d+)\r$", re.MULTILINE | re.IGNORECASE)
_MOST_HEAD = 65536
"""A stream with more bytes of headers is malformed."""


class Wire:
    """Takes the place of asyncio's stream for pygls to write to."""

    def __init__(self, stream: asyncio.StreamWriter, loop: asyncio.AbstractEventLoop) -> None:
        self._transport: Any = stream.transport
        self._loop = loop
        # Of our own: the stream's may be closed, and its number used for something else, while we write.
        self._fd = os.dup(self._transport.get_extra_info("pipe").fileno())
        self._lock = threading.Lock()
        self._rest = b""
        """Bytes that the pipe had no room for, until the loop writes them."""

    def write(self, data: bytes) -> None:
        """Write a whole message. Safe from any thread."""
        with self._lock:
            if self._fd < 0:
                return
            if not self._rest and not self._transport.get_write_buffer_size():
                try:
                    data = data[os.write(self._fd, data) :]
                except BlockingIOError:
                    pass
                except OSError:  # the server is gone, which others notice
                    return
            if data:
                self._rest += data
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    self._loop.call_soon_threadsafe(self._hand_over)

    def _hand_over(self) -> None:
        with self._lock:
            rest, self._rest = self._rest, b""
            if rest and self._fd >= 0 and not self._transport.is_closing():
                self._transport.write(rest)

    def close(self) -> None:
        """Close our copy of the pipe; the server's input ends when the stream is closed, too. Safe twice."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
            self._fd = -1


class Frames(asyncio.Protocol):
    """Takes the place of the stream by which asyncio reads a server's output."""

    def __init__(self, below: Any, body: Callable[[bytes], None], unreadable: Callable[[], None]) -> None:
        """`below` is the protocol that it replaces, which still learns of the end. `unreadable` is called once, and
        `body` no more after it."""
        self._below = below
        self._body = body
        self._unreadable = unreadable
        self._buffer = bytearray()
        self._length: int | None = None
        """Length of the body that is coming; None between bodies."""
        self._over = False

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        self._buffer += data
        while (body := self._next()) is not None:
            self._body(body)

    def _next(self) -> bytes | None:
        if self._length is None and not self._head():
            return None
        if self._length is None or len(self._buffer) < self._length:
            return None
        body = bytes(self._buffer[: self._length])
        del self._buffer[: self._length]
        self._length = None
        return body

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        found = _LENGTH.search(self._buffer[: end + 2]) if end >= 0 else None
        if found is None:
            if end >= 0 or len(self._buffer) > _MOST_HEAD:
                self._over = True
                self._unreadable()
            return False
        self._length = int(found.group(1))
        del self._buffer[: end + 4]
        return True

    def eof_received(self) -> None:
        self._below.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._below.connection_lost(exc)
