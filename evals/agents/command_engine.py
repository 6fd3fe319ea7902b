"""evals: a whole agent as an engine, so that sets, stores, judging and repairs treat it like a model.

Input: a command line with placeholders. Output: a completion per request: what the command wrote to `{answer_file}`,
else its stdout. It runs in its own empty folder, on this machine, with the user's rights; its whole process group ends
with it. Tokens and cost are what it writes to `{usage_file}`, else unknown (0 tokens, cost None). Seconds are measured.
"""

from __future__ import annotations

import json
import subprocess
import time
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

from forklock.evals.agents.process import filled, refuse_crash, run_agent, words_of
from forklock.evals.contract import EvalFault
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
from forklock.sandbox import scratch

PLACEHOLDERS = ("{statement}", "{statement_file}", "{answer_file}", "{usage_file}", "{seed}")
MOST_BYTES = 1 << 20
"""Bytes of an answer that are kept."""


class OneByOne(Engine):
    """Base of engines that answer one request with one seed at a time, and cannot count tokens."""

    context_tokens = 1 << 30

    @abstractmethod
    def _run(self, request: Request, seed: int | None) -> Completion: ...

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
                done = self._run(request, decoding.seed if request.seed is None else request.seed)
                results[-1].append(done)
                if on_tokens is not None:
                    on_tokens(done.completion_tokens)
                if on_completion is not None:
                    on_completion(number, index, done)
        return results

    def count_tokens(self, request: Request) -> int:  # noqa: ARG002
        """Return 0: only the agent knows."""
        return 0

    def close(self) -> None:
        pass


class AgentEngine(OneByOne):
    """Runs the command once per request, one after the other."""

    def __init__(self, command: str, *, timeout_s: float = 1800.0) -> None:
        """
        Raises:
            EvalFault: the command cannot be split into words, or has no placeholder for the statement.
        """
        self._words = words_of(command)
        if not any(place in command for place in PLACEHOLDERS[:2]):
            raise EvalFault(
                "the agent's command is not given the problem",
                fix=f"use one of {', '.join(PLACEHOLDERS[:2])}",
            )
        self.identity = ModelIdentity(name=command, engine="agent")
        self.timeout_s = timeout_s
        self._answered = False
        """The command has ended well once, or printed something. A command that fails at its first problem without
        output cannot work here; later failures are its own."""

    def _run(self, request: Request, seed: int | None) -> Completion:
        with scratch() as folder:
            work, statement = folder / "work", folder / "statement.md"
            work.mkdir()
            text = statement_of(request)
            statement.write_text(text, encoding="utf-8")
            files = (str(statement), str(folder / "answer"), str(folder / "usage.json"))
            values = dict(zip(PLACEHOLDERS, (text, *files, str(seed or 0)), strict=True))
            began = time.monotonic()
            code = self._wait([filled(word, values) for word in self._words], work, folder / "stdout")
            answer = next(path for path in (folder / "answer", folder / "stdout") if path.is_file())
            with answer.open("rb") as file:
                text = file.read(MOST_BYTES).decode("utf-8", errors="replace")
            if not self._answered and not text.strip():
                refuse_crash(code, folder / "stdout", answers=(0,))
            self._answered = True
            prompt, made, cost = _usage(folder / "usage.json")
            return Completion(
                text=text,
                finish_reason=FinishReason.STOP if code is not None else FinishReason.LENGTH,
                prompt_tokens=prompt,
                completion_tokens=made,
                seconds=round(time.monotonic() - began, 3),
                cost_usd=cost,
                model=self.identity,
            )

    def _wait(self, words: list[str], work: Path, out: Path) -> int | None:
        """Return the exit code; None where time ran out."""
        fix = "give --agent a command line"
        return run_agent(words, work, out, self.timeout_s, stderr=subprocess.DEVNULL, fix=fix)


def statement_of(request: Request) -> str:
    """Return the request as one text; headings separate the turns of a repair."""
    if request.text is not None:
        return request.text
    if len(request.messages) == 1:
        return request.messages[0].content
    return "\n\n".join(f"## {message.role}\n\n{message.content}" for message in request.messages)


def _usage(path: Path) -> tuple[int, int, float | None]:
    """Return (prompt tokens, completion tokens, dollars) as the agent reported them."""
    try:
        reported = json.loads(path.read_text(encoding="utf-8"))
        cost = reported.get("cost_usd")
        return (
            int(reported.get("prompt_tokens", 0)),
            int(reported.get("completion_tokens", 0)),
            None if cost is None else float(cost),
        )
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return 0, 0, None
