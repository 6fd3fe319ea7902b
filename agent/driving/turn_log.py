"""Writes rollouts into the log, and takes from an earlier sitting's log what need not be asked or run again.

A request is logged as what it shares with the request before it and what is new. On a resume each request has the same
digest again, since the history is made of what the log holds: so no answer is paid for twice. Calls of tools are
carried out again, for what they do to the tree; what they said is taken from the log, since a program may say something
else another time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from forklock.agent.driving.contract import ToolAnswer
from forklock.agent.driving.history import common
from forklock.agent.log import (
    MessageRef,
    NoteMade,
    RunLog,
    ToolAnswered,
    ToolCalled,
    TurnAnswered,
    TurnAsked,
    report_from_json,
    report_to_json,
)
from forklock.agent.log.recorded import Recorded, completion_of, request_digest
from forklock.agent.log.redact import redact
from forklock.models.calls.contract import Call
from forklock.models.contract import Completion, Decoding, Message, ModelIdentity, Request

_ABOUT_CHARS = 80


@dataclass(slots=True)
class TurnLog:
    """The log of one rollout."""

    rollout: int
    log: RunLog
    recorded: Recorded
    model: ModelIdentity
    _before: tuple[Message, ...] = ()
    _tokens: int = 0
    """Prompt tokens of the request before."""

    def digest(self, request: Request, decoding: Decoding) -> str:
        plain = request.model_copy(update={"seed": None})
        return request_digest(plain, decoding, self.model, self.rollout)

    def known(self, digest: str) -> tuple[Completion, bool] | None:
        """The answer of an earlier sitting, and whether it is what the model wrote."""
        event = self.recorded.turns.get(digest)
        return None if event is None else (completion_of(event, self.log, self.model), not event.redacted)

    def asked(self, turn: int, messages: tuple[Message, ...], digest: str, tokens: int) -> int:
        """Log a request that is made now. Returns the tokens that the request before it did not hold."""
        kept = common(self._before, messages)
        new = tokens if kept < len(self._before) else max(0, tokens - self._tokens)
        self.log.append(
            TurnAsked(
                rollout=self.rollout, turn=turn, digest=digest, kept=kept,
                messages=[
                    MessageRef(role=m.role, content=self.log.store(m.content), sampled=m.role == "assistant")
                    for m in messages[kept:]
                ],
                prompt_tokens=tokens, new_tokens=new,
            )
        )  # fmt: skip
        return new

    def sent(self, messages: tuple[Message, ...], tokens: int) -> None:
        """Take note of the chat that the next one is compared with."""
        self._before, self._tokens = messages, tokens

    def answered(self, turn: int, digest: str, completion: Completion) -> None:
        self.log.append(
            TurnAnswered(
                rollout=self.rollout, turn=turn, digest=digest, text=self.log.store(completion.text),
                finish_reason=completion.finish_reason.value, prompt_tokens=completion.prompt_tokens,
                completion_tokens=completion.completion_tokens, seconds=completion.seconds,
                cost_usd=completion.cost_usd, model=str(completion.model),
                redacted=redact(completion.text) != completion.text, cached_tokens=completion.cached_tokens,
            )
        )  # fmt: skip

    def tool_answer(self, turn: int, number: int) -> ToolAnswer | None:
        """What a tool said in an earlier sitting."""
        event = self.recorded.calls.get((self.rollout, turn, number))
        if event is None:
            return None
        report = self.log.text(event.report) if event.report else ""
        return ToolAnswer(
            self.log.text(event.text), event.kind, tuple(event.wrote), event.no_op,
            None if event.finished is None else self.log.text(event.finished),
            report_from_json(report) if report else None,
        )  # fmt: skip

    def compare(self, turn: int, call: Call, earlier: ToolAnswer, now: ToolAnswer) -> None:
        """Note where a call that is carried out again does something else than in the sitting before."""
        if (earlier.kind, sorted(earlier.wrote)) != (now.kind, sorted(now.wrote)):
            where = f"rollout {self.rollout}, turn {turn}"
            self.log.append(
                NoteMade(text=f"{where}: {call.name} was {earlier.kind} before, and is {now.kind} now")
            )

    def called(self, turn: int, number: int, call: Call) -> None:
        arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
        self.log.append(
            ToolCalled(
                rollout=self.rollout, turn=turn, call=number, name=call.name,
                arguments=self.log.store(arguments),
            )
        )  # fmt: skip

    def tool_answered(self, turn: int, number: int, call: Call, answer: ToolAnswer, seconds: float) -> None:
        finished = None if answer.finished is None else self.log.store(answer.finished)
        report = self.log.store(report_to_json(answer.report)) if answer.report else ""
        self.log.append(
            ToolAnswered(
                rollout=self.rollout, turn=turn, call=number, name=call.name, about=redact(_about(call)),
                kind=answer.kind, text=self.log.store(answer.text),
                wrote=list(answer.wrote), no_op=answer.no_op, finished=finished, report=report, seconds=seconds,
            )
        )  # fmt: skip


def _about(call: Call) -> str:
    """What a call is about: its path or command and its definition, or else its first words."""
    given = call.arguments
    words = [str(given[name]) for name in ("path", "symbol", "command", "query") if given.get(name)]
    words = words or [str(value) for value in given.values()][:1]
    return " ".join(" ".join(words).split())[:_ABOUT_CHARS]
