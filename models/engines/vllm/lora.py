"""Checks an adapter for a vLLM server, and gives it a name that no other adapter ever has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forklock.models.contract import ModelFault

if TYPE_CHECKING:
    from forklock.models.catalogue.catalogue import ResolvedModel
    from forklock.models.catalogue.safetensors_header import TensorInfo

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` accepts."""


@dataclass(frozen=True, slots=True)
class VllmLora:
    folder: Path
    rank: int
    name: str
    """`<base>/<version>`."""
    served_name: str
    """Name on the server: with a digest, since a name once used must never mean other weights."""

    @classmethod
    def read(
        cls, base: str, adapter: str | Path | None, weights: ResolvedModel | None = None
    ) -> VllmLora | None:
        """Read and check an adapter; None for the bare base.

        Args:
            weights: of the base where they are here: the adapter must fit them.

        Raises:
            ModelFault: no such adapter, damaged, of another base, or not what vLLM can serve.
        """
        from forklock.models.adapters import resolve_adapter
        from forklock.models.catalogue.weights import base_tensors

        revision, former = (weights.revision, weights.former_revision) if weights else ("", "")
        found = resolve_adapter(base, adapter, base_revision=revision, former_revision=former)
        if found is None:
            return None
        tensors = base_tensors(weights.folder) if weights else None
        return cls._of(found.folder, f"{found.base}/{found.version}", tensors)

    @classmethod
    def _of(cls, folder: Path, name: str, base: Mapping[str, TensorInfo] | None = None) -> VllmLora:
        from forklock.models.adapters.lora import adapter_digest, check_fits, refuse_for_vllm

        folder = folder.expanduser().resolve()
        config = check_fits(folder, base)
        refuse_for_vllm(folder, config)
        rank = int(config.get("r", 8))
        if rank > LORA_RANKS[-1]:
            raise ModelFault(f"The adapter in {folder} has rank {rank}; vLLM serves up to {LORA_RANKS[-1]}.")
        return cls(folder, rank, name, f"{name.replace('/', '--')}-{adapter_digest(folder)[:12]}")

    @property
    def server_rank(self) -> int:
        return next(rank for rank in LORA_RANKS if rank >= self.rank)
