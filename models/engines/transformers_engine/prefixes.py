"""Computes keys and values of prompts: each distinct prompt once, with shared beginnings reused.

In: token ids. Out: a `Prefix` and the logits of its last position (or, for scoring, of every position, a
chunk at a time). The last few prompts are kept between calls, so that an agent's next question, which
begins like its last, pays for the new part only.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from forklock.models.engines.transformers_engine.attention import (
    PrefillCache,
    PrefillPlan,
    Prefix,
    cache_word,
)

CHUNK = 1024
"""Prompt tokens per forward pass: bounds the activations."""
KEEP_BYTES = 512 << 20
"""Keys and values of recent prompts, together: an agent asks about a few places in a handful of ways, step for step
(some 40,000 tokens of a 0.5B model)."""
WORTHWHILE = 16
"""Shared tokens below which copying saves nothing."""


class Prefixes:
    """Prefill with a small memory of recent prompts. Thread-safe."""

    def __init__(self, model: Any, device: torch.device, *, keep_bytes: int = KEEP_BYTES) -> None:
        config = model.config.get_text_config()
        heads = config.num_attention_heads
        self.kv_heads: int = getattr(config, "num_key_value_heads", None) or heads
        self.head_size: int = getattr(config, "head_dim", None) or config.hidden_size // heads
        self.layers: int = config.num_hidden_layers
        self.dtype = model.get_input_embeddings().weight.dtype
        self._model, self._device, self._keep_bytes = model, device, keep_bytes
        self._lock = threading.Lock()
        self._recent: list[tuple[tuple[int, ...], Prefix]] = []

    @property
    def bytes_per_token(self) -> int:
        return self.layers * 2 * self.kv_heads * self.head_size * self.dtype.itemsize

    def prefill(self, ids: Sequence[int]) -> tuple[Prefix, Tensor]:
        """The prompt's `Prefix`, and its last logits `[1, vocabulary]`."""
        ids = tuple(ids)
        prefix, start = self._begin(ids, len(ids))
        *_, logits = self._chunks(prefix, ids, start, every=False)
        self._remember(ids, prefix)
        return prefix, logits

    def logits_after(self, prompt: Sequence[int], answer: Sequence[int]) -> Iterator[Tensor]:
        """Logits that predict each token of `answer`, in chunks `[tokens, vocabulary]`."""
        whole = (*prompt, *answer[:-1])
        prefix, start = self._begin(tuple(prompt), len(whole))
        *_, last = self._chunks(prefix, whole[: len(prompt)], start, every=False)
        yield last
        self._remember(tuple(prompt), prefix)
        yield from self._chunks(prefix, whole, len(prompt), every=True)

    def _begin(self, ids: tuple[int, ...], capacity: int) -> tuple[Prefix, int]:
        """A buffer, filled as far as a recent prompt goes; at least the last token is left to compute."""
        shape = (self.layers, 2, 1, self.kv_heads, capacity, self.head_size)
        prefix = Prefix(torch.empty(shape, dtype=self.dtype, device=self._device))
        with self._lock:
            known = [(_shared(ids[:-1], old), kept) for old, kept in self._recent]
        start, kept = max(known, key=lambda pair: pair[0], default=(0, prefix))
        if start < WORTHWHILE:
            return prefix, 0
        prefix.kv[..., :start, :] = kept.kv[..., :start, :]
        prefix.length = start
        return prefix, start

    def _remember(self, ids: tuple[int, ...], prefix: Prefix) -> None:
        with self._lock:
            self._recent = [(ids, prefix), *(pair for pair in self._recent if pair[0] != ids)]
            held = list(accumulate(kept.kv.nbytes for _, kept in self._recent))
            self._recent = self._recent[: max(1, bisect_right(held, self._keep_bytes))]

    def forget(self) -> None:
        with self._lock:
            self._recent = []

    @torch.inference_mode()
    def _chunk(self, prefix: Prefix, ids: Sequence[int], start: int, *, every: bool) -> Tensor:
        end = start + len(ids)
        logits: Tensor = self._model(
            input_ids=torch.tensor([ids], device=self._device),
            position_ids=torch.arange(start, end, device=self._device)[None],
            **{cache_word(type(self._model)): PrefillCache(prefix, start)},
            use_cache=True,
            plan=PrefillPlan(start),
            logits_to_keep=0 if every else 1,
        ).logits[0]
        prefix.length = end
        return logits

    def _chunks(self, prefix: Prefix, ids: Sequence[int], start: int, *, every: bool) -> Iterator[Tensor]:
        size = CHUNK // 4 if every else CHUNK
        for place in range(start, len(ids), size):
            yield self._chunk(prefix, ids[place : place + size], place, every=every)


def _shared(one: Sequence[int], two: Sequence[int]) -> int:
    """Length of the common beginning."""
    shorter = min(len(one), len(two))
    for place in range(shorter):
        if one[place] != two[place]:
            return place
    return shorter
