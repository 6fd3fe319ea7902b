"""JSON-lines files that are only appended to, by one process at a time, and that survive kill -9.

In: rows, and a function that parses one line. Out: the rows that are there, after any kill. A line is written by one
`write`; a last line without its newline was torn by a kill: readers drop it and the next writer cuts it off. A write
that fails (a full disk) leaves the file as it was. Writers hold a lock on the file itself, which the kernel frees.

A sealed file ends each line with a checksum of it and of all lines before it. A line that was changed, dropped, doubled
or moved does not fit the checksums after it. The checksum finds damage, not forgery.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Self, TypeVar

from pydantic import BaseModel, ValidationError

from forklock.sandbox.files.reading import read_descriptor

Row = TypeVar("Row")
Model = TypeVar("Model", bound=BaseModel)
Parse = Callable[[bytes], Row | None]
"""Returns the row of a line, or None where the line holds none."""

MOST_BYTES = 16 << 30
"""Largest file that is read, in bytes."""
_BLOCK = 1 << 16
_SUM = re.compile(rb',"sum":"([0-9a-f]{16})"\}$')


class DamagedLine(ValueError):
    """A line before the last holds no row."""

    def __init__(self, path: Path, line: int) -> None:
        super().__init__(f"{path}, line {line}, is damaged")
        self.line = line


# -- reading ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Scan(Generic[Row]):
    """The good lines at the beginning of a file."""

    rows: list[Row] = field(default_factory=list)
    end: int = 0
    """Bytes of the good lines."""
    chain: bytes = b""
    """Checksum of the last of them; empty before the first that has one."""
    damaged: int | None = None
    """Number of a damaged line that is not the last."""


def scan(raw: bytes, parse: Parse[Row], *, sealed: bool = False) -> Scan[Row]:
    """Read lines until one is damaged. A last line that is damaged or unfinished is torn, which is no damage."""
    found: Scan[Row] = Scan()
    lines = raw.split(b"\n")
    tail = lines.pop()
    for number, line in enumerate(lines, start=1):
        body, chain = _opened(line, found.chain) if sealed else (line, b"")
        row = parse(body) if body is not None else None
        if row is None:
            if number < len(lines) or tail:
                found.damaged = number
            break
        found.rows.append(row)
        found.end += len(line) + 1
        found.chain = chain
    return found


def whole_lines(path: Path) -> Iterator[bytes]:
    """Yield each line that ends with a newline; nothing where there is no file. A torn last line is left out.

    Raises:
        OSError: it cannot be read.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            if line.endswith(b"\n"):
                yield line


def parser(kind: type[Model]) -> Parse[Model]:
    """Return a function that parses lines as this pydantic model."""

    def parse(line: bytes) -> Model | None:
        try:
            return kind.model_validate_json(line)
        except (ValidationError, RecursionError):
            return None

    return parse


def as_json(row: BaseModel) -> bytes:
    """Return a pydantic model as one line of JSON, without its newline."""
    try:
        return row.model_dump_json().encode()
    except ValueError:  # half a surrogate pair, such as a file name that is no UTF-8 has
        return json.dumps(row.model_dump(mode="json"), ensure_ascii=False).encode("utf-8", "replace")


# -- writing ----------------------------------------------------------------------------------------------


def append_line(path: Path, body: bytes, *, durable: bool = False) -> None:
    """Append one line, after waiting for another writer and cutting off a torn last line.

    Args:
        durable: on disk when this returns.

    Raises:
        OSError: it cannot be written; the file is as it was.
    """
    with _locked(path, wait=True) as descriptor:
        _cut_torn_line(descriptor)
        _write(descriptor, body + b"\n", durable)


class JsonLines(Generic[Row]):
    """A JSON-lines file that is held open for appending. `append` may be called from threads. A context manager."""

    def __init__(
        self,
        path: Path,
        parse: Parse[Row],
        *,
        sealed: bool = False,
        private: bool = False,
        cut_damage: bool = False,
        locked: bool = True,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """Lock the file, read it, and cut off what a kill has torn.

        Args:
            private: only this user may read it, and it may be no link.
            locked: False where the caller holds a lock of its own over more than this file.
            cut_damage: cut the file before its first damaged line, where what follows is made again.

        Raises:
            BlockingIOError: another process appends to it.
            OSError: it cannot be opened.
            DamagedLine: a line before the last is damaged.
            Unreadable: it is no regular file or too large.
        """
        self.path = path
        self.torn_bytes = 0
        self._sealed = sealed
        self._guard = threading.Lock()
        self._descriptor: int | None = _open(path, private=private)
        try:
            if locked:
                _lock(self._descriptor, path, wait=False)
            raw = read_descriptor(self._descriptor, path, most_bytes=most_bytes)
            found = scan(raw, parse, sealed=sealed)
            if found.damaged is not None and not cut_damage:
                raise DamagedLine(path, found.damaged)
            self.torn_bytes = len(raw) - found.end
            if self.torn_bytes:
                os.ftruncate(self._descriptor, found.end)
        except BaseException:
            _free(self._descriptor)
            self._descriptor = None
            raise
        self.rows, self._chain = found.rows, found.chain

    def append(self, body: bytes, *, after: Callable[[], None] = lambda: None) -> None:
        """Append one JSON object.

        Args:
            after: called once it is written, before the next line is.

        Raises:
            OSError: it cannot be written, or the file is closed; what was written before stays readable.
        """
        with self._guard:
            if self._descriptor is None:
                raise OSError(errno.EBADF, "the file is closed", str(self.path))
            line, chain = seal(body, self._chain) if self._sealed else (body + b"\n", b"")
            _write(self._descriptor, line, durable=False)
            self._chain = chain
            after()

    def close(self) -> None:
        """Free the lock. What was appended is on disk when this returns."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            try:
                os.fsync(descriptor)
            finally:
                _free(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(path: Path, *, private: bool) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    return os.open(path, flags | os.O_NOFOLLOW if private else flags, 0o600 if private else 0o666)


def _lock(descriptor: int, path: Path, *, wait: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError as error:
        raise BlockingIOError(error.errno, "another process is writing it", str(path)) from error
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):  # a file system without locks
            raise


def _free(descriptor: int) -> None:
    with suppress(OSError):  # a child that has not reached its `exec` yet would hold the lock on
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


@contextmanager
def _locked(path: Path, *, wait: bool) -> Iterator[int]:
    descriptor = _open(path, private=False)
    try:
        _lock(descriptor, path, wait=wait)
        yield descriptor
    finally:
        _free(descriptor)


def _cut_torn_line(descriptor: int) -> None:
    """Cut the file after its last newline."""
    size = at = os.fstat(descriptor).st_size
    while at:
        start = max(0, at - _BLOCK)
        newline = os.pread(descriptor, at - start, start).rfind(b"\n")
        if newline >= 0:
            at = start + newline + 1
            break
        at = start
    if at != size:
        os.ftruncate(descriptor, at)


def _write(descriptor: int, line: bytes, durable: bool) -> None:
    before = os.fstat(descriptor).st_size
    try:
        if os.write(descriptor, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if durable:
            os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, before)
        raise


# -- checksums --------------------------------------------------------------------------------------------


def seal(body: bytes, chain: bytes) -> tuple[bytes, bytes]:
    """Return the line for a JSON object that follows `chain`, newline included, and the chain after it."""
    after = _sum_of(body, chain)
    return body[:-1] + b',"sum":"' + after + b'"}\n', after


def _opened(line: bytes, chain: bytes) -> tuple[bytes | None, bytes]:
    """Return a line without its checksum, and the checksum; (None, …) where it is wrong or missing.

    Logs of the first version have none: a chain begins with the first line that has one.
    """
    found = _SUM.search(line)
    if found is None:
        return (None if chain else line), chain
    body = line[: found.start()] + b"}"
    return (body if _sum_of(body, chain) == found[1] else None), found[1]


def _sum_of(body: bytes, chain: bytes) -> bytes:
    return hashlib.sha256(chain + body).hexdigest()[:16].encode()
