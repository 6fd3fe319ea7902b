"""Other coding agents, as `bench/solve_peers.py` runs them: one file an agent.

Each is started by its own command from an environment of its own, in the versions of `scripts/bench.sh`, on a private
copy of the task's repository in a sandbox that shows that copy, the environment and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Job:
    """One try of one task."""

    statement: str
    """The same words for every peer: the task, the check and what it prints now."""
    test: str
    """Command of the check."""
    file: str
    """The file with the bug, relative to the repository."""
    test_file: str
    """The file of the check; "" where its command names none."""
    model: str
    url: str
    """Address of the metered server, with `/v1`."""
    number: int
    """Number of the try, from 0."""
    max_tokens: int
    """Tokens of one answer at most: a small model that runs in circles would else spend the budget on one."""
    context_tokens: int
    settings: str
    """Folder of `Peer.files`, as the sandbox sees it."""
    python: str
    """`bin` folder of the peer's environment."""


class Peer(Protocol):
    """An agent, as the bench sees it."""

    name: str

    def files(self, job: Job) -> Mapping[str, str]:
        """Settings files by name, which the agent can read and not change."""
        ...

    def command(self, job: Job) -> list[str]:
        """Return the words that start it in the repository."""
        ...

    def variables(self, job: Job) -> Mapping[str, str]:
        """Return its environment."""
        ...
