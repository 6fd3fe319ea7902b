"""Reads files and texts that a repository, a program or a failing disk may have written.

In: a path or a text. Out: its bytes or its value, or `Unreadable`, whatever the damage: it is too large, a link, a
pipe, nested too deeply, no UTF-8, no number. `Unreadable` is a `ValueError`, as the errors of `json` and `tomllib` are.
Python text is parsed here too; there the error is `SyntaxError`.
Not covered: links among the folders above a file.
"""

from __future__ import annotations

import ast
import contextlib
import errno
import gc
import json
import math
import os
import stat
import threading
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MEGABYTE = 1 << 20
_READ_AT_ONCE = 1 << 20
_MOST_DOTS = 1000
_ONE_AT_A_TIME = threading.Lock()
_TRIES = 5


class Unreadable(ValueError):
    """What was read is damaged, or is nothing that is read."""


def read_regular(path: Path, *, most_bytes: int) -> bytes:
    """Return the content of a regular file. The file itself may be no link; a pipe or a device is not waited for.

    Raises:
        OSError: there is no such file, or it may not be read.
        Unreadable: it is a link or no regular file, or holds more than `most_bytes`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:
        raise Unreadable(f"{str(path)!r} is no path: {error}") from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise Unreadable(f"{path} is a link or no regular file") from error
        raise
    try:
        return read_descriptor(descriptor, path, most_bytes=most_bytes)
    finally:
        os.close(descriptor)


def read_descriptor(descriptor: int, path: Path, *, most_bytes: int) -> bytes:
    """Return the rest of an open file.

    Args:
        path: named in the error.

    Raises:
        OSError: it cannot be read.
        Unreadable: it is no regular file, or holds more than `most_bytes`.
    """
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise Unreadable(f"{path} is no regular file")
    if found.st_size > most_bytes:
        raise Unreadable(f"{path} has {found.st_size:,} bytes; {most_bytes:,} are read at most")
    return _read_all(descriptor, path, most_bytes)


def _read_all(descriptor: int, path: Path, most_bytes: int) -> bytes:
    parts, size = [], 0
    while block := os.read(descriptor, _READ_AT_ONCE):
        parts.append(block)
        size += len(block)
        if size > most_bytes:
            raise Unreadable(f"{path} has more than {most_bytes:,} bytes")
    return b"".join(parts)


def parse_json(text: str | bytes, *, finite: bool = True) -> Any:
    """Return the value of a JSON text.

    Args:
        finite: refuse NaN and infinities, which Python writes and JSON does not have.

    Raises:
        Unreadable: it is no JSON, is nested too deeply, or holds a number that is not finite or half a surrogate pair.
    """
    try:
        words = text.decode("utf-8") if isinstance(text, bytes) else text
        value = (_STRICT if finite else _LAX).decode(words)
        if "\\ud" in words or "\\uD" in words:
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # a lone surrogate has no UTF-8
    except (ValueError, RecursionError) as error:
        raise Unreadable(_reason(error)) from error
    return value


def parse_toml(data: bytes) -> dict[str, Any]:
    """Return the tables of a TOML text.

    Raises:
        Unreadable: it is no UTF-8 or no TOML, is nested too deeply, or would take long: the parser's time grows with
            the square of a key's parts.
    """
    if max(line.count(b".") for line in data.split(b"\n")) > _MOST_DOTS:
        raise Unreadable(f"it has a line with more than {_MOST_DOTS} dots")
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Unreadable(_reason(error)) from error


def parse_python(text: str) -> ast.Module:
    """Return the syntax tree of Python text, from any thread, without warnings.

    CPython 3.11 counts the depth of a tree in one place for the whole process. Where a second tree is made while the
    first one is (a finalizer formats a traceback, or lets another thread run), the count is wrong and it raises
    SystemError (https://github.com/python/cpython/issues/106905). So one tree is made at a time here, with no garbage
    collection between, and made again where somebody else's parsing came between all the same.

    Raises:
        SyntaxError: it is no Python, holds a NUL, or is nested too deeply. Without a line number in the last two.
    """
    for _ in range(_TRIES):
        try:
            with _ONE_AT_A_TIME, _no_collection(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(text)
        except SystemError as error:
            last = error
        except (ValueError, OverflowError) as error:
            raise SyntaxError("the text holds null bytes" if "null" in str(error) else str(error)) from error
        except (RecursionError, MemoryError) as error:
            raise SyntaxError(f"too deeply nested ({type(error).__name__})") from error
    raise SyntaxError(f"CPython cannot parse it: {last}") from last


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _reason(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large a number")
    return value


_STRICT = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
_LAX = json.JSONDecoder()
