"""Keeps the append-only history of one base's adapters: which versions were reserved and which served, in order.

In: events. Out: what serves now and what served before. Written ahead of the pointer that servers read, so
that a promotion or rollback that was killed halfway is finished later.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from forklock.sandbox.files.jsonl import append_line, as_json, parser, whole_lines

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
        """Return the events, oldest first. A line torn by a crash is dropped: it never took effect."""
        return [event for event in map(parser(Event), whole_lines(self.path)) if event is not None]

    def append(self, kind: EventKind, version: str | None) -> None:
        """Append an event; it is on disk when this returns."""
        event = Event(at=datetime.now(UTC), kind=kind, version=version)
        append_line(self.path, as_json(event), durable=True)

    def served(self) -> list[str | None]:
        """Return the versions that served, the present one last; rollbacks have removed what they undid."""
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
        """Return the latest promotion or rollback."""
        moves = [event.kind for event in self.events() if event.kind in ("promoted", "rolled back")]
        return moves[-1] if moves else None
