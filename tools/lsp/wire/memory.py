"""How much memory a language server may take, so that no repo takes the machine's through one (room `tools/`).

In: the environment, what the machine has. Out: MiB. A server in a control group is ended by the kernel at its bound;
where no group can be made it is looked at (`LOOK_S`) and ended then, so that a fast one overshoots.
"""

from __future__ import annotations

import os

VARIABLE = "FORKLOCK_SERVER_MB"
MOST_MB = 8192
LOOK_S = 0.2
PROCESSES = 2048
"""Threads count too. Only where a control group can be made."""


def bound_mb() -> int:
    """What FORKLOCK_SERVER_MB says; else half of the machine's memory, at most 8 GB. For each server."""
    said = os.environ.get(VARIABLE, "").strip()
    if said.isdigit() and int(said) > 0:
        return int(said)
    return min(MOST_MB, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**21)


def fix(bound: int) -> str:
    return f"set {VARIABLE} higher than {bound}, if this repository needs it"
