"""What tests of the room share: one judge, which opens its sandbox once a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from forklock.evals.judging.judge import Judge
from forklock.sandbox import BackendName, SandboxFault
from forklock.sandbox.bubblewrap import backend as bubblewrap

FASTEST: BackendName = "auto" if bubblewrap.why_not() else "bubblewrap"
"""bubblewrap where it works: a judge in it starts three times as fast as in a container. `auto` is tested elsewhere."""


@pytest.fixture(scope="session")
def shared_judge() -> Iterator[Judge]:
    """A judge with the usual limits, for all tests that need no other."""
    try:
        opened = Judge(FASTEST)
    except SandboxFault as fault:
        pytest.skip(f"no sandbox on this machine: {fault.message}")
    with opened:
        yield opened
