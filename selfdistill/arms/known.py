"""The list of arms. A new one is a line here and a file beside it (docs/self-distillation.md)."""

from __future__ import annotations

from forklock.selfdistill.arms.arm import Arm
from forklock.selfdistill.arms.noise import Noise
from forklock.selfdistill.arms.placebo import Placebo
from forklock.selfdistill.arms.rft import Rft
from forklock.selfdistill.arms.soft import Soft
from forklock.selfdistill.arms.ssd import Ssd
from forklock.selfdistill.contract import RoundFault

ARMS: dict[str, Arm] = {arm.name: arm for arm in (Ssd(), Soft(), Rft(), Noise(), Placebo())}


def find_arm(name: str) -> Arm:
    """Return the arm of this name.

    Raises:
        RoundFault: there is none.
    """
    if name not in ARMS:
        raise RoundFault(f"{name!r} is no arm", fix=f"--arm takes {', '.join(ARMS)}")
    return ARMS[name]


def arm_name(name: str) -> str:
    """Check a name in settings.

    Raises:
        ValueError: there is no such arm.
    """
    if name not in ARMS:
        raise ValueError(f"takes {', '.join(ARMS)}")
    return name
