"""The list of kinds. To add one, write its file and put it into `KINDS` (docs/practice.md, "How to add a kind")."""

from __future__ import annotations

from forklock.selfdistill.tasks.contract import TaskFault
from forklock.selfdistill.tasks.kinds import failures, history, mutation, pairs, removal
from forklock.selfdistill.tasks.kinds.kind import Kind

KINDS: dict[str, Kind] = {
    module.KIND.name: module.KIND for module in (history, removal, failures, mutation, pairs)
}
"""In the order in which they take turns."""


def chosen_kinds(words: str) -> list[Kind]:
    """Return the kinds that `--kinds` names, joined by commas; all for "".

    Raises:
        TaskFault: there is no such kind.
    """
    names = [word.strip() for word in words.split(",") if word.strip()]
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        raise TaskFault(f"there is no kind {unknown[0]!r}", fix=f"take some of {', '.join(KINDS)}")
    return [kind for name, kind in KINDS.items() if not names or name in names]
