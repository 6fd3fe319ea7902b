"""From samples to training examples, and from examples to batches. Pure functions, no torch.

Token ids are the ones that the engine sampled: text is never tokenised again. Labels are the completion and
the end-of-turn token; prompts (and in agent runs the tools' output, which is part of the prompt) are masked.
A sample that hit the length limit is kept, as raw samples are, but nothing teaches it to end there: it has
no end-of-turn token. (The paper does not say what it does with these.)
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
    """Index of the first token that is trained on; all from there on are."""

    @property
    def labels(self) -> int:
        """Number of tokens trained on."""
        return len(self.input_ids) - self.labels_from


class DatasetStats(BaseModel):
    """What the dataset stage tells."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    examples: int
    label_tokens: int
    prompt_tokens: int
    longest: int
    without_end: int
    """Samples that hit the length limit: no end-of-turn token is trained on."""
    too_long: int
    """Dropped: prompt and completion exceed `max_length`."""


def build(
    samples: Sequence[SampleRow], *, eos_ids: Sequence[int], max_length: int
) -> tuple[list[Example], DatasetStats]:
    """Examples in the order of the samples.

    Args:
        eos_ids: tokens that end the model's turn; the first is appended where the engine left it out.

    Raises:
        RoundFault: nothing is left to train on.
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
    """The sampled ids, ended by an end-of-turn token exactly where the model ended its turn."""
    ids = sample.token_ids
    if sample.finish_reason is FinishReason.STOP and (not ids or ids[-1] not in eos_ids):
        return (*ids, eos_ids[0])
    return ids


def plan_steps(
    examples: Sequence[Example], config: TrainConfig, *, seed: int
) -> Iterator[list[list[Example]]]:
    """The micro-batches of each optimiser step, a pure function of its arguments: resuming needs only the
    step's number. Each epoch is shuffled anew; a batch is sorted by length, so that padding stays small."""
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
    """Optimiser steps that `plan_steps` yields."""
    return config.steps or config.epochs * -(-len(examples) // config.batch_size)


def step_tokens(examples: Sequence[Example], config: TrainConfig, *, seed: int) -> list[int]:
    """Tokens that each optimiser step reads."""
    return [
        sum(len(example.input_ids) for micro in step for example in micro)
        for step in plan_steps(examples, config, seed=seed)
    ]


def micro_batches(batch: Sequence[Example], micro_tokens: int) -> list[list[Example]]:
    """Cut a batch, sorted by length, so that none exceeds `micro_tokens` with padding (or has one row).

    Raises:
        RoundFault: the batch holds no label at all; its gradient would be noise over zero.
    """
    if not any(example.labels for example in batch):
        raise RoundFault("a batch without a single label", fix="raise --max-tokens or check the samples")
    cut: list[list[Example]] = []
    for example in sorted(batch, key=lambda e: len(e.input_ids)):
        if cut and (len(cut[-1]) + 1) * len(example.input_ids) <= micro_tokens:
            cut[-1].append(example)
        else:
            cut.append([example])
    return cut
