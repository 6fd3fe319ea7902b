"""Draws one token per row from logits: temperature, top-k, top-p over the survivors, min-p; in one or two stages.

In: last-position logits `[rows, vocabulary]` and one uniform number per sample. Out: token ids and their
log probabilities under the model itself (temperature 1, nothing cut off). Inverse-CDF sampling, so that
a sample depends on its own random number only, never on who else is in the batch. Top-k comes first, so
the vocabulary is never sorted as a whole unless top-p alone asks for it and the head of the distribution
does not suffice. Not here: penalties, grammar constraints, beam search.
"""

from __future__ import annotations

import hashlib
import secrets

import torch
from torch import Tensor

from forklock.models.contract import Decoding, FirstStage

LIKELIEST = -1.0
"""In the place of a uniform number: no draw, the likeliest token."""
BLOCK = 128
"""Logits per block: the top k of the vocabulary lie in the k blocks with the largest maxima."""
HEAD = 1024
"""Tokens looked at first when top-p stands alone."""


def sample(logits: Tensor, decoding: Decoding, uniforms: Tensor | None) -> tuple[Tensor, Tensor]:
    """Draw one token per uniform number.

    Args:
        logits: `[rows, vocabulary]`, any float type. One row is shared by all samples.
        decoding: temperature 0 takes the arg-max and needs no `uniforms`.
        uniforms: `[samples]` in [0, 1) or `LIKELIEST`, float64; `samples` equals `rows` unless `rows` is 1.

    Returns:
        Token ids `[samples]` (int64) and natural-log probabilities at temperature 1 `[samples]` (float32).
    """
    if decoding.temperature == 0 or uniforms is None:
        ids = logits.argmax(-1)
    else:
        ids = _draw(logits, decoding, uniforms)
        likeliest = (uniforms == LIKELIEST).to(ids.device)
        if likeliest.any():
            ids = torch.where(likeliest, logits.argmax(-1), ids)
    return ids, log_probabilities(logits, ids)


def log_probabilities(logits: Tensor, ids: Tensor) -> Tensor:
    """Log probability of each id; `logits` `[rows or 1, vocabulary]`, `ids` `[rows]`. Float32."""
    whole = logits.float()
    chosen = whole.expand(len(ids), -1).gather(-1, ids[:, None])[:, 0]
    return chosen - whole.logsumexp(-1)


def row_uniforms(seed: int | None, request: int, sample_index: int, count: int) -> list[float]:
    """The random numbers of one sample, by position; `seed` None draws afresh."""
    if seed is None:
        number = secrets.randbits(63)
    else:
        key = f"{seed}/{request}/{sample_index}".encode()
        number = int.from_bytes(hashlib.sha256(key).digest()[:8], "big") >> 1
    generator = torch.Generator().manual_seed(number)
    numbers: list[float] = torch.rand(count, generator=generator, dtype=torch.float64).tolist()
    return numbers


def truncated(logits: Tensor, decoding: Decoding) -> Tensor:
    """The distribution that `sample` draws from, dense `[rows, vocabulary]`: slow, for gauges and tests."""
    vocabulary = logits.shape[-1]
    if decoding.temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(-1), vocabulary).double()
    values, ids = logits.double().sort(-1, descending=True)
    if decoding.virtual_ssd is not None:
        values = _temper(values, decoding.virtual_ssd).log()
    kept = _temper(values, decoding)
    return torch.zeros_like(values).scatter(-1, ids, kept / kept.sum(-1, keepdim=True))


def survivors(logits: Tensor, stage: Decoding | FirstStage) -> tuple[Tensor, Tensor]:
    """Which tokens a stage keeps, of `logits` `[rows, vocabulary]`.

    Returns:
        Ids, likeliest first, `[rows, width]`, and whether each is kept. Whoever is not listed is cut off; `width`
        is as small as is cheap, and the whole vocabulary only where many tokens survive or nothing is cut off.
    """
    if stage.top_k:
        values, ids = top_values(logits, stage.top_k)
        return ids, _keep(values.float().div(stage.temperature).softmax(-1), stage) > 0
    scaled = logits.float() / stage.temperature
    values, ids = top_values(scaled, HEAD)
    weights = (values - scaled.logsumexp(-1, keepdim=True)).exp()
    if stage.top_p == 1 or (weights.sum(-1) < stage.top_p).any():
        values, ids = scaled.sort(-1, descending=True)
        weights = values.softmax(-1)
    return ids, _keep(weights, stage) > 0


def _draw(logits: Tensor, decoding: Decoding, uniforms: Tensor) -> Tensor:
    first, second = _stages(decoding)
    if first.top_k:
        values, ids = top_values(logits, first.top_k)
        weights = _keep(values.float().div(first.temperature).softmax(-1), first)
        return _pick(weights if second is None else _temper(weights.log(), second), ids, uniforms)
    if first.top_p < 1:
        return _draw_nucleus(logits, first, second, uniforms)
    return _draw_all(logits, first, uniforms)


def _stages(decoding: Decoding) -> tuple[Decoding, Decoding | None]:
    """What is applied to the logits, and what to the weights that come out, if anything is.

    A first stage that cuts nothing off is a temperature, and temperatures multiply: one stage suffices."""
    train = decoding.virtual_ssd
    if train is None:
        return decoding, None
    if train.top_k or train.top_p < 1:
        cut = {"temperature": train.temperature, "top_k": train.top_k, "top_p": train.top_p, "min_p": 0.0}
        return decoding.model_copy(update=cut), decoding
    return decoding.model_copy(update={"temperature": decoding.effective_temperature}), None


def _draw_all(logits: Tensor, decoding: Decoding, uniforms: Tensor) -> Tensor:
    """Neither top-k nor top-p: nothing needs to be sorted."""
    scaled = logits.float() / decoding.temperature
    top = scaled.amax(-1, keepdim=True)
    weights = (scaled - top).exp_()
    if decoding.min_p:
        weights.masked_fill_(weights < decoding.min_p, 0.0)
    return _pick_dense(weights, uniforms)


def _draw_nucleus(logits: Tensor, first: Decoding, second: Decoding | None, uniforms: Tensor) -> Tensor:
    """Top-p without top-k: try the head, and sort everything only for rows whose head is too light."""
    scaled = logits.float() / first.temperature
    total = scaled.logsumexp(-1, keepdim=True)
    values, ids = top_values(scaled, HEAD)
    weights = (values - total).exp()
    kept = _keep(weights, first)
    picked = _pick(kept if second is None else _temper(kept.log(), second), ids, uniforms)
    light = weights.sum(-1) < first.top_p
    if not light.any():
        return picked
    if len(logits) == 1:
        return _draw_sorted(scaled, first, second, uniforms)
    picked[light] = _draw_sorted(scaled[light], first, second, uniforms[light])
    return picked


def _draw_sorted(scaled: Tensor, first: Decoding, second: Decoding | None, uniforms: Tensor) -> Tensor:
    values, ids = scaled.sort(-1, descending=True)
    kept = _keep(values.softmax(-1), first)
    return _pick(kept if second is None else _temper(kept.log(), second), ids, uniforms)


def _temper(logs: Tensor, stage: Decoding | FirstStage) -> Tensor:
    """One whole stage on descending logits: temperature, top-k, top-p, min-p. Weights, not renormalised."""
    logs = logs.div(stage.temperature)
    if stage.top_k:
        logs = logs.masked_fill(torch.arange(logs.shape[-1], device=logs.device) >= stage.top_k, -torch.inf)
    return _keep(logs.softmax(-1), stage)


def _keep(weights: Tensor, decoding: Decoding | FirstStage) -> Tensor:
    """Zero what top-p and min-p cut. `weights` descend and are probabilities: a token stays while the mass
    before it is below top-p, so the first always does."""
    before = weights.cumsum(-1) - weights
    kept = weights.masked_fill(before >= decoding.top_p, 0.0) if decoding.top_p < 1 else weights
    min_p = decoding.min_p if isinstance(decoding, Decoding) else 0.0
    return kept.masked_fill(weights < min_p * weights[:, :1], 0.0) if min_p else kept


def _pick(weights: Tensor, ids: Tensor, uniforms: Tensor) -> Tensor:
    """Inverse CDF over a short list; rows broadcast to samples."""
    cdf = weights.double().cumsum(-1)
    below = cdf <= uniforms[:, None].to(cdf) * cdf[:, -1:]
    last = (weights > 0).sum(-1, keepdim=True) - 1
    place = torch.minimum(below.sum(-1, keepdim=True), last)
    return ids.expand(len(place), -1).gather(-1, place)[:, 0]


def _pick_dense(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Inverse CDF over the vocabulary in two steps, block then token, exact where float32 sums are not."""
    blocks = _blocks(weights, 0.0)
    sums = blocks.sum(-1, dtype=torch.float64)
    cdf = sums.cumsum(-1)
    target = uniforms[:, None].to(cdf) * cdf[:, -1:]
    occupied = sums > 0
    last = _last_true(occupied)
    block = torch.minimum((cdf <= target).sum(-1, keepdim=True), last)
    samples = len(uniforms)
    before = cdf.expand(samples, -1).gather(-1, block) - sums.expand(samples, -1).gather(-1, block)
    inside = blocks.expand(samples, -1, -1)[torch.arange(samples, device=block.device), block[:, 0]].double()
    place = torch.minimum(
        ((before + inside.cumsum(-1)) <= target).sum(-1, keepdim=True), _last_true(inside > 0)
    )
    return (block * BLOCK + place)[:, 0]


def _last_true(mask: Tensor) -> Tensor:
    """Index of the last true entry per row, `[rows, 1]`."""
    return mask.shape[-1] - 1 - mask.flip(-1).to(torch.uint8).argmax(-1, keepdim=True)


def top_values(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`torch.topk` over the last axis, by blocks where that is cheaper."""
    vocabulary = logits.shape[-1]
    k = min(k, vocabulary)
    if k * BLOCK * 4 > vocabulary:
        values, ids = logits.topk(k, dim=-1)
        return values, ids
    blocks = _blocks(logits, -torch.inf)
    chosen = blocks.amax(-1).topk(k, dim=-1).indices
    rows = torch.arange(len(logits), device=logits.device)[:, None]
    values, places = blocks[rows, chosen].flatten(1).topk(k, dim=-1)
    return values, chosen.gather(-1, places // BLOCK) * BLOCK + places % BLOCK


def _blocks(rows: Tensor, filler: float) -> Tensor:
    spare = -rows.shape[-1] % BLOCK
    padded = torch.nn.functional.pad(rows, (0, spare), value=filler) if spare else rows
    return padded.reshape(len(rows), -1, BLOCK)
