"""`soft`: learns the base's own truncated distribution at each token, instead of the token that was sampled.

SSD's cross-entropy on samples estimates, token by token, the divergence from the base's tempered and truncated
distribution. Here that distribution is computed from the base's logits, so that no sampling noise is learned: each
token tells as much as many samples of it would. The samples are the contexts only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from forklock.models.contract import FirstStage
from forklock.selfdistill.arms.arm import Arm
from forklock.selfdistill.data.dataset import Example

if TYPE_CHECKING:
    from torch import Tensor, nn


class Soft(Arm):
    name = "soft"
    about = "the base's own truncated distribution at each token, without sampling noise"

    def loss(self, model: nn.Module, rows: Sequence[Example], device: str, cut: FirstStage) -> Tensor:
        from forklock.selfdistill.training.train import soft_loss_sum

        return soft_loss_sum(model, rows, device, cut)
