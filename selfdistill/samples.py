"""Raw samples from the frozen base, one per prompt, appended as they end.

In: prompts, an engine without an adapter, the arm's decoding. Out: `samples.jsonl`, a line per sample with
the prompt's and the completion's own token ids. Kill it at any point: a torn last line is cut off and only
what is missing is sampled. Each prompt has a seed of its own, made from the round's seed and the prompt's
index, so that where the engine draws per sample the same samples come whatever the batches were.
Filter (`drop_reason`): only empty answers and one-line stubs, as in the paper; correctness is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from models.contract import Completion, Decoding, Engine, FinishReason, Request
from selfdistill.contract import EXIT_INFRASTRUCTURE, Prompt, RoundFault
from selfdistill.store import Appender

PromptIds = Callable[[Request], Sequence[int]]
"""The engine's own rendering of a request as token ids."""
OnSample = Callable[[int], None]
"""Called with the number of new tokens of each finished sample."""


class SampleRow(BaseModel):
    """One raw sample. Token ids are the engine's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int
    """Of the prompt in the round."""
    prompt_id: str
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    text: str
    finish_reason: FinishReason
    model: str
    """`ModelIdentity`, printed: never one with an adapter."""


def require_frozen_base(engine: Engine) -> None:
    """Refuse to sample training data from anything but the bare base.

    Raises:
        RoundFault: the engine serves an adapter; a student that teaches itself drifts.
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
    prompt_ids: PromptIds,
    batch: int,
    on_sample: OnSample | None = None,
) -> list[SampleRow]:
    """Fill `path` with one sample per prompt and return them in the prompts' order.

    Raises:
        RoundFault: the engine serves an adapter, gives no token ids, or renders prompts otherwise than we do;
            or the base is not the one that earlier samples of this round came from.
        ModelFault: from the engine.
    """
    require_frozen_base(engine)
    with Appender(path) as lines:
        rows = {row.index: row for row in map(SampleRow.model_validate, lines.rows)}
        _same_base(rows.values(), engine)
        missing = [index for index in range(len(prompts)) if index not in rows]
        for part in _parts(missing, batch):
            ids = [tuple(prompt_ids(prompts[index].request)) for index in part]

            def keep(request: int, _sample: int, completion: Completion, part=part, ids=ids) -> None:  # type: ignore[no-untyped-def]
                row = _row(part[request], prompts[part[request]], ids[request], completion)
                lines.append(row)
                rows[row.index] = row
                if on_sample:
                    on_sample(len(row.token_ids))

            _one_batch(engine, [prompts[index].request for index in part], decoding, seed + part[0], keep)
    return [rows[index] for index in range(len(prompts))]


def _one_batch(
    engine: Engine,
    requests: list[Request],
    decoding: Decoding,
    seed: int,
    keep: Callable[[int, int, Completion], None],
) -> None:
    engine.complete(requests, decoding.model_copy(update={"seed": seed, "n": 1}), on_completion=keep)


def _same_base(rows: Iterator[SampleRow] | object, engine: Engine) -> None:
    for row in rows:  # type: ignore[attr-defined]
        if row.model != str(engine.identity):
            raise RoundFault(
                f"this round's samples came from {row.model}, but {engine.identity} is loaded",
                fix="restore that model, or start a new round",
            )


def _parts(indices: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(indices), size):
        yield list(indices[start : start + size])


def _row(index: int, prompt: Prompt, ids: tuple[int, ...], completion: Completion) -> SampleRow:
    if completion.token_ids is None:
        raise RoundFault(
            f"{completion.model.engine} gives no token ids, and text must not be tokenised again",
            fix="sample with the transformers or the vllm engine",
        )
    if completion.prompt_tokens != len(ids):
        raise RoundFault(
            f"prompt {prompt.prompt_id}: the engine counts {completion.prompt_tokens} tokens, we render {len(ids)}",
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
    """Why the paper's filter drops this answer, or None. Fence marks and blank lines do not count."""
    lines = [line for line in text.splitlines() if line.strip() and not _FENCE.match(line)]
    if not lines:
        return "empty"
    return "one-line stub" if len(lines) == 1 else None
