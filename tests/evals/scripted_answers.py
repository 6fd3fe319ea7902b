"""An engine that answers HumanEval from a script, for tests of the loop around it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

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


class ScriptedAnswers(Engine):
    """Answers by (request, seed) through `answer`; counts what it was asked."""

    context_tokens = 4096

    def __init__(self, answer: Callable[[str, random.Random], str], *, die_after: int | None = None) -> None:
        self.identity = ModelIdentity(name="scripted", engine="scripted")
        self.answer, self.die_after, self.made = answer, die_after, 0

    def complete(
        self,
        requests: Sequence[Request],
        decoding: Decoding,
        *,
        on_tokens: OnTokens | None = None,
        on_completion: OnCompletion | None = None,
    ) -> list[list[Completion]]:
        results: list[list[Completion]] = []
        for number, request in enumerate(requests):
            results.append([])
            for index in range(decoding.n):
                if self.die_after is not None and self.made >= self.die_after:
                    raise KeyboardInterrupt
                self.made += 1
                rng = random.Random(f"{request.seed}/{index}")
                done = Completion(
                    text=self.answer(request.messages[-1].content, rng),
                    finish_reason=FinishReason.STOP,
                    prompt_tokens=10,
                    completion_tokens=20,
                    seconds=0.1,
                    model=self.identity,
                )
                results[-1].append(done)
                if on_tokens:
                    on_tokens(20)
                if on_completion:
                    on_completion(number, index, done)
        return results

    def stream(self, request: Request, decoding: Decoding) -> Iterator[str]:
        yield self.complete([request], decoding)[0][0].text

    def count_tokens(self, request: Request) -> int:
        return 10

    def close(self) -> None:
        pass
