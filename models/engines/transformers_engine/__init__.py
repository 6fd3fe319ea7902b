"""The in-process engine over transformers: shared prompts, a batch that stays full, exact log probabilities.

`attention` and `prefixes` hold keys and values, `batch` is the decode loop, `engine` implements the contract,
`scoring` scores given tokens, `loading` loads weights and adapters, `opening` opens the engine by a model's name. All
but `opening` need the `local` extra.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forklock.models.engines.transformers_engine.engine import TransformersEngine
    from forklock.models.engines.transformers_engine.scoring import TokenScores

__all__ = ["TokenScores", "TransformersEngine"]

_HOMES = {"TokenScores": "scoring", "TransformersEngine": "engine"}


def __getattr__(name: str) -> Any:
    """Load on first use: torch takes seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
