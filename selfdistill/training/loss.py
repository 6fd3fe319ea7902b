"""Computes cross-entropy over a wide vocabulary in bounded memory.

In: hidden states of the positions that are trained on, the (frozen) output layer, and what they should predict: one
token each, or a distribution over a few (`Targets`).
Out: the *sum* of the cross-entropies, differentiable in the hidden states.
Not covered: training the output layer itself, and heads that reshape logits (soft-capping, scaling).

Full logits of 2,000 tokens over 152k entries take 1.2 GB in fp32, and backward holds them twice. Here the logits of a
chunk exist only while its loss *and* its gradient are computed, as in Liger's fused linear cross-entropy
(arXiv 2410.10989). Backward only scales the stored gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from forklock.models.contract import FirstStage

CHUNK = 128
"""Positions per chunk: 128 x 152k fp32 logits are 78 MB."""


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Targets, chunk: int
    ) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden)
        for start in range(0, hidden.shape[0], chunk):
            rows = slice(start, start + chunk)
            logits = torch.nn.functional.linear(hidden[rows], weight, bias).float()
            log_probs = torch.log_softmax(logits, dim=-1)
            ids, shares = targets.ids[rows], targets.shares[rows]
            total -= (log_probs.gather(1, ids) * shares).sum()
            # d(-sum of share x log p)/d logits = p - shares, as the shares of a position sum to 1
            slope = log_probs.exp_()
            slope.scatter_add_(1, ids, -shares)
            gradient[rows] = slope.to(weight.dtype) @ weight
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0].to(gradient.dtype), None, None, None, None


@dataclass(frozen=True)
class Targets:
    """A distribution over a few tokens for each position."""

    ids: Tensor
    """(positions, width), int64; different within a row where their share is above 0."""
    shares: Tensor
    """(positions, width), float32; each row sums to 1."""

    def entropy_sum(self) -> Tensor:
        """Return the sum of the positions' entropies, in nats: the least that the cross-entropy can be."""
        return torch.special.entr(self.shares).sum()


def cross_entropy_sum(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor | Targets,
    *,
    bias: Tensor | None = None,
    chunk: int = CHUNK,
) -> Tensor:
    """Return the sum over positions of the cross-entropy of softmax(hidden @ weight.T + bias), in nats.

    Args:
        hidden: (positions, width), already shifted: row i predicts `targets[i]`.
        weight: (vocabulary, width); gets no gradient.
        targets: one token per position, (positions,), int64; or a distribution.
        chunk: number of positions whose logits exist at one time.
    """
    if isinstance(targets, Tensor):
        targets = Targets(targets[:, None], torch.ones_like(targets[:, None], dtype=torch.float32))
    return _ChunkedCrossEntropy.apply(hidden, weight, bias, targets, chunk)


def truncated_targets(
    hidden: Tensor, weight: Tensor, cut: FirstStage, *, bias: Tensor | None = None, chunk: int = CHUNK
) -> Targets:
    """Return a teacher's distribution at each position after temperature, top-k and top-p. Nothing is differentiable.

    Args:
        hidden: (positions, width) of the teacher.
        cut: with a `top_k` above 0: that many tokens are kept at most.

    Raises:
        ValueError: `cut` keeps tokens of any rank.
    """
    from forklock.models.engines.transformers_engine.sampling import survivors, top_values

    if not cut.top_k:
        raise ValueError("soft targets need a top-k")
    ids, shares = [], []
    with torch.no_grad():
        for start in range(0, hidden.shape[0], chunk):
            logits = torch.nn.functional.linear(hidden[start : start + chunk], weight, bias).float()
            values, top = top_values(logits, cut.top_k)
            _, kept = survivors(logits, cut)
            shares.append(values.div(cut.temperature).masked_fill(~kept, -torch.inf).softmax(-1))
            ids.append(top)
    return Targets(torch.cat(ids), torch.cat(shares))
