"""Writes to stdout and stderr: text, or the bytes of a diff. A reader that goes away ends the command."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from forklock.sandbox.terminal.safe_text import printable


def say_verbatim(text: str, *, err: bool = False) -> None:
    """Write text to stdout, or with `err` to stderr: to a pipe byte for byte, such as a diff that `git apply` reads; to
    a terminal printable."""
    stream = sys.stderr if err else sys.stdout
    if stream.isatty():
        write(stream, printable(text))
        return
    buffer = getattr(stream, "buffer", None)
    if buffer is None:
        stream.write(text)
        return
    with _reader_may_go(stream):
        stream.flush()
        buffer.write(text.encode("utf-8", "surrogateescape"))
        buffer.flush()


def write(stream: TextIO, text: str) -> None:
    """Write text that is printable already."""
    with _reader_may_go(stream):
        stream.write(text)
        stream.flush()


@contextmanager
def _reader_may_go(stream: TextIO) -> Iterator[None]:
    """
    Raises:
        SystemExit: the reader has gone, as in `tools symbols a.py | head`.
    """
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise SystemExit(1) from None


def read_stdin(most: int) -> bytes:
    """Return what stdin holds.

    Raises:
        ValueError: it is longer than `most` bytes.
    """
    data = sys.stdin.buffer.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it is longer than {most} bytes")
    return data
