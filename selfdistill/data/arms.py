"""Ways to make training data, behind one interface.

An arm says how the base is sampled and which samples are kept. `ssd` is the paper's method. `rft` keeps only
samples that pass their tests (rejection-sampling fine-tuning). `placebo` samples at temperature 1 without
truncation, which is an exact fixed point of the loss: what it gains is noise or format, not folding.
An arm on other targets than sampled ids (logits) adds a stage between samples and adapter, not a branch here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.contract import Decoding
from selfdistill.contract import ArmName, Prompt, Recipe, RoundFault
from selfdistill.data.samples import SampleRow, drop_reason

Passed = Callable[[Sequence[tuple[Prompt, SampleRow]]], list[bool]]
"""Judges samples by their problems' tests; slow, runs programs in a sandbox."""


@dataclass(frozen=True)
class Kept:
    """What the arm lets through, and why the others fell."""

    samples: list[SampleRow]
    dropped: dict[str, int]
    """Reason -> count."""


@dataclass(frozen=True)
class Arm:
    name: ArmName
    about: str
    tests_needed: bool
    """Only prompts with tests can be used."""
    raw: bool
    """Sample at temperature 1 without truncation instead of the recipe's decoding."""

    def decoding(self, recipe: Recipe) -> Decoding:
        """How the base is sampled: one sample per prompt."""
        if self.raw:
            return Decoding(temperature=1.0, max_tokens=recipe.sampling.max_tokens)
        return recipe.sampling

    def keep(self, prompts: Sequence[Prompt], samples: Sequence[SampleRow], passed: Passed) -> Kept:
        """Filter samples; each answers the prompt at its own `index`."""
        dropped: dict[str, int] = {}
        left: list[tuple[Prompt, SampleRow]] = []
        for sample in samples:
            prompt = prompts[sample.index]
            reason = drop_reason(sample.text)
            if reason:
                dropped[reason] = dropped.get(reason, 0) + 1
            else:
                left.append((prompt, sample))
        if self.tests_needed and left:
            verdicts = passed(left)
            failed = verdicts.count(False)
            if failed:
                dropped["failed its tests"] = failed
            left = [pair for pair, ok in zip(left, verdicts, strict=True) if ok]
        if not left:
            raise RoundFault(
                f"no sample is left: {', '.join(f'{n} {why}' for why, n in dropped.items()) or 'none made'}",
                fix="take more prompts (--limit), longer answers (--max-tokens) or another --arm",
            )
        return Kept([sample for _, sample in left], dropped)


ARMS: dict[ArmName, Arm] = {
    "ssd": Arm("ssd", "the paper: one raw sample per prompt, no correctness filter", False, False),
    "rft": Arm("rft", "only samples that passed their problem's tests", True, False),
    "placebo": Arm("placebo", "temperature 1 without truncation: a control", False, True),
}
