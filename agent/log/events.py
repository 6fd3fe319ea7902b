"""The event log of a run: append-only JSON lines, one event a line (`agent.log.schema`), readable after kill -9.

`<run>/events.jsonl` holds the events, `<run>/blobs/<sha256>` every text over a kilobyte, once. Each line is written by
one `write` on an O_APPEND descriptor; a torn last line (power or kill in the middle) is dropped on reading, and
reported. Each line ends with a checksum of itself and of the lines before it (logs of the first version have none).
Everything else is derived from the log: the terminal view, `agent show`, resume, and self-distillation prompts.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from agent.log.blobs import ROOM, read_text, store_text
from agent.log.logfile import LogFault as LogFault
from agent.log.logfile import Scan, scan, seal
from agent.log.schema import SCHEMA, Event, EventLine, RunStarted, Text
from sandbox.reading import MEGABYTE, Unreadable, read_regular

_MOST_LOG_BYTES = 512 * MEGABYTE


@dataclass(frozen=True, slots=True)
class LogRead:
    """What a log holds. `torn` is True when a broken last line was dropped."""

    events: tuple[Event, ...]
    torn: bool


def read_events(path: Path) -> LogRead:
    """Read `events.jsonl`.

    Raises:
        LogFault: no such file, a damaged line that is not the last, or a schema newer than this reader.
    """
    raw = _read(path)
    scanned = _scan(path, raw)
    return LogRead(tuple(scanned.events), torn=scanned.end < len(raw))


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, most_bytes=_MOST_LOG_BYTES)
    except (OSError, Unreadable) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise LogFault(f"cannot read {path}: {reason}", fix="list the runs with `agent runs`") from error


def _scan(path: Path, raw: bytes) -> Scan[Event]:
    scanned: Scan[Event] = scan(raw, _parse)
    good = (scanned.damaged or 1) - 1
    if scanned.damaged is not None:
        raise LogFault(
            f"{path}, line {scanned.damaged}, is damaged",
            fix=f"keep the {good} good lines before it (`head -n {good}`), or delete the run",
        )
    _check_schema(path, scanned.events)
    return scanned


def _parse(line: bytes) -> Event | None:
    try:
        return EventLine.validate_json(line)
    except (ValidationError, RecursionError):
        return None


def _json(event: Event) -> bytes:
    try:
        return event.model_dump_json().encode()
    except ValueError:  # half a surrogate pair, such as a file name that is no UTF-8 has
        return json.dumps(event.model_dump(mode="json"), ensure_ascii=False).encode("utf-8", "replace")


def _check_schema(path: Path, events: list[Event]) -> None:
    first = events[0] if events else None
    if first is not None and not isinstance(first, RunStarted):
        raise LogFault(f"{path} does not begin with run_started", fix="delete the run; its log is damaged")
    if isinstance(first, RunStarted) and first.schema_version > SCHEMA:
        raise LogFault(f"{path} was written by a newer Forklock", fix="upgrade Forklock to read it")


class RunLog:
    """Writer and reader of one run's folder. One writer at a time; `append` may be called from threads."""

    def __init__(self, folder: Path, *, adopted: bool = False) -> None:
        self.folder = folder
        self.adopted = adopted
        """Copied in from elsewhere: can be looked at, and is no word of the user's."""
        self.path = folder / "events.jsonl"
        self._blobs = folder / "blobs"
        self._listeners: list[Callable[[Event], None]] = []
        self._descriptor: int | None = None
        self._chain = b""
        self._lock = threading.Lock()

    # -- writing ------------------------------------------------------------------------------------

    def open_for_append(self) -> bool:
        """Make the folder, cut a torn last line off. Returns True where one was cut.

        Raises:
            LogFault: the log is no regular file, or is damaged before its last line.
        """
        self._blobs.mkdir(mode=0o700, parents=True, exist_ok=True)
        torn = self._cut_torn_tail() if os.path.lexists(self.path) else False
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, 0o600)
        return torn

    def _cut_torn_tail(self) -> bool:
        raw = _read(self.path)
        scanned = _scan(self.path, raw)
        self._chain = scanned.chain
        if scanned.end == len(raw):
            return False
        os.truncate(self.path, scanned.end)
        return True

    def append(self, event: Event) -> None:
        """Write one event.

        Raises:
            LogFault: the disk is full or the folder went away; what was written before stays readable.
        """
        if self._descriptor is None:
            raise LogFault("the run's log is not open")
        body = _json(event)
        with self._lock:
            line, chain = seal(body, self._chain)
            try:
                written = os.write(self._descriptor, line)
            except OSError as error:
                raise LogFault(f"cannot write {self.path}: {error.strerror}", fix=ROOM) from error
            if written != len(line):
                raise LogFault(f"cannot write {self.path}: the disk is full", fix=ROOM)
            self._chain = chain
            for listener in self._listeners:
                listener(event)

    def store(self, text: str) -> Text:
        """Redact `text`; keep it inline when short, else as a blob named by its hash."""
        return store_text(self._blobs, text)

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Have `listener` called with each event after it is written."""
        self._listeners.append(listener)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    # -- reading ------------------------------------------------------------------------------------

    def text(self, text: Text) -> str:
        """The text behind a reference.

        Raises:
            LogFault: the blob is missing or does not match its hash.
        """
        return read_text(self._blobs, text)

    def read(self) -> LogRead:
        return read_events(self.path)
