"""Draws raw samples from the frozen base, one per prompt, and appends each to a file when it ends.

In: prompts, an engine without an adapter, the arm's decoding. Out: `samples.jsonl`, one line per sample, with the token
ids of the prompt and of the completion. After a kill only the missing samples are drawn. Each prompt has a seed of its
own, made from the round's seed and the prompt's index, so a sample does not depend on its batch (except for rounding in
bf16). `drop_reason` is the paper's filter: it drops empty answers and one-line stubs, and ignores correctness.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from forklock.models.contract import Completion, Decoding, Engine, FinishReason, OnTokens, Request
from forklock.sandbox.files.jsonl import JsonLines, as_json, parser
from forklock.selfdistill.contract import EXIT_INFRASTRUCTURE, Prompt, RoundFault

PromptIds = Callable[[Request], Sequence[int]]
"""Renders a request as token ids, as the engine does."""
OnSample = Callable[["SampleRow"], None]
"""Called after a sample was written."""


class SampleRow(BaseModel):
    """One raw sample. Token ids are the engine's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int
    """The prompt's index in the round."""
    prompt_id: str
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    text: str
    finish_reason: FinishReason
    model: str
    """The `ModelIdentity` as text. It never has an adapter."""


def require_frozen_base(engine: Engine) -> None:
    """Reject an engine that serves an adapter: a student that learns from itself drifts.

    Raises:
        RoundFault: the engine serves an adapter.
    """
    if engine.identity.adapter is not None:
        raise RoundFault(
            f"samples must come from the frozen base, but the engine serves {engine.identity}",
            fix="open the engine with adapter=None",
            exit_code=EXIT_INFRASTRUCTURE,
        )


def sample_all(
    engine: Engine,
    prompts: Sequence[Prompt],
    decoding: Decoding,
    path: Path,
    *,
    seed: int,
    shown: Callable[[Prompt], Request] = lambda prompt: prompt.request,
    prompt_ids: PromptIds,
    on_start: Callable[[int, int], None] | None = None,
    on_tokens: OnTokens | None = None,
    on_sample: OnSample | None = None,
) -> list[SampleRow]:
    """Draw one sample per prompt that fits the context, append each to `path`, and return them in the prompts' order.

    Args:
        shown: what the base is shown; rows hold the ids of the prompt's own request, which is trained on.
        on_start: called once with the number of samples that are there and of all samples.

    Raises:
        RoundFault: the engine serves an adapter, returns no token ids, or renders prompts differently; or earlier
            samples of this round came from another base.
        ModelFault: the engine failed.
    """
    require_frozen_base(engine)
    with JsonLines(path, parser(SampleRow), cut_damage=True) as lines:
        rows = {row.index: row for row in lines.rows}
        _same_base(rows.values(), engine)
        room = engine.context_tokens - decoding.max_tokens
        ids = {index: tuple(prompt_ids(prompt.request)) for index, prompt in enumerate(prompts)}
        asked = [shown(prompt) for prompt in prompts]
        lengths = [
            len(ids[index]) if asked[index] == prompts[index].request else len(prompt_ids(asked[index]))
            for index in range(len(prompts))
        ]
        fitting = [index for index in range(len(prompts)) if lengths[index] <= room]
        missing = [index for index in fitting if index not in rows]
        if on_start:
            on_start(len(rows), len(fitting))
        requests = [asked[index].model_copy(update={"seed": sample_seed(seed, index)}) for index in missing]

        def keep(request: int, _: int, completion: Completion) -> None:
            index = missing[request]
            row = _row(index, prompts[index], ids[index], completion, asked_tokens=lengths[index])
            lines.append(as_json(row))
            rows[index] = row
            if on_sample:
                on_sample(row)

        if requests:
            engine.complete(
                requests, decoding.model_copy(update={"n": 1}), on_tokens=on_tokens, on_completion=keep
            )
    return [rows[index] for index in fitting]


def sample_seed(round_seed: int, index: int) -> int:
    """Return the seed of one prompt's sample. It does not depend on the batch."""
    digest = hashlib.sha256(f"{round_seed}/samples/{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _same_base(rows: Iterable[SampleRow], engine: Engine) -> None:
    for row in rows:
        if row.model != str(engine.identity):
            raise RoundFault(
                f"this round's samples came from {row.model}, but {engine.identity} is loaded",
                fix="restore that model, or start a new round",
            )


def _row(
    index: int, prompt: Prompt, ids: tuple[int, ...], completion: Completion, *, asked_tokens: int
) -> SampleRow:
    if completion.token_ids is None:
        raise RoundFault(
            f"{completion.model.engine} returns no token ids, and text must not be tokenised again",
            fix="sample with the transformers or the vllm engine",
        )
    if completion.prompt_tokens != asked_tokens:
        raise RoundFault(
            f"prompt {prompt.prompt_id}: the engine counts {completion.prompt_tokens} tokens, "
            f"we render {asked_tokens}",
            fix="this is a bug: please report it with the model's name",
            exit_code=EXIT_INFRASTRUCTURE,
        )
    return SampleRow(
        index=index,
        prompt_id=prompt.prompt_id,
        prompt_ids=ids,
        token_ids=completion.token_ids,
        text=completion.text,
        finish_reason=completion.finish_reason,
        model=str(completion.model),
    )


_FENCE = re.compile(r"^\s*(```|~~~)")


def drop_reason(text: str) -> str | None:
    """Return why the paper's filter drops this answer, or None. Fence marks and blank lines do not count as lines."""
    lines = [line for line in text.splitlines() if line.strip() and not _FENCE.match(line)]
    if not lines:
        return "empty"
    return "one-line stub" if len(lines) == 1 else None
