"""evals: the result of an evaluation: verdicts by problem, pass@k, tokens, cost and time.

`forklock.evals.runs.run` makes results; statistics, reports and sweeps read them. `result.json` holds one.
"""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path

from pydantic import ConfigDict

from forklock.evals.contract import Frozen, Verdict
from forklock.models.contract import Decoding, ModelIdentity


class ProblemResult(Frozen):
    """Verdicts on the samples of one problem."""

    question_id: str
    difficulty: str
    platform: str
    contest_date: date | None
    verdicts: dict[Verdict, int]
    """Number of samples by verdict, infrastructure errors included."""

    @property
    def judged(self) -> int:
        """Samples that have a verdict; infrastructure errors do not count."""
        return sum(self.verdicts.values()) - self.verdicts.get(Verdict.INFRASTRUCTURE, 0)

    @property
    def passed(self) -> int:
        return self.verdicts.get(Verdict.PASSED, 0)


class PassAtK(Frozen):
    """pass@k: the mean over problems, with a 95 % bootstrap interval over problems."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    k: int
    value: float
    """NaN where no problem has k judged samples: nothing is known then, and 0 would be a claim."""
    low: float
    high: float
    problems: int
    """Problems with at least k judged samples."""


class EvalResult(Frozen):
    """The result of one evaluation, as it is stored in `result.json`."""

    run_id: str
    folder: Path
    set_name: str
    set_version: str
    model: ModelIdentity
    preset: str
    decoding: Decoding
    n: int
    problems: tuple[ProblemResult, ...]
    pass_at: tuple[PassAtK, ...]
    prompt_tokens: int
    completion_tokens: int
    cut: int
    """Samples that hit the length limit."""
    cost_usd: float | None
    made: int
    """Samples made by this call; the others were stored already."""
    generate_s: float
    judge_s: float
    """Wall-clock seconds of this call."""
    repair: int = 0
    """Largest number of repair turns. Tokens and cost are those of all turns, verdicts those of last answers."""
    repaired: int = 0
    """Samples that were asked again at least once."""
    notes: tuple[str, ...] = ()
    judge: str = ""
    """Stamp of the judge (`ProgramJudge.stamp`); empty in results that were stored before it was kept."""

    @property
    def verdicts(self) -> Counter[Verdict]:
        return sum((Counter(problem.verdicts) for problem in self.problems), Counter())

    @property
    def infrastructure(self) -> int:
        return self.verdicts[Verdict.INFRASTRUCTURE]

    @property
    def incomplete(self) -> str:
        """Why the scores are not those of all samples; empty if they are."""
        missing, total = self.infrastructure, self.verdicts.total()
        return f"incomplete: {missing} of {total} samples have no verdict" if missing else ""

    def rates(self) -> dict[str, float]:
        """Pass rate of each problem that has verdicts, by question_id."""
        return {p.question_id: p.passed / p.judged for p in self.problems if p.judged}
