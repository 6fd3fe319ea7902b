"""Says how much of the prompts a server had in its prefix cache, where it tells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from forklock.agent.log.schema import Event


@dataclass(slots=True)
class CachedShare:
    """Counts over answers whose server tells; takes events of any kind."""

    cached: int = 0
    prompt: int = 0
    """Prompt tokens of those answers."""

    @classmethod
    def of(cls, events: Iterable[Event]) -> CachedShare:
        """The share over a run."""
        share = cls()
        for event in events:
            share.take(event)
        return share

    def take(self, event: Event) -> None:
        """Count an answer."""
        told = getattr(event, "cached_tokens", None)
        if isinstance(told, int):
            self.cached += told
            self.prompt += int(getattr(event, "prompt_tokens", 0))

    @property
    def words(self) -> str:
        """The share; "" where no server told."""
        return f"{100 * self.cached / self.prompt:.0f} % of prompts cached" if self.prompt else ""
