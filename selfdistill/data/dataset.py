"""Makes training examples of samples, and batches of examples. Pure functions, without torch.

Token ids are those that the engine sampled: text is never tokenised again. Labels are the completion and the
end-of-turn token. Prompts are masked; so is, in agent runs, the output of tools, which is part of the prompt. A sample
that hit the length limit is kept, but gets no end-of-turn token, so that the model does not learn to stop there.
(The paper does not say what it does with such samples.)
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict

from forklock.models.contract import FinishReason
from forklock.selfdistill.contract import RoundFault, TrainConfig
from forklock.selfdistill.data.samples import SampleRow


class Example(BaseModel):
    """One row of training data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt_id: str
    input_ids: tuple[int, ...]
    """Prompt, completion, and the end-of-turn token where the model ended its turn."""
    labels_from: int
    """Index of the first token that is trained on. All tokens from there on are trained on."""

    @property
    def labels(self) -> int:
        """Number of tokens trained on."""
        return len(self.input_ids) - self.labels_from


class DatasetStats(BaseModel):
    """Counts that the dataset stage reports."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    examples: int
    label_tokens: int
    prompt_tokens: int
    longest: int
    without_end: int
    """Samples that hit the length limit, and have no end-of-turn token."""
    too_long: int
    """Samples dropped because prompt and completion exceed `max_length`."""


def build(
    samples: Sequence[SampleRow], *, eos_ids: Sequence[int], max_length: int
) -> tuple[list[Example], DatasetStats]:
    """Return one example per sample, in their order, and counts.

    Args:
        eos_ids: tokens that end the model's turn. The first is appended where the engine left it out.

    Raises:
        RoundFault: no token is left to train on.
    """
    examples: list[Example] = []
    too_long = without_end = 0
    for sample in samples:
        ids = completion_ids(sample, eos_ids)
        example = Example(
            prompt_id=sample.prompt_id,
            input_ids=(*sample.prompt_ids, *ids),
            labels_from=len(sample.prompt_ids),
        )
        if len(example.input_ids) > max_length:
            too_long += 1
            continue
        without_end += sample.finish_reason is FinishReason.LENGTH
        examples.append(example)
    if not any(example.labels for example in examples):
        raise RoundFault(
            f"no token is left to train on ({len(samples)} samples, {too_long} longer than {max_length})",
            fix="take more prompts (--limit) or shorter answers (--max-tokens)",
        )
    return examples, DatasetStats(
        examples=len(examples),
        label_tokens=sum(e.labels for e in examples),
        prompt_tokens=sum(e.labels_from for e in examples),
        longest=max(len(e.input_ids) for e in examples),
        without_end=without_end,
        too_long=too_long,
    )


def completion_ids(sample: SampleRow, eos_ids: Sequence[int]) -> tuple[int, ...]:
    """Return the sampled ids, with an end-of-turn token if and only if the model ended its turn."""
    ids = sample.token_ids
    if sample.finish_reason is FinishReason.STOP and (not ids or ids[-1] not in eos_ids):
        return (*ids, eos_ids[0])
    return ids


def plan_steps(
    examples: Sequence[Example], config: TrainConfig, *, seed: int
) -> Iterator[list[list[Example]]]:
    """Yield the micro-batches of each optimiser step.

    They are a function of the arguments alone, so that resuming needs only the step's number. Each epoch is shuffled
    again. A batch is sorted by length to keep padding small."""
    step = 0
    epoch = 0
    while config.steps is not None or epoch < config.epochs:
        order = list(examples)
        random.Random(f"{seed}/{epoch}").shuffle(order)  # noqa: S311 - shuffling, not secrets
        for start in range(0, len(order), config.batch_size):
            if config.steps is not None and step >= config.steps:
                return
            yield micro_batches(order[start : start + config.batch_size], config.micro_tokens)
            step += 1
        epoch += 1


def count_steps(examples: Sequence[Example], config: TrainConfig) -> int:
    """Return the number of optimiser steps that `plan_steps` yields."""
    return config.steps or config.epochs * -(-len(examples) // config.batch_size)


def step_tokens(examples: Sequence[Example], config: TrainConfig, *, seed: int) -> list[int]:
    """Return the number of tokens that each optimiser step reads."""
    return [
        sum(len(example.input_ids) for micro in step for example in micro)
        for step in plan_steps(examples, config, seed=seed)
    ]


def micro_batches(batch: Sequence[Example], micro_tokens: int) -> list[list[Example]]:
    """Split a batch, sorted by length, into parts of at most `micro_tokens` padded tokens, or of one row.

    Raises:
        RoundFault: the batch has no label; the mean loss over zero labels is undefined.
    """
    if not any(example.labels for example in batch):
        raise RoundFault(
            "training got a batch without a single label", fix="raise --max-tokens, or see samples.jsonl"
        )
    cut: list[list[Example]] = []
    for example in sorted(batch, key=lambda e: len(e.input_ids)):
        if cut and (len(cut[-1]) + 1) * len(example.input_ids) <= micro_tokens:
            cut[-1].append(example)
        else:
            cut.append([example])
    return cut
