"""Puts the events that a vLLM server streams together to samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from forklock.models.contract import ModelFault


@dataclass(slots=True)
class GrowingSample:
    """One sample while it streams."""

    text: list[str] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    def take(self, choice: dict[str, Any]) -> int:
        """Add what an event brings; returns its number of tokens.

        Raises:
            ModelFault: it is not what vLLM sends.
        """
        new = choice.get("token_ids") or []
        found = choice.get("logprobs") or {}
        logprobs = (found.get("token_logprobs") or []) if isinstance(found, dict) else None
        if not _all(new, int) or not _all(logprobs, (int, float)):
            raise strange()
        self.text.append(choice["text"])
        self.ids.extend(new)
        self.logprobs.extend(map(float, logprobs or ()))
        return len(new)


def _all(values: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def choices_of(chunk: dict[str, Any], samples: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (sample, choice) of an event.

    Raises:
        ModelFault: it is not what vLLM sends.
    """
    choices = chunk.get("choices", [])
    for choice in choices if isinstance(choices, list) else [choices]:
        number = choice.get("index") if isinstance(choice, dict) else None
        if (
            not isinstance(number, int)
            or not 0 <= number < samples
            or not isinstance(choice.get("text"), str)
        ):
            raise strange()
        yield number, choice


def strange() -> ModelFault:
    return ModelFault(
        "The server streams what is not vLLM's format.", fix="Take the hosted engine for others."
    )


def request_seed(seed: int, index: int) -> int:
    """Return a seed for a request: vLLM adds the sample's number itself, and equal prompts must differ."""
    digest = hashlib.sha256(f"{seed}/{index}".encode()).digest()
    return int.from_bytes(digest[:6], "big")


def likeliest(row: dict[str, Any], top_k: int) -> Iterator[tuple[int, float]]:
    """Yield (id, log probability) of one place's `prompt_logprobs`, likeliest first. The token itself is there."""
    for token, found in sorted(row.items(), key=lambda item: item[1]["rank"]):
        if found["rank"] <= top_k:
            yield int(token), found["logprob"]
