"""`noise`: samples at temperature 2 without truncation.

Most of such samples hold no working code, and the paper still saw a gain (arXiv 2604.01193, its ablation of the
decoding): what is folded into the weights is the shape of the heads, not solutions.
"""

from __future__ import annotations

from forklock.models.contract import Decoding
from forklock.selfdistill.arms.arm import Arm
from forklock.selfdistill.contract import Recipe


class Noise(Arm):
    name = "noise"
    about = "samples at temperature 2 without truncation"

    def decoding(self, recipe: Recipe) -> Decoding:
        return Decoding(temperature=2.0, max_tokens=recipe.sampling.max_tokens)
