"""Reads git's index: which files a repository tracks, and their stats when git last read them.

In: the index's bytes, which are a repo's words. Out: entries; names are not yet known to be paths inside the repo.
Versions 2, 3 and 4. Not covered: split and sparse indexes, which raise `IndexNotRead`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAX_BYTES = 512 << 20
GITLINK = 0o160000
"""The mode of a submodule."""
_STATS = struct.Struct(">10I")
_EXTENDED, _SKIP_WORKTREE = 0x4000, 0x4000
_KNOWN = (b"link", b"sdir")


class IndexNotRead(Exception):
    """The index is damaged, or of a kind that is not known here."""


@dataclass(frozen=True, slots=True)
class Entry:
    name: str
    mode: int
    oid: str
    size: int
    """Bytes, modulo 2**32."""
    mtime: tuple[int, int]
    """Seconds modulo 2**32, and nanoseconds; 0 where git does not keep them."""
    stage: int
    skipped: bool
    """It is not meant to be in the work tree (sparse checkouts)."""


def read_index(data: bytes, oid_bytes: int = 20) -> list[Entry]:
    """Read all entries.

    Raises:
        IndexNotRead: see there.
    """
    try:
        magic, version, count = struct.unpack_from(">4sII", data)
        if magic != b"DIRC" or version not in (2, 3, 4) or count > len(data) // 40:
            raise IndexNotRead("it is no index that is known here")
        found, at, before = [], 12, b""
        for _ in range(count):
            entry, before, at = _entry(data, at, version, oid_bytes, before)
            found.append(entry)
        _refuse_unknown(data, at, oid_bytes)
    except (struct.error, ValueError, IndexError) as error:
        raise IndexNotRead(f"it is damaged: {error}") from error
    return found


def _entry(data: bytes, start: int, version: int, oid_bytes: int, before: bytes) -> tuple[Entry, bytes, int]:
    _, _, mtime_s, mtime_ns, _, _, mode, _, _, size = _STATS.unpack_from(data, start)
    at = start + _STATS.size
    oid = data[at : at + oid_bytes].hex()
    at += oid_bytes
    (flags,) = struct.unpack_from(">H", data, at)
    at += 2
    more = 0
    if flags & _EXTENDED and version > 2:
        (more,) = struct.unpack_from(">H", data, at)
        at += 2
    kept = 0
    if version == 4:
        dropped, at = _varint(data, at)
        if dropped > len(before):
            raise ValueError("a name is shorter than nothing")
        kept = len(before) - dropped
    end = data.index(b"\0", at)
    name = before[:kept] + data[at:end]
    at = end + 1 if version == 4 else start + ((end - start + 8) & ~7)  # padded to eight bytes
    entry = Entry(
        name.decode(errors="surrogateescape"), mode, oid, size, (mtime_s, mtime_ns), flags >> 12 & 3,
        bool(more & _SKIP_WORKTREE),
    )  # fmt: skip
    return entry, name, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in git's offset encoding, and where it ends."""
    byte = data[at]
    value = byte & 127
    while byte & 128:
        at += 1
        byte = data[at]
        value = ((value + 1) << 7) | (byte & 127)
        if value > MAX_BYTES:
            raise ValueError("a number is too large")
    return value, at + 1


def _refuse_unknown(data: bytes, at: int, oid_bytes: int) -> None:
    """Extensions without which the entries mean something else."""
    while at + 8 <= len(data) - oid_bytes:
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "big")
        if name in _KNOWN or not name[:1].isupper():
            raise IndexNotRead(f"it is of a kind that is not known here ({name!r})")
        at += 8 + size
