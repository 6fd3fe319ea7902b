"""Ways of asking a model for a change, one file each, and the list of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from forklock.agent.asking.way import Way
from forklock.agent.asking.ways import (
    bare,
    continuation,
    correct,
    ending,
    fork,
    gap,
    repair,
    revision,
    rewrite,
)

WAYS: dict[str, Way] = {
    module.WAY.name: module.WAY
    for module in (rewrite, bare, ending, gap, continuation, revision, correct, fork, repair)
}
"""All ways by name. A new way is a file here and an entry in this list."""


def _known(name: str) -> str:
    if name not in WAYS:
        raise ValueError(f"no way of asking is called {name!r}; there are {', '.join(WAYS)}")
    return name


WayName = Annotated[str, AfterValidator(_known)]
"""Name of a way, checked where settings and logs are read."""
