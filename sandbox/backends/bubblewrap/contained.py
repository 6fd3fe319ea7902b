"""Starts programs that only read a workspace, such as language servers, in name spaces of their own.

In: an argv, a workspace, and what else it may read and write. Out: an argv behind bubblewrap, with its descriptors.
The workspace is read-only, there is no network, and nothing else of the host is visible. Not covered: limits on
memory, and docker.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from forklock.sandbox.backends.bubblewrap.backend import owner_of, why_not
from forklock.sandbox.backends.bubblewrap.inside import bwrap_program
from forklock.sandbox.backends.bubblewrap.view import environment, view_read_only
from forklock.sandbox.contract import Policy
from forklock.sandbox.linux.seccomp import filter_descriptor


@dataclass(frozen=True, slots=True)
class Contained:
    argv: list[str]
    pass_fds: tuple[int, ...]


def why_not_contained(root: Path) -> str | None:
    """Return None if programs that read `root` can be contained, else the reason."""
    problem = why_not()
    if problem:
        return problem[0]
    return "the workspace is another user's" if owner_of(root) else None


@contextmanager
def contained(
    argv: Sequence[str],
    root: Path,
    *,
    readable: Sequence[Path] = (),
    writable: Sequence[Path] = (),
    env: Mapping[str, str],
) -> Iterator[Contained]:
    """Yield the argv to start within the block; `argv[0]` is a path. The program ends with the thread that starts it.

    Raises:
        SandboxFault: there is no place for what it is shown of `/etc`.
    """
    places = view_read_only(root, Policy(readable=tuple(dict.fromkeys(readable))), writable)
    filter_ = filter_descriptor()
    descriptors = () if filter_ is None else (filter_,)
    places += [word for fd in descriptors for word in ("--seccomp", str(fd))]
    try:
        yield Contained(
            [bwrap_program(), *places, *environment(env), "--chdir", str(root), "--", *argv],
            descriptors,
        )
    finally:
        for fd in descriptors:
            os.close(fd)
