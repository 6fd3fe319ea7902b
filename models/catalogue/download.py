"""Downloads one file over HTTP; resumes at any byte, and checks the hash.

In: a `Remote` and a folder. Out: the file, whole, under its own name; until then it is `NAME.part`, which
the next call resumes, also after kill -9. Network errors are retried while bytes still come.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import tenacity

from forklock.models.catalogue.weights import hash_file
from forklock.models.contract import ModelFault
from forklock.sandbox.files.atomic import put_in_place
from forklock.sandbox.terminal.progress import Advance

FRUITLESS_TRIES = 5
CONNECT_S, READ_S = 10.0, 30.0


class DiskFull(ModelFault):
    """No space left. What is on disk so far stays, and is resumed later."""


class _Retriable(Exception):
    """The server asks to retry later."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A file that never changes on a server."""

    url: str
    filename: str
    bytes: int | None = None
    sha256: str | None = None
    git_sha1: str | None = None
    """Hash of the file as a git blob, which the hub gives for small files."""

    def matches(self, path: Path) -> bool:
        """Return whether a whole file has the hash that was announced; True where none was."""
        if self.sha256 is not None:
            return hash_file(path) == self.sha256
        if self.git_sha1 is not None:
            content = path.read_bytes()
            blob = b"blob %d\0" % len(content) + content
            return hashlib.sha1(blob, usedforsecurity=False).hexdigest() == self.git_sha1
        return True

    def part(self, folder: Path) -> Path:
        return folder / f"{self.filename}.part"

    def here(self, folder: Path) -> int:
        """Bytes of it in `folder` already."""
        for path in (folder / self.filename, self.part(folder)):
            if path.is_file():
                return path.stat().st_size
        return 0


def download(remote: Remote, folder: Path, client: httpx.Client, advance: Advance = lambda _: None) -> Path:
    """Fetch `remote` into `folder`; resume from what is there.

    Raises:
        DiskFull: no space left.
        ModelFault: refused, unreachable after retries, or the content does not match its hash twice.
    """
    done = folder / remote.filename
    if done.is_file() and remote.bytes in (None, done.stat().st_size):
        return done
    part = remote.part(folder)
    for attempt in (1, 2):
        _fetch_with_retries(remote, part, client, advance)
        if remote.matches(part):
            with space_guard(folder):
                put_in_place(part, done)
            return done
        advance(-part.stat().st_size)
        part.unlink()
        if attempt == 2:
            break
    raise ModelFault(
        f"{remote.filename} does not match its {'sha256' if remote.sha256 else 'hash'}, twice.",
        fix="Check the package index, the hub or the proxy.",
    )


@contextmanager
def space_guard(folder: Path) -> Iterator[None]:
    """Turn "no space left" into a fault that says where and how much."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise DiskFull(
            f"The disk that holds {folder} is full.",
            fix="Free some space and run the same command again: it goes on where it stopped. "
            "FORKLOCK_HOME moves everything to another disk.",
        ) from error


def _fetch_with_retries(remote: Remote, part: Path, client: httpx.Client, advance: Advance) -> None:
    patience = _Patience(part)
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type((httpx.TransportError, _Retriable)),
        after=patience.take_note,
        wait=patience.wait,
        stop=patience.at_end,
        reraise=True,
    )
    try:
        retrying(_fetch_rest, remote, part, client, advance)
    except (httpx.TransportError, _Retriable) as error:
        raise ModelFault(
            f"{remote.filename} could not be fetched: {error or type(error).__name__}.",
            fix="Check the network and run the same command again: it goes on where it stopped.",
        ) from error


class _Patience:
    """Counts tries in a row that brought no new byte: waits longer with each, up to `FRUITLESS_TRIES`."""

    def __init__(self, part: Path) -> None:
        self.part = part
        self.size = self._size()
        self.fruitless = 0

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def take_note(self, _: tenacity.RetryCallState) -> None:
        size = self._size()
        self.fruitless = 0 if size > self.size else self.fruitless + 1
        self.size = size

    def wait(self, _: tenacity.RetryCallState) -> float:
        """Seconds: 0.1, then 0.5, 1, 2, 4."""
        return 0.25 * 2**self.fruitless if self.fruitless else 0.1

    def at_end(self, _: tenacity.RetryCallState) -> bool:
        return self.fruitless >= FRUITLESS_TRIES


def _fetch_rest(remote: Remote, part: Path, client: httpx.Client, advance: Advance) -> None:
    """One request for what is missing; appends as it comes."""
    start = part.stat().st_size if part.is_file() else 0
    if remote.bytes is not None and start >= remote.bytes:
        return  # whole, or too long: the hash decides
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with client.stream("GET", remote.url, headers=headers, follow_redirects=True) as response:
        if response.status_code == 416:
            return
        _check_status(remote, response)
        resumed = response.status_code == 206
        if start and not resumed:
            advance(-start)
        # Unbuffered, so that kill -9 loses nothing that was written.
        with space_guard(part.parent), part.open("ab" if resumed else "wb", buffering=0) as file:
            # And without a block size: httpx would hold a block's beginning back, and drop it on an error.
            for block in response.iter_raw():
                file.write(block)
                advance(len(block))
                if remote.bytes is not None and file.tell() > remote.bytes:
                    break  # more than there is to fetch: the hash decides
    if remote.bytes is not None and part.stat().st_size < remote.bytes:
        raise _Retriable("the server closed the connection early")


def _check_status(remote: Remote, response: httpx.Response) -> None:
    status = response.status_code
    if status in (408, 425, 429) or status >= 500:
        raise _Retriable(f"the server answered {status}")
    if status not in (200, 206):
        raise ModelFault(
            f"{remote.filename} could not be fetched: the server answered {status}.",
            fix="Check the package index or the hub's access rights.",
        )
