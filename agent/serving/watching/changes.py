"""Says when files of a repository have changed, as git sees it: ignored files, and git's own, do not count.

In: a folder. Out: the end of each burst of changes. The kernel tells of changes anywhere below the folder
(`watchfiles`); whether they count is seen by comparing the files that git does not ignore before and after.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

from forklock.agent.contract import AgentFault
from forklock.sandbox.git.repository import is_gits
from forklock.sandbox.git.tree import OURS, list_files

_QUIET_MS = 400
"""Milliseconds without a change that end a burst: an editor that saves all, a checkout."""
_BURST_MS = 5000
"""Longest burst."""
_LOOK_MS = 1000
"""How often the end of the program is looked for."""

State = dict[str, tuple[int, int, int]]
"""Modification time in ns, size and mode of each file that counts."""


def state_of(root: Path) -> State:
    """What the files are like now.

    Raises:
        SandboxFault: a folder cannot be read, or it takes too long.
    """
    found: State = {}
    for name in list_files(root):
        try:
            stat = os.lstat(root / name)
        except OSError:  # gone meanwhile
            continue
        found[name] = stat.st_mtime_ns, stat.st_size, stat.st_mode
    return found


def changed_names(before: State, now: State) -> list[str]:
    """Files that were changed, made or removed, sorted."""
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


async def bursts(root: Path) -> AsyncIterator[None]:
    """Yield after each burst of changes below `root`, also of files that do not count.

    Raises:
        AgentFault: the kernel cannot watch so many folders.
    """
    from watchfiles import awatch

    def counts(_change: object, path: str) -> bool:
        try:
            parts = Path(path).relative_to(root).parts
        except ValueError:
            return True
        return not any(is_gits(part) for part in parts) and parts[:1] != (OURS,)

    try:
        async for _ in awatch(
            root, watch_filter=counts, debounce=_BURST_MS, step=_QUIET_MS, rust_timeout=_LOOK_MS
        ):
            yield
    except OSError as error:
        raise AgentFault(
            f"{root} cannot be watched: {error}",
            fix="raise fs.inotify.max_user_watches, or set WATCHFILES_FORCE_POLLING=1",
        ) from error
