"""Attention over a prompt that is stored once and shared, plus what each row has written since.

In: a forward pass of a transformers model loaded with `attn_implementation=NAME`, and a `plan` keyword that
says which of the two phases it is. Out: the attention output, and keys and values in our own buffers. The
two parts of a decode step are joined by their log-sum-exps (as in flash and cascade attention), so n
samples of one prompt read its keys once, not n times. Not covered: sliding windows, soft caps, sinks.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.cache_utils import Cache

from forklock.models.contract import ModelFault

NAME = "forklock_shared_prefix"


class Prefix:
    """Keys and values of one prompt: `kv` is `[layers, 2, 1, kv heads, capacity, head size]`."""

    def __init__(self, kv: Tensor, length: int = 0) -> None:
        self.kv = kv
        self.length = length

    def keys(self, layer: int) -> Tensor:
        return self.kv[layer, 0, :, :, : self.length]

    def values(self, layer: int) -> Tensor:
        return self.kv[layer, 1, :, :, : self.length]


def cache_word(model: type) -> str:
    """What `forward` of such a model calls the cache: transformers renamed it in 5.24, and warns of the old word."""
    known = inspect.signature(model.forward).parameters  # type: ignore[attr-defined]
    return "cache" if "cache" in known else "past_key_values"


@dataclass(frozen=True)
class PrefillPlan:
    """`tokens` new positions after the first `start`."""

    start: int


@dataclass(frozen=True)
class DecodePlan:
    """One new token per row: which prefix each row continues, and which of its own columns are real."""

    groups: tuple[tuple[Prefix, Tensor | None], ...]
    """Prefix and the indices of its rows; None means every row."""
    mask: Tensor | None
    """Additive `[rows, 1, 1, columns]`, 0 or -inf; None where all columns are real."""


class PrefillCache(Cache):
    """Writes a chunk of a prompt into its `Prefix`."""

    def __init__(self, prefix: Prefix, start: int) -> None:
        super().__init__(layers=[])
        self.prefix, self.start = prefix, start

    def update(self, key: Tensor, value: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        end = self.start + key.shape[2]
        kv = self.prefix.kv[layer_idx]
        kv[0, :, :, self.start : end] = key
        kv[1, :, :, self.start : end] = value
        return kv[0, :, :, :end], kv[1, :, :, :end]

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002 (the base class names it)
        return self.start


class StepCache(Cache):
    """Writes one token per row into the rows' buffer `[layers, 2, rows, kv heads, capacity, head size]`."""

    def __init__(self, kv: Tensor, rows: Tensor, lengths: Tensor, columns: int) -> None:
        super().__init__(layers=[])
        self.kv, self.rows, self.lengths, self.columns = kv, rows, lengths, columns

    def update(self, key: Tensor, value: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        keys, values = self.kv[layer_idx, 0], self.kv[layer_idx, 1]
        keys[self.rows, :, self.lengths] = key[:, :, 0]
        values[self.rows, :, self.lengths] = value[:, :, 0]
        live = len(self.rows)
        return keys[:live, :, : self.columns], values[:live, :, : self.columns]

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002 (the base class names it)
        return self.columns - 1


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001 (part of the interface; the plan says it all)
    scaling: float | None = None,
    plan: PrefillPlan | DecodePlan | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """The attention function that transformers calls: `query` `[rows, heads, tokens, head size]`."""
    if plan is None or softcap is not None or s_aux is not None:
        raise ModelFault(
            f"the in-process engine does not know the attention of {type(module).__name__}",
            fix="serve this model with --engine vllm",
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if isinstance(plan, PrefillPlan):
        output = _prefill(query, key, value, plan.start, scale)
    else:
        output = _decode(query, key, value, plan, module.layer_idx, scale)
    return output.transpose(1, 2).contiguous(), None


def _prefill(query: Tensor, key: Tensor, value: Tensor, start: int, scale: float) -> Tensor:
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    mask = None
    if start:
        tokens, columns = query.shape[2], key.shape[2]
        mask = torch.ones(tokens, columns, dtype=torch.bool, device=query.device).tril(start)
    return torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=mask is None, scale=scale
    )


def _decode(query: Tensor, key: Tensor, value: Tensor, plan: DecodePlan, layer: int, scale: float) -> Tensor:
    rows, heads, _, size = query.shape
    kv_heads = key.shape[1]
    grouped = query.reshape(rows, kv_heads, heads // kv_heads, size)
    output, weight = attend_part(grouped, key, value, plan.mask, scale)
    if len(plan.groups) == 1 and plan.groups[0][1] is None:
        prefix = plan.groups[0][0]
        output = _join(output, weight, *_over_prefix(grouped, prefix, layer, scale))
    else:
        for prefix, index in plan.groups:
            part = _over_prefix(grouped[index], prefix, layer, scale)
            output[index] = _join(output[index], weight[index], *part)
    return output.reshape(rows, heads, 1, size)


def _over_prefix(query: Tensor, prefix: Prefix, layer: int, scale: float) -> tuple[Tensor, Tensor]:
    """All rows of one prompt as one tall query: `[rows, kv heads, repeats, size]` in and out."""
    rows, kv_heads, repeats, size = query.shape
    tall = query.transpose(0, 1).reshape(1, kv_heads, rows * repeats, size)
    output, weight = attend_part(tall, prefix.keys(layer), prefix.values(layer), None, scale)
    return (
        output.reshape(kv_heads, rows, repeats, size).transpose(0, 1),
        weight.reshape(kv_heads, rows, repeats).transpose(0, 1),
    )


def _join(one: Tensor, one_weight: Tensor, two: Tensor, two_weight: Tensor) -> Tensor:
    """Softmax over the union of two sets of columns, from each set's output and log-sum-exp."""
    share = torch.sigmoid(one_weight - two_weight)[..., None]
    return torch.lerp(two.float(), one.float(), share).to(one.dtype)


def attend_part(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """Attention over some of the columns: output, and the log-sum-exp of the scores (float32)."""
    if query.device.type == "cpu":
        flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        if mask is not None:
            mask = mask.to(query.dtype)
        output, weight = flash(query, key, value, 0.0, False, attn_mask=mask, scale=scale)
        return output, weight
    return attend_part_plainly(query, key, value, mask, scale)


def attend_part_plainly(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """The same by two products, on any device."""
    scores = (query @ key.transpose(-1, -2)).float() * scale
    if mask is not None:
        scores = scores + mask
    weight = scores.logsumexp(-1)
    chances = (scores - weight[..., None]).exp().to(value.dtype)
    return chances @ value, weight


AttentionInterface.register(NAME, attend)
