"""The event log of a run: append-only JSON lines, one event a line (`forklock.agent.log.schema`), readable after
kill -9.

`<run>/events.jsonl` holds the events, `<run>/blobs/<sha256>` every text over a kilobyte, once. Each line is written by
one `write` on an O_APPEND descriptor; a torn last line (power or kill in the middle) is dropped on reading, and
reported. Each line ends with a checksum of itself and of the lines before it (logs of the first version have none).
Everything else is derived from the log: the terminal view, `agent show`, resume, and self-distillation prompts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from forklock.agent.log.blobs import ROOM, read_text, store_text
from forklock.agent.log.blobs import LogFault as LogFault
from forklock.agent.log.schema import SCHEMA, Event, EventLine, RunStarted, Text
from forklock.sandbox.files.jsonl import DamagedLine, JsonLines, Scan, as_json, scan
from forklock.sandbox.files.reading import MEGABYTE, Unreadable, read_regular

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
    return LogRead(tuple(scanned.rows), torn=scanned.end < len(raw))


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, most_bytes=_MOST_LOG_BYTES)
    except (OSError, Unreadable) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError | Unreadable) -> LogFault:
    reason = error.strerror if isinstance(error, OSError) else error
    return LogFault(f"cannot read {path}: {reason}", fix="list the runs with `agent runs`")


def _scan(path: Path, raw: bytes) -> Scan[Event]:
    scanned: Scan[Event] = scan(raw, _parse, sealed=True)
    if scanned.damaged is not None:
        raise _damage(path, scanned.damaged)
    _check_schema(path, scanned.rows)
    return scanned


def _damage(path: Path, line: int) -> LogFault:
    return LogFault(
        f"{path}, line {line}, is damaged",
        fix=f"keep the {line - 1} good lines before it (`head -n {line - 1}`), or delete the run",
    )


def _parse(line: bytes) -> Event | None:
    try:
        return EventLine.validate_json(line)
    except (ValidationError, RecursionError):
        return None


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
        self._lines: JsonLines[Event] | None = None

    # -- writing ------------------------------------------------------------------------------------

    def open_for_append(self) -> bool:
        """Make the folder, cut a torn last line off. Returns True where one was cut.

        Raises:
            LogFault: it is no regular file, or is damaged before its last line.
        """
        self._blobs.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            lines: JsonLines[Event] = JsonLines(
                self.path, _parse, sealed=True, private=True, locked=False, most_bytes=_MOST_LOG_BYTES
            )
        except DamagedLine as error:
            raise _damage(self.path, error.line) from error
        except (OSError, Unreadable) as error:
            raise _unreadable(self.path, error) from error
        try:
            _check_schema(self.path, lines.rows)
        except LogFault:
            lines.close()
            raise
        lines.rows.clear()
        self._lines = lines
        return lines.torn_bytes > 0

    def append(self, event: Event) -> None:
        """Write one event.

        Raises:
            LogFault: the disk is full or the folder went away; what was written before stays readable.
        """
        if self._lines is None:
            raise LogFault("the run's log is not open")
        try:
            self._lines.append(as_json(event), after=lambda: self._tell(event))
        except OSError as error:
            raise LogFault(f"cannot write {self.path}: {error.strerror}", fix=ROOM) from error

    def _tell(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)

    def store(self, text: str) -> Text:
        """Redact `text`; keep it inline when short, else as a blob named by its hash."""
        return store_text(self._blobs, text)

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Have `listener` called with each event after it is written."""
        self._listeners.append(listener)

    def close(self) -> None:
        if self._lines is not None:
            self._lines.close()
            self._lines = None

    # -- reading ------------------------------------------------------------------------------------

    def text(self, text: Text) -> str:
        """The text behind a reference.

        Raises:
            LogFault: the blob is missing or does not match its hash.
        """
        return read_text(self._blobs, text)

    def read(self) -> LogRead:
        return read_events(self.path)
