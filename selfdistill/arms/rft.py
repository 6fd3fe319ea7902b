"""`rft`: rejection-sampling fine-tuning. Only samples that pass their problem's tests are learned from."""

from __future__ import annotations

from collections.abc import Sequence

from forklock.selfdistill.arms.arm import Arm, Passed
from forklock.selfdistill.contract import Prompt
from forklock.selfdistill.data.samples import SampleRow


class Rft(Arm):
    name = "rft"
    about = "only samples that passed their problem's tests"
    needs_tests = True

    def choose(
        self, pairs: Sequence[tuple[Prompt, SampleRow]], passed: Passed, dropped: dict[str, int]
    ) -> list[SampleRow]:
        verdicts = passed(pairs)
        if failed := verdicts.count(False):
            dropped["failed its tests"] = failed
        return [sample for (_, sample), ok in zip(pairs, verdicts, strict=True) if ok]
