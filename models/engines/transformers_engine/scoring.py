"""Scores given tokens: log probabilities, entropy, top-k, and what a truncation keeps.

In: prompts and answers as ids. Out: `TokenScores` per answer, at temperature 1 and untruncated. Used for
gauges (entropy at forks, kept mass) and for soft targets; the prompt is computed once for all its answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from forklock.models.contract import FirstStage
from forklock.models.engines.transformers_engine.prefixes import Prefixes
from forklock.models.engines.transformers_engine.sampling import survivors, top_values

CUT_ROWS = 32
"""Tokens whose whole vocabulary may have to be sorted at once."""


@dataclass(frozen=True)
class TokenScores:
    """Per token of one answer; float32 and int64 tensors on the CPU."""

    logprob: Tensor
    """`[tokens]`, natural log."""
    entropy: Tensor
    """`[tokens]`, of the whole distribution, in nats."""
    top_ids: Tensor
    """`[tokens, k]`, most likely first."""
    top_logprobs: Tensor
    """`[tokens, k]`."""
    rank: Tensor
    """`[tokens]`, of the token itself; 1 is the likeliest."""
    survivors: Tensor | None = None
    """`[tokens]`, how many tokens `cut` keeps."""
    kept_mass: Tensor | None = None
    """`[tokens]`, probability at temperature 1 of all that `cut` keeps."""
    watched_mass: Tensor | None = None
    """`[tokens]`, probability at temperature 1 of the ids to `watch`."""


@dataclass(frozen=True)
class Look:
    """What to look at beside the answer's own tokens."""

    top_k: int = 20
    cut: FirstStage | None = None
    watch: Sequence[Sequence[int]] | None = None
    """Ids for each token of the answer."""


def score_answer(prefixes: Prefixes, prompt: Sequence[int], answer: Sequence[int], look: Look) -> TokenScores:
    """Score `answer` after `prompt`, in chunks, so that logits for the whole answer never exist at once."""
    if not answer:
        return _nothing(look)
    parts: list[TokenScores] = []
    done = 0
    for logits in prefixes.logits_after(prompt, answer):
        end = done + len(logits)
        targets = torch.tensor(answer[done:end], device=logits.device)
        parts.append(_score(logits, targets, look, look.watch[done:end] if look.watch is not None else None))
        done = end
    return TokenScores(
        logprob=_cat([part.logprob for part in parts]),
        entropy=_cat([part.entropy for part in parts]),
        top_ids=_cat([part.top_ids for part in parts]),
        top_logprobs=_cat([part.top_logprobs for part in parts]),
        rank=_cat([part.rank for part in parts]),
        survivors=_cat_known([part.survivors for part in parts]),
        kept_mass=_cat_known([part.kept_mass for part in parts]),
        watched_mass=_cat_known([part.watched_mass for part in parts]),
    )


@torch.inference_mode()
def _score(logits: Tensor, targets: Tensor, look: Look, watch: Sequence[Sequence[int]] | None) -> TokenScores:
    ids = top_values(logits, look.top_k)[1]
    logprobs = logits.float().log_softmax(-1)
    chosen = logprobs.gather(-1, targets[:, None])
    found = TokenScores(
        logprob=chosen[:, 0],
        entropy=-(logprobs.exp() * logprobs).nansum(-1),
        top_ids=ids,
        top_logprobs=logprobs.gather(-1, ids),
        rank=(logprobs > chosen).sum(-1) + 1,
        watched_mass=None if watch is None else _mass(logprobs, watch),
    )
    if look.cut is None:
        return found
    cut = [
        _cut(*rows, look.cut) for rows in zip(logits.split(CUT_ROWS), logprobs.split(CUT_ROWS), strict=True)
    ]
    counts, masses = (torch.cat(part) for part in zip(*cut, strict=True))
    return replace(found, survivors=counts, kept_mass=masses)


def _cut(logits: Tensor, logprobs: Tensor, stage: FirstStage) -> tuple[Tensor, Tensor]:
    ids, kept = survivors(logits, stage)
    masses = logprobs.gather(-1, ids).exp().masked_fill(~kept, 0.0).sum(-1)
    return kept.sum(-1), masses.clamp(max=1.0)


def _mass(logprobs: Tensor, watch: Sequence[Sequence[int]]) -> Tensor:
    width = max(map(len, watch), default=0)
    padded = torch.tensor(
        [[*row, *[-1] * (width - len(row))] for row in watch], device=logprobs.device
    ).long()
    masses = logprobs.gather(-1, padded.clamp(min=0)).exp()
    return masses.masked_fill(padded < 0, 0.0).sum(-1).clamp(max=1.0)


def _cat(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts)).cpu()


def _cat_known(parts: Sequence[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return _cat(known) if known else None


def _nothing(look: Look) -> TokenScores:
    none = torch.empty(0)
    table = torch.empty(0, look.top_k)
    cut = {"survivors": none.long(), "kept_mass": none} if look.cut is not None else {}
    watched = {"watched_mass": none} if look.watch is not None else {}
    return TokenScores(none, none, table.long(), table, none.long(), **cut, **watched)
