"""`ssd`: the paper's method (arXiv 2604.01193). One raw sample per prompt; nobody looks whether it is right."""

from __future__ import annotations

from forklock.selfdistill.arms.arm import Arm


class Ssd(Arm):
    name = "ssd"
    about = "the paper: one raw sample per prompt, no correctness filter"
