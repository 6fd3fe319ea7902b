"""Logs what a model is asked and what it answers, in the form that a resumed run looks up (`recorded`)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from forklock.agent.contract import Lane
from forklock.agent.log.events import RunLog
from forklock.agent.log.recorded import request_digest
from forklock.agent.log.redact import redact
from forklock.agent.log.schema import MessageRef, ModelAnswered, ModelAsked
from forklock.models.contract import Completion, Decoding, Engine, Request


@dataclass(frozen=True, slots=True)
class Journal:
    """Writes the requests and answers of one step. Step 0 is what comes before the loop."""

    log: RunLog
    step: int
    engine: Engine

    def digest(self, lane: Lane, decoding: Decoding) -> str:
        return request_digest(lane.request, decoding, self.engine.identity, lane.number)

    def asked(self, lane: Lane, decoding: Decoding) -> None:
        self.log.append(
            ModelAsked(
                step=self.step,
                request=lane.number,
                digest=self.digest(lane, decoding),
                place=lane.place.label,
                messages=self._message_refs(lane.request),
                prefill=lane.request.prefill,
                decoding=decoding.model_dump(mode="json"),
                prompt_tokens=lane.prompt_tokens,
            )
        )

    def answered(self, lane: Lane, sample: int, completion: Completion, decoding: Decoding) -> None:
        self.log.append(
            ModelAnswered(
                step=self.step,
                request=lane.number,
                sample=sample,
                digest=self.digest(lane, decoding),
                text=self.log.store(completion.text),
                finish_reason=completion.finish_reason.value,
                prompt_tokens=completion.prompt_tokens,
                completion_tokens=completion.completion_tokens,
                seconds=completion.seconds,
                cost_usd=completion.cost_usd,
                model=str(completion.model),
                tokens=self._tokens(completion),
                cached_tokens=completion.cached_tokens,
            )
        )

    def _tokens(self, completion: Completion) -> str:
        """The answer's tokens with their log probabilities, for `agent show --html`."""
        if completion.token_ids is None or completion.logprobs is None:
            return ""
        if redact(completion.text) != completion.text:  # a secret in pieces would not be found again
            return ""
        rows = list(zip(self.engine.pieces(completion.token_ids), completion.logprobs, strict=False))
        text = json.dumps([(piece, round(logprob, 3)) for piece, logprob in rows], ensure_ascii=False)
        return self.log.store(text) if rows else ""

    def _message_refs(self, request: Request) -> list[MessageRef]:
        if request.text is not None:
            return [MessageRef(role="text", content=self.log.store(request.text))]
        return [MessageRef(role=m.role, content=self.log.store(m.content)) for m in request.messages]
