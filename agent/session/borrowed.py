"""An engine that stands in for another one: it knows what that one knows, and makes no samples of its own accord."""

from __future__ import annotations

from collections.abc import Iterator

from forklock.models.contract import Alternative, Decoding, Engine, InfillTokens, Request


class BorrowedEngine(Engine):
    """Answers as another engine does, except for samples: `complete` is what a subclass makes of it.

    Requests come out as they would with the engine itself, since they depend on what it is and how it counts.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.identity, self.context_tokens = engine.identity, engine.context_tokens
        self.endpoint = engine.endpoint
        self.supports_prefill, self.continues_text = engine.supports_prefill, engine.continues_text
        self.supports_virtual_ssd = engine.supports_virtual_ssd
        self.supports_alternatives = engine.supports_alternatives

    @property
    def infill(self) -> InfillTokens | None:
        return self._engine.infill

    def alternatives(self, request: Request, text: str, *, top_k: int = 8) -> list[Alternative]:
        return self._engine.alternatives(request, text, top_k=top_k)

    def stream(self, request: Request, decoding: Decoding) -> Iterator[str]:
        """Yields nothing: a stream is a sample."""
        del request, decoding
        return iter(())

    def count_tokens(self, request: Request) -> int:
        return self._engine.count_tokens(request)

    def close(self) -> None:
        """Leaves the engine open: it is its owner's."""
