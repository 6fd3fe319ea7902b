"""The append-only history of one base's adapters: which versions were named, which served, and in what order.

In: events. Out: what serves now and what served before. Written ahead of the pointer that servers read, so
that a promotion or roll-back killed halfway is finished, not guessed.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

EventKind = Literal["reserved", "promoted", "rolled back", "deleted"]


class Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    at: datetime
    kind: EventKind
    version: str | None
    """The version that it is about; after a roll-back, the one that serves again (None: the bare base)."""


class History:
    def __init__(self, path: Path) -> None:
        self.path = path

    def events(self) -> list[Event]:
        """Oldest first. A line torn by a crash is dropped: what it meant never took effect."""
        found = []
        for line in self.path.read_bytes().splitlines() if self.path.is_file() else []:
            try:
                found.append(Event.model_validate_json(line))
            except ValidationError:
                continue
        return found

    def append(self, kind: EventKind, version: str | None) -> None:
        """On disk when this returns."""
        event = Event(at=datetime.now(UTC), kind=kind, version=version)
        with self.path.open("ab+") as file:
            if _is_torn(file):
                file.write(b"\n")
            file.write(event.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def served(self) -> list[str | None]:
        """What has served, the present one last; roll-backs have taken off what they undid."""
        served: list[str | None] = [None]
        for event in self.events():
            if event.kind == "promoted":
                served.append(event.version)
            elif event.kind == "rolled back":
                served.pop()
                while len(served) > 1 and served[-1] != event.version:
                    served.pop()
        return served or [None]

    def last_move(self) -> EventKind | None:
        """The latest promotion or roll-back."""
        moves = [event.kind for event in self.events() if event.kind in ("promoted", "rolled back")]
        return moves[-1] if moves else None


def _is_torn(file: BinaryIO) -> bool:
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"
