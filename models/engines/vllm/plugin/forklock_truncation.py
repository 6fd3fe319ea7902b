"""Top-k, then top-p over the survivors, then min-p, without sorting the vocabulary (room `models/`).

In: a batch of logits after temperature. Out: the same with what was cut set to -inf. vLLM's own CPU path
sorts every row's whole vocabulary as soon as top_p is set, and applies min-p first; this keeps the
contract's order, and at 150k tokens it costs a partial sort. Needs torch and nothing else: it is imported by
the server's interpreter (through PYTHONPATH), never by ours outside tests.
"""

from __future__ import annotations

import torch

PROBE = 512
"""How many leading tokens top-p without top-k looks at before it falls back to a full sort."""


def truncate(logits: torch.Tensor, top_k: list[int], top_p: list[float], min_p: list[float]) -> torch.Tensor:
    """Cut each row by its own settings, in place.

    Args:
        logits: [rows, vocabulary], temperature already applied.
        top_k: per row, 0 keeps all.
        top_p: per row, 1 keeps all. The token that crosses the mass is kept.
        min_p: per row, relative to the likeliest token; 0 keeps all.
    """
    vocabulary = logits.shape[-1]
    limited = [row for row, k in enumerate(top_k) if 0 < k < vocabulary]
    nucleus = [row for row, k in enumerate(top_k) if not 0 < k < vocabulary and top_p[row] < 1]
    if limited:
        counts = torch.tensor([top_k[row] for row in limited], device=logits.device)
        _cut(logits, limited, counts, [top_p[row] for row in limited])
    if nucleus:
        _nucleus(logits, nucleus, [top_p[row] for row in nucleus])
    relative = [row for row, p in enumerate(min_p) if p > 0]
    if relative:
        chosen = logits[relative]
        share = torch.tensor([min_p[row] for row in relative], device=logits.device).log().unsqueeze(1)
        floor = chosen.max(dim=-1, keepdim=True).values + share
        logits[relative] = chosen.masked_fill(chosen < floor, -torch.inf)
    return logits


def _cut(logits: torch.Tensor, rows: list[int], counts: torch.Tensor, top_p: list[float]) -> None:
    """Top-k, then top-p renormalised over the survivors."""
    values, ids = logits[rows].topk(int(counts.max()), dim=-1)
    ranks = torch.arange(values.shape[1], device=logits.device)
    values = values.masked_fill(ranks >= counts.unsqueeze(1), -torch.inf)
    _keep(logits, rows, values, ids, values.softmax(dim=-1), top_p)


def _nucleus(logits: torch.Tensor, rows: list[int], top_p: list[float]) -> None:
    """Top-p alone: the leading tokens usually hold the mass already; sort everything only if not."""
    chosen = logits[rows]
    total = chosen.logsumexp(dim=-1, keepdim=True)
    size = min(PROBE, chosen.shape[1])
    wanted = torch.tensor(top_p, device=logits.device)
    while True:
        values, ids = chosen.topk(size, dim=-1)
        probabilities = (values - total).exp()
        if size == chosen.shape[1] or bool((probabilities.sum(dim=-1) >= wanted).all()):
            break
        size = chosen.shape[1]
    _keep(logits, rows, values, ids, probabilities, top_p)


def _keep(
    logits: torch.Tensor,
    rows: list[int],
    values: torch.Tensor,
    ids: torch.Tensor,
    probabilities: torch.Tensor,
    top_p: list[float],
) -> None:
    """Write back the tokens before which less than `top_p` of the mass lies; the first always stays."""
    before = probabilities.cumsum(dim=-1) - probabilities
    wanted = torch.tensor(top_p, device=logits.device).unsqueeze(1)
    # At top_p = 1 rounding must not cut a tail that was to be kept.
    cut = (before >= wanted) & (wanted < 1)
    cut[:, 0] = False
    kept = torch.full_like(logits[rows], -torch.inf)
    kept.scatter_(1, ids, values.masked_fill(cut, -torch.inf))
    logits[rows] = kept
