"""The seam of an arm: what it samples, what it keeps, its loss, its gauges.

An arm is a subclass of `Arm` in a file of its own, and a line in `known.py`. What it does not override is what the SSD
paper does: one raw sample per prompt at the recipe's decoding, cross-entropy on the sampled token ids.
In: a recipe, prompts, samples, a model. Out: a decoding, the samples that are learned from, a loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from forklock.models.contract import Decoding, FirstStage, Request
from forklock.selfdistill.contract import Prompt, Recipe, RoundFault
from forklock.selfdistill.data.dataset import Example
from forklock.selfdistill.data.samples import SampleRow, drop_reason
from forklock.selfdistill.gate.gauges import cut_of

if TYPE_CHECKING:
    from torch import Tensor, nn

Passed = Callable[[Sequence[tuple[Prompt, SampleRow]]], list[bool]]
"""Judges samples by their problems' tests. Slow: runs programs in a sandbox."""


@dataclass(frozen=True)
class Kept:
    """The samples that are learned from, and why the others were dropped."""

    samples: list[SampleRow]
    dropped: dict[str, int]
    """Reason -> count."""


class Arm:
    """One way to make practice and to learn from it."""

    name: ClassVar[str]
    """What `--arm` takes."""
    about: ClassVar[str]
    """One line for the user."""
    needs_tests: ClassVar[bool] = False
    """Whether only prompts with tests can be used; others are refused before the round starts."""

    # -- sampling ---------------------------------------------------------------------------------------

    def decoding(self, recipe: Recipe) -> Decoding:
        """Return how the frozen base is sampled, one sample per prompt."""
        return recipe.sampling

    def shown(self, prompt: Prompt) -> Request:
        """Return what the base is shown when it is sampled. What is trained on is always `prompt.request`."""
        return prompt.request

    # -- keeping ----------------------------------------------------------------------------------------

    def keep(self, prompts: Sequence[Prompt], samples: Sequence[SampleRow], passed: Passed) -> Kept:
        """Choose the samples that are learned from; each answers the prompt at its own `index`.

        Raises:
            RoundFault: none is left.
        """
        left: list[tuple[Prompt, SampleRow]] = []
        dropped: dict[str, int] = {}
        for sample in samples:
            reason = drop_reason(sample.text)
            if reason:
                dropped[reason] = dropped.get(reason, 0) + 1
            else:
                left.append((prompts[sample.index], sample))
        chosen = self.choose(left, passed, dropped) if left else []
        if not chosen:
            raise RoundFault(
                f"no sample is left: {', '.join(f'{n} {why}' for why, n in dropped.items()) or 'none made'}",
                fix="take more prompts (--limit), longer answers (--max-tokens) or another --arm",
            )
        return Kept(chosen, dropped)

    def choose(
        self,
        pairs: Sequence[tuple[Prompt, SampleRow]],
        passed: Passed,  # noqa: ARG002 - for arms that override this
        dropped: dict[str, int],  # noqa: ARG002
    ) -> list[SampleRow]:
        """Choose among the samples that are neither empty nor one-line stubs.

        Args:
            dropped: takes a count for each reason to drop one.
        """
        return [sample for _, sample in pairs]

    # -- learning ---------------------------------------------------------------------------------------

    def loss(
        self,
        model: nn.Module,
        rows: Sequence[Example],
        device: str,
        cut: FirstStage,  # noqa: ARG002 - for arms that override this
    ) -> Tensor:
        """Return the *sum* of the loss over the labels of these rows, differentiable in the LoRA's weights.

        Args:
            model: a PEFT model over the frozen base: `with model.disable_adapter():` makes it the teacher.
            cut: the train-time truncation.
        """
        from forklock.selfdistill.training.train import loss_sum

        return loss_sum(model, rows, device)

    # -- gauging ----------------------------------------------------------------------------------------

    def cut(self, recipe: Recipe) -> FirstStage:
        """Return the truncation whose KeptMass the gate shows."""
        return cut_of(recipe.sampling)
