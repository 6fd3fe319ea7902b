"""Renders prompts for a vLLM server that we started, so that every local engine sees the same ids."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forklock.models.contract import ModelFault, Request


@dataclass(frozen=True, slots=True)
class LocalPrompts:
    """Renders prompts by the model folder's own tokenizer."""

    tokenizer: Any
    end_ids: tuple[int, ...]

    @classmethod
    def open(cls, folder: Path) -> LocalPrompts | None:
        """Load the tokenizer; None if transformers is not installed, and then the server renders."""
        try:
            from transformers import AutoTokenizer
        except ImportError:
            return None
        from forklock.models.engines.tokens import turn_end_ids

        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        except Exception as error:
            # Loaders raise whatever the damaged file provokes.
            raise ModelFault(f"The tokenizer in {folder} cannot be loaded: {error}") from None
        return cls(tokenizer, tuple(sorted(turn_end_ids(tokenizer))))

    def ids(self, request: Request) -> list[int]:
        from forklock.models.engines.tokens import prompt_ids

        return prompt_ids(self.tokenizer, request)
