"""evals: the result of a sweep: each cell's score and its difference from the baseline.

Input: the cells' `EvalResult`s. Output: `CellScore`s and a `SweepResult`, frozen and ready for JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from forklock.evals.contract import Frozen
from forklock.evals.results import EvalResult, PassAtK
from forklock.evals.statistics.comparison import Effect, Power, paired_effect
from forklock.evals.statistics.stats import holm, pass_at, pass_at_k
from forklock.evals.sweeps.grid import Cell, Plan
from forklock.models.contract import ModelIdentity


def same(one: Cell, two: Cell) -> bool:
    """Return whether two cells sample from the same distribution."""
    return one.decoding.digest() == two.decoding.digest()


class CellScore(Frozen):
    """The score of one cell on one part of the set."""

    cell: Cell
    score: PassAtK
    effect: Effect | None
    """The cell minus the baseline, over problems; None for the baseline itself."""
    p_holm: float | None
    """p-value, corrected for the number of cells that are compared with the baseline on this part."""
    tokens: int
    cut: int
    """Samples that hit the length limit."""
    run_id: str


class SweepResult(Frozen):
    """The result of one sweep, as it is stored in `sweep.json`."""

    sweep_id: str
    folder: Path
    """Folder of `sweep.json`, and of each cell's result under `development` and `test`."""
    set_name: str
    set_version: str
    model: ModelIdentity
    prompts: str
    plan: Plan
    development_problems: int
    test_problems: int
    rule: str
    development: tuple[CellScore, ...]
    """Baseline first, then the grid in its order; empty where nothing is tuned."""
    chosen: Cell | None
    test: tuple[CellScore, ...]
    """Baseline first, then the chosen cell, then the controls."""
    power: Power | None
    """What difference the test problems can show in the first comparison."""
    warnings: tuple[str, ...]

    @property
    def baseline_chosen(self) -> bool:
        """Whether the rule chose the baseline itself."""
        return self.chosen is not None and same(self.chosen, self.plan.baseline)


def scored(cells: Sequence[Cell], results: Sequence[EvalResult], k: int) -> list[CellScore]:
    """Score cells by their results; the first cell is the baseline of all comparisons."""
    rates = [_rates(result, k) for result in results]
    effects = [paired_effect(rates[0], other) for other in rates[1:]]
    adjusted = holm([effect.p_value for effect in effects])
    compared: list[tuple[Effect | None, float | None]] = [(None, None), *zip(effects, adjusted, strict=True)]
    return [
        CellScore(
            cell=cell,
            score=pass_at(result.problems, k),
            effect=effect,
            p_holm=p,
            tokens=result.completion_tokens,
            cut=result.cut,
            run_id=result.run_id,
        )
        for cell, result, (effect, p) in zip(cells, results, compared, strict=True)
    ]


def _rates(result: EvalResult, k: int) -> dict[str, float]:
    """Return pass@k by question_id."""
    return {p.question_id: pass_at_k(p.judged, p.passed, k) for p in result.problems if p.judged >= k}
