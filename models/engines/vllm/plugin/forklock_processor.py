"""vLLM's plug-in point for `forklock_truncation` (room `models/`; runs inside the server, V1 runner, CPU).

A request asks for it by `vllm_xargs`: forklock_top_k, forklock_top_p, forklock_min_p. It is applied after
temperature, since it never changes the likeliest token. Requests without these keys are left alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from forklock_truncation import truncate
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates


class Cut(NamedTuple):
    top_k: int
    top_p: float
    min_p: float


def cut_of(extra: dict[str, Any] | None) -> Cut | None:
    """What a request asks for, or None. Raises ValueError (a 400) for values out of range."""
    extra = extra or {}
    if not any(key.startswith("forklock_") for key in extra):
        return None
    cut = Cut(
        int(extra.get("forklock_top_k", 0)),
        float(extra.get("forklock_top_p", 1.0)),
        float(extra.get("forklock_min_p", 0.0)),
    )
    if cut.top_k < 0 or not 0 < cut.top_p <= 1 or not 0 <= cut.min_p < 1:
        raise ValueError(f"truncation out of range: {cut}")
    return cut


class Truncation(LogitsProcessor):
    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        cut_of(sampling_params.extra_args)

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        del vllm_config, device, is_pin_memory
        self.cuts: dict[int, Cut] = {}

    def is_argmax_invariant(self) -> bool:
        return True

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        process_dict_updates(
            self.cuts, batch_update, lambda params, _prompt, _output: cut_of(params.extra_args)
        )

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        if not self.cuts:
            return logits
        untouched = Cut(0, 1.0, 0.0)
        cuts = [self.cuts.get(row, untouched) for row in range(logits.shape[0])]
        return truncate(logits, [c.top_k for c in cuts], [c.top_p for c in cuts], [c.min_p for c in cuts])
