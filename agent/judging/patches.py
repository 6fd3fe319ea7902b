"""Diffs of a whole tree, where a model drove: what of one is judged, and how it is applied under the guard.

In: a rollout's diff, and a fork of the workspace. Out: the changed files, each as an edit, or a refusal. Tests that the
model wrote are parts of the change that judge nothing, so they are split off before anything is judged.
"""

from __future__ import annotations

from pathlib import Path

from forklock.agent.contract import AgentFault
from forklock.agent.judging.guard import Guard
from forklock.agent.repo import apply_diff
from forklock.sandbox.linux.nofollow import read_inside
from forklock.tools.contract import EditRefused
from forklock.tools.edits.apply import AppliedEdit

_MOST_BYTES = 64 << 20


def apply_patch(guard: Guard, root: Path, diff: str) -> list[AppliedEdit]:
    """Apply a git diff to a workspace. A removed file has no text afterwards.

    Raises:
        EditRefused: it does not apply, or it changes what judges.
    """
    try:
        names = [one.name for one in apply_diff(root, diff, check_only=True)]
        before = {name: _text(root, name) for name in names}
        for name in names:
            refusal = guard.frozen.refusal(name, name, new=before[name] is None)
            if refusal is not None:
                raise EditRefused(refusal)
        apply_diff(root, diff)
    except AgentFault as fault:
        raise EditRefused(fault.message) from fault
    applied = [AppliedEdit(name, before[name], _text(root, name) or "") for name in names]
    for one in applied:
        guard.require_kept(one, one.path)
    return applied


def _text(root: Path, name: str) -> str | None:
    """The file's text, also of one that is no text; None where there is no regular file."""
    data = read_inside(root, name, _MOST_BYTES)
    return None if data is None else data.decode("utf-8", "surrogateescape")
