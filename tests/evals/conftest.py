"""What tests of the room share: one judge, which opens its sandbox once a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastest import FASTEST

from forklock.evals.judging.judge import Judge
from forklock.sandbox import SandboxFault


@pytest.fixture(scope="session")
def shared_judge() -> Iterator[Judge]:
    """A judge with the usual limits, for all tests that need no other."""
    try:
        opened = Judge(FASTEST)
    except SandboxFault as fault:
        pytest.skip(f"no sandbox on this machine: {fault.message}")
    with opened:
        yield opened
