"""`placebo`: a control that samples at temperature 1 without truncation.

That is an exact fixed point of the loss: what it gains is noise or format, not folding.
"""

from __future__ import annotations

from forklock.models.contract import Decoding
from forklock.selfdistill.arms.arm import Arm
from forklock.selfdistill.contract import Recipe


class Placebo(Arm):
    name = "placebo"
    about = "temperature 1 without truncation: a control"

    def decoding(self, recipe: Recipe) -> Decoding:
        return Decoding(temperature=1.0, max_tokens=recipe.sampling.max_tokens)
