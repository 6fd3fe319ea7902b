"""How a family's models are driven: how they call tools, how they edit, how much they see, how they are sampled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from forklock.models.contract import Decoding

EditFormat: TypeAlias = Literal["whole", "search-replace", "symbol"]
"""The unit that a model writes: a file, a text that is replaced by another one, or a definition."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a family's models were trained on, or do best by others' measurements."""

    calls: str = "text"
    """A format of `forklock.models.calls.FORMATS`, by name."""
    edit: EditFormat = "search-replace"
    window: int = 16_384
    """Working budget in tokens. A model's real window may be larger: others' successes stay under 20k."""
    decoding: Decoding = field(
        default_factory=lambda: Decoding(temperature=0.7, top_p=0.95, max_tokens=4_096)
    )
    """For turns in which the model drives; `max_tokens` is for one turn."""


UNKNOWN = Profile()
"""For models that belong to no family."""
