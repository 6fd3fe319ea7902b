"""An engine that says what a test tells it to: the loop's own behaviour, without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from shop import QUICK

from forklock.agent.repo import inspect_repo
from forklock.agent.session import Assignment, Prepared, prepare
from forklock.agent.settings import AgentSettings
from forklock.models.contract import (
    Completion,
    Decoding,
    Engine,
    FinishReason,
    ModelIdentity,
    OnCompletion,
    OnTokens,
    Request,
)

Script = Callable[[Request, int], str]
"""From a request and the running number of the answer to the answer's text."""


class ScriptedEngine(Engine):
    """Answers in order, one sample after another, counting four characters as a token."""

    def __init__(self, script: Script, *, name: str = "scripted") -> None:
        self.identity = ModelIdentity(name=name, engine="scripted")
        self.context_tokens = 32_768
        self.continues_text = False
        self.script = script
        self.requests: list[Request] = []
        self.answered = 0
        self.calls: list[int] = []
        """Samples asked for in each call."""

    def complete(
        self,
        requests: Sequence[Request],
        decoding: Decoding,
        *,
        on_tokens: OnTokens | None = None,
        on_completion: OnCompletion | None = None,
    ) -> list[list[Completion]]:
        self.requests += requests
        self.calls.append(len(requests) * decoding.n)
        return [
            [self._one(i, s, request, on_tokens, on_completion) for s in range(decoding.n)]
            for i, request in enumerate(requests)
        ]

    def _one(
        self,
        index: int,
        sample: int,
        request: Request,
        on_tokens: OnTokens | None,
        on_completion: OnCompletion | None,
    ) -> Completion:
        text = self.script(request, self.answered)
        self.answered += 1
        tokens = len(text) // 4 + 1
        if on_tokens:
            on_tokens(tokens)
        done = Completion(
            text=text,
            finish_reason=FinishReason.STOP,
            prompt_tokens=self.count_tokens(request),
            completion_tokens=tokens,
            seconds=0.0,
            cost_usd=0.0,
            model=self.identity,
        )
        if on_completion:
            on_completion(index, sample, done)
        return done

    def stream(self, request: Request, decoding: Decoding) -> Iterator[str]:
        yield self.script(request, 0)

    def count_tokens(self, request: Request) -> int:
        text = request.text or "".join(m.content for m in request.messages)
        return len(text) // 4 + 1

    def close(self) -> None:
        return None


def begin(
    repo: Path,
    engine: Engine,
    test: str = QUICK,
    *,
    statement: str = "total() forgets a price",
    verified: bool = True,
    **flags: object,
) -> Prepared:
    """A run of a weak model that is ready to be executed; without language servers and suite, unless `flags` say so."""
    settings = AgentSettings.load(repo, **{"regression": "none", "diagnostics": False, **flags})
    assignment = Assignment(statement, inspect_repo(repo), test, settings, verified=verified)
    return prepare(assignment, engine.identity, preset="weak")
