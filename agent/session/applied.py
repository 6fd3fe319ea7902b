"""Takes a run's diff into the user's tree, and takes it back.

In: a log, a diff, the tree. Out: changed files, and events that say which files were changed from what to what, so that
the same diff is not applied twice, and is taken back only from files that are as it left them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from forklock.agent.contract import AgentFault
from forklock.agent.log import ChangedFile, DiffApplied, DiffUndone, RunLog, RunStarted
from forklock.agent.log.runs import iter_runs
from forklock.agent.repo import apply_diff, commit_files, require_committable, state_digest


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of `agent apply`."""

    files: tuple[str, ...]
    already: bool = False
    """The tree had the change before."""
    commit: str | None = None


def applied_now(log: RunLog) -> DiffApplied | None:
    """Returns the diff of a run that was applied last, unless it was taken back."""
    found = None
    for event in log.read().events:
        if isinstance(event, DiffApplied):
            found = event
        elif isinstance(event, DiffUndone):
            found = None
    return found


def last_applied(root: Path) -> tuple[RunLog, DiffApplied] | None:
    """Returns what was applied to a tree last, over all its runs."""
    found = [(log, event) for log in iter_runs(root) if (event := applied_now(log)) is not None]
    return max(found, key=lambda pair: pair[1].at, default=None)


def take(log: RunLog, root: Path, diff: str, *, candidate: str = "", commit: bool = False) -> Taken:
    """Applies a diff to the tree, all of it or nothing, and logs it.

    Raises:
        AgentFault: it does not apply, or cannot be committed; nothing was changed then.
    """
    before = applied_now(log)
    if before is not None and before.candidate == candidate and _is_there(root, diff):
        return Taken(tuple(file.name for file in before.files), already=True)
    try:
        files = apply_diff(root, diff, check_only=True)
    except AgentFault:
        if _is_there(root, diff):
            return Taken((), already=True)
        raise
    names = tuple(file.name for file in files)
    head = require_committable(root, files) if commit else ""
    apply_diff(root, diff)
    made = commit_files(root, head, names, _message(log)) if commit else None
    log.open_for_append()
    try:
        changed = [ChangedFile(name=file.name, before=file.before, after=file.after) for file in files]
        log.append(
            DiffApplied(repo=str(root), diff=log.store(diff), candidate=candidate, files=changed, commit=made)
        )
    finally:
        log.close()
    return Taken(names, commit=made)


def take_back(log: RunLog, applied: DiffApplied, root: Path) -> tuple[str, ...]:
    """Takes an applied diff back, and logs it. Returns the files.

    Raises:
        AgentFault: files are not as it left them.
    """
    run = log.folder.name
    changed = [_why(root, file) for file in applied.files if state_digest(root, file.name) != file.after]
    by_hand = f"agent show {run} --diff | git apply --reverse"
    if changed:
        raise AgentFault(
            f"run {run} is not taken back, since files are not as it left them: {', '.join(changed[:5])}",
            fix=f"put them back as they were, or take back what still fits: {by_hand}",
        )
    if applied.diff is None:
        raise AgentFault(f"an earlier version applied run {run} and did not record how", fix=by_hand)
    diff = log.text(applied.diff)
    files = apply_diff(root, diff, check_only=True, reverse=True)
    wrong = {file.name: file.before for file in applied.files}
    odd = [file.name for file in files if wrong.get(file.name) != file.after]
    if odd:
        raise AgentFault(
            f"run {run} is not taken back: {odd[0]} would not become what it was before", fix=by_hand
        )
    apply_diff(root, diff, reverse=True)
    log.open_for_append()
    try:
        log.append(DiffUndone(repo=str(root)))
    finally:
        log.close()
    return tuple(file.name for file in files)


def _is_there(root: Path, diff: str) -> bool:
    try:
        apply_diff(root, diff, check_only=True, reverse=True)
    except AgentFault:
        return False
    return True


def _why(root: Path, file: ChangedFile) -> str:
    now = state_digest(root, file.name)
    if not now:
        return f"{file.name} is gone"
    return f"{file.name} is there again" if not file.after else f"{file.name} has changed"


def _message(log: RunLog) -> str:
    """The commit's message: the task's first line, and where the change comes from."""
    first = log.read().events[0]
    task = log.text(first.task).strip() if isinstance(first, RunStarted) else ""
    title = " ".join((task.splitlines() or [""])[0].split())
    if len(title) > 72:
        title = f"{title[:71]}…"
    return f"{title or 'Change by Forklock'}\n\nForklock-Run: {log.folder.name}\n"
