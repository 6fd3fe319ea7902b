"""What the model thinks of tokens that are already there: log probabilities, entropy, top-k.

In: prompts and answers as ids. Out: `TokenScores` per answer, at temperature 1 and untruncated. Used for
gauges (entropy at forks, kept mass) and for soft targets; the prompt is computed once for all its answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.sampling import top_values
from models.transformers_engine.prefixes import Prefixes


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


def score_answer(prefixes: Prefixes, prompt: Sequence[int], answer: Sequence[int], top_k: int) -> TokenScores:
    """Score `answer` after `prompt`, in chunks, so that logits for the whole answer never exist at once."""
    if not answer:
        none = torch.empty(0, top_k)
        return TokenScores(torch.empty(0), torch.empty(0), none.long(), none)
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    done = 0
    for logits in prefixes.logits_after(prompt, answer):
        targets = torch.tensor(answer[done : done + len(logits)], device=logits.device)
        parts.append(_score(logits, targets, top_k))
        done += len(logits)
    logprob, entropy, top_ids, top_logprobs = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
    return TokenScores(logprob, entropy, top_ids, top_logprobs)


@torch.inference_mode()
def _score(logits: Tensor, targets: Tensor, top_k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    ids = top_values(logits, top_k)[1]
    logprobs = logits.float().log_softmax(-1)
    entropy = -(logprobs.exp() * logprobs).nansum(-1)
    chosen = logprobs.gather(-1, targets[:, None])[:, 0]
    return chosen, entropy, ids, logprobs.gather(-1, ids)
