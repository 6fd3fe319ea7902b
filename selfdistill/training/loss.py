"""Computes cross-entropy over a wide vocabulary in bounded memory.

In: hidden states of the positions that are trained on, the (frozen) output layer, target ids.
Out: the *sum* of the negative log-likelihoods, differentiable in the hidden states.
Not covered: training the output layer itself, and heads that reshape logits (soft-capping, scaling).

Full logits of 2,000 tokens over 152k entries take 1.2 GB in fp32, and backward holds them twice. Here the logits of a
chunk exist only while its loss *and* its gradient are computed, as in Liger's fused linear cross-entropy
(arXiv 2410.10989). Backward only scales the stored gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK = 128
"""Positions per chunk: 128 x 152k fp32 logits are 78 MB."""


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, chunk: int
    ) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden)
        for start in range(0, hidden.shape[0], chunk):
            rows = slice(start, start + chunk)
            logits = torch.nn.functional.linear(hidden[rows], weight, bias).float()
            log_probs = torch.log_softmax(logits, dim=-1)
            total -= log_probs.gather(1, targets[rows, None]).sum()
            # d(-log p_target)/d logits = p - onehot(target)
            slope = log_probs.exp_()
            slope.scatter_add_(1, targets[rows, None], torch.full_like(slope[:, :1], -1.0))
            gradient[rows] = slope.to(weight.dtype) @ weight
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0].to(gradient.dtype), None, None, None, None


def cross_entropy_sum(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, bias: Tensor | None = None, chunk: int = CHUNK
) -> Tensor:
    """Return the sum over positions of -log softmax(hidden @ weight.T + bias)[target], in nats.

    Args:
        hidden: (positions, width), already shifted: row i predicts `targets[i]`.
        weight: (vocabulary, width); gets no gradient.
        targets: (positions,), int64.
        chunk: number of positions whose logits exist at one time.
    """
    return _ChunkedCrossEntropy.apply(hidden, weight, bias, targets, chunk)
