"""Stores tasks: in the user's state folder, by repository, content-addressed, one file each.

`<state>/tasks/<key>/` holds `grounds/<digest>.json`, `tasks/<task id>.json`, `answers/<task id>.json` (what the broken
code answers, to find tasks that are the same), `asked/` (requests that the agent would send) and `tried.jsonl`, one
line for each proposal that was tried. A task is written before its line: after a kill it is tried again and comes out
as the same file. The lock on `tried.jsonl` lets one process make tasks of a repository at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from forklock.agent.log.runs import kept_folder, top_of
from forklock.sandbox.files.atomic import write_atomic
from forklock.sandbox.files.jsonl import DamagedLine, JsonLines, as_json, parser, scan
from forklock.sandbox.files.reading import Unreadable, read_regular
from forklock.selfdistill.tasks.contract import Ground, RepairTask, TaskFault

_MOST_BYTES = 64 << 20
_ID = re.compile(r"[\w.+-]+")
_ANSWERS: TypeAdapter[dict[str, str]] = TypeAdapter(dict[str, str])
VALID = "valid"
Model = TypeVar("Model", bound=BaseModel)


class Tried(BaseModel):
    """What came of one proposal."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str
    """Digest of ground and proposal."""
    program: str = ""
    """Digest of the program that the proposal makes."""
    ground: str
    kind: str
    outcome: str
    """`valid`, or why it is no task."""
    task_id: str = ""
    source: str = ""
    seconds: float
    """Wall-clock seconds of the tries, all of them together."""


@dataclass(frozen=True, slots=True)
class TaskStore:
    """The tasks of one repository."""

    root: Path
    folder: Path

    @classmethod
    def of(cls, repo: Path) -> TaskStore:
        """Open the store of the repository that a folder lies in; it is made if there is none."""
        root = top_of(repo)
        folder = kept_folder(root, "tasks")
        for name in ("grounds", "tasks", "answers", "asked"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        return cls(root, folder)

    # -- grounds ------------------------------------------------------------------------------------

    def ground(self, digest: str) -> Ground | None:
        """Return a ground, if it is there and readable."""
        return _read(self.folder / "grounds" / f"{digest}.json", Ground)

    def current(self) -> Ground | None:
        """Return the ground that tasks were made on last."""
        try:
            digest = read_regular(self.folder / "current", most_bytes=1024).decode("ascii").strip()
        except (OSError, ValueError, Unreadable):
            return None
        return self.ground(digest) if _ID.fullmatch(digest) else None

    def save_ground(self, ground: Ground) -> None:
        write_atomic(self.folder / "grounds" / f"{ground.digest}.json", ground.model_dump_json())
        self.make_current(ground)

    def make_current(self, ground: Ground) -> None:
        write_atomic(self.folder / "current", ground.digest + "\n")

    # -- tasks --------------------------------------------------------------------------------------

    def tasks(self, ground: Ground | None = None) -> list[RepairTask]:
        """Return the tasks of a ground (all where none is given), sorted by id."""
        found = (_read(path, RepairTask) for path in sorted((self.folder / "tasks").glob("*.json")))
        return [
            task for task in found if task is not None and (ground is None or task.ground == ground.digest)
        ]

    def task(self, task_id: str) -> RepairTask:
        """Return the task of an id, or of an unambiguous beginning of one.

        Raises:
            TaskFault: there is none, or there are several.
        """
        found = [task for task in self.tasks() if task_id and task.task_id.startswith(task_id)]
        found = [task for task in found if task.task_id == task_id] or found
        if len(found) != 1:
            what = "more than one task" if found else "no task"
            raise TaskFault(
                f"{what} of {self.root} is called {task_id!r}", fix="see `selfdistill tasks list`"
            )
        return found[0]

    def add(self, task: RepairTask, answers: dict[str, str]) -> None:
        write_atomic(
            self.folder / "answers" / f"{task.task_id}.json", _ANSWERS.dump_json(answers), durable=False
        )
        write_atomic(self.folder / "tasks" / f"{task.task_id}.json", task.model_dump_json(indent=1) + "\n")

    def answers(self, task: RepairTask) -> dict[str, str]:
        """Return what a task's broken code answers; empty where that is not there."""
        try:
            raw = read_regular(self.folder / "answers" / f"{task.task_id}.json", most_bytes=_MOST_BYTES)
            return _ANSWERS.validate_json(raw)
        except (OSError, ValueError, Unreadable):
            return {}

    # -- tries --------------------------------------------------------------------------------------

    def tried(self) -> list[Tried]:
        """Return all tries, without the lock."""
        try:
            raw = read_regular(self.folder / "tried.jsonl", most_bytes=_MOST_BYTES)
        except (OSError, Unreadable):
            return []
        return scan(raw, parser(Tried)).rows

    @contextmanager
    def making(self) -> Iterator[JsonLines[Tried]]:
        """Hold the list of tries open for appending.

        Raises:
            TaskFault: another process makes tasks of this repository, or the list is damaged.
        """
        path = self.folder / "tried.jsonl"
        try:
            lines = JsonLines(path, parser(Tried), private=True)
        except BlockingIOError as error:
            raise TaskFault(
                f"another `selfdistill tasks` works on {self.root}",
                fix="wait for it, or end it: nothing is lost",
            ) from error
        except DamagedLine as error:
            raise TaskFault(
                str(error), fix=f"remove {path}: proposals are tried again, tasks stay"
            ) from error
        with lines:
            yield lines


def append(lines: JsonLines[Tried], row: Tried) -> None:
    """Append a try.

    Raises:
        OSError: it cannot be written.
    """
    lines.append(as_json(row))


def _read(path: Path, kind: type[Model]) -> Model | None:
    try:
        return kind.model_validate_json(read_regular(path, most_bytes=_MOST_BYTES))
    except (OSError, Unreadable, ValidationError, RecursionError):
        return None
