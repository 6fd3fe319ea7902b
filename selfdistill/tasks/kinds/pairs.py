"""`pairs`: two bugs of other tasks at once, in different functions."""

from __future__ import annotations

import random
from collections.abc import Iterator

from forklock.selfdistill.tasks.contract import Bug, RepairTask
from forklock.selfdistill.tasks.kinds.kind import Kind, Work
from forklock.tools.edits.hunks import applied, hunks_of

SHARE = 3
"""One pair is proposed for each so many tasks."""


def propose(work: Work) -> Iterator[Bug]:
    """Yield pairs of tasks of one split that no function joins, drawn with the seed."""
    drawn = random.Random(f"{work.seed}/pairs")  # noqa: S311 - a reproducible choice
    alone = sorted((task for task in work.valid if task.kind != "pairs"), key=lambda task: task.task_id)
    drawn.shuffle(alone)
    wanted, made = len(alone) // SHARE, 0
    for number, one in enumerate(alone):
        if made >= wanted:
            return
        rest = alone[number + 1 :]
        other = next(
            (task for task in rest if task.split == one.split and not {*task.places} & {*one.places}), None
        )
        bug = _joined(work, one, other) if other is not None else None
        if bug is not None:
            made += 1
            yield bug


def _joined(work: Work, one: RepairTask, other: RepairTask) -> Bug | None:
    files: dict[str, str] = {}
    hunks = sorted([*hunks_of(one.bug), *hunks_of(other.bug)], key=lambda hunk: (hunk.path, hunk.start))
    for path in dict.fromkeys(hunk.path for hunk in hunks):
        text = work.text(path)
        made = applied(text, [hunk for hunk in hunks if hunk.path == path]) if text is not None else None
        if made is None:
            return None
        files[path] = made
    return Bug("pairs", files, (*one.places, *other.places), f"{one.task_id} and {other.task_id}")


KIND = Kind("pairs", "two bugs at once", propose, later=True)
