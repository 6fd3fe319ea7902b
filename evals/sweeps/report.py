"""evals: a sweep on the terminal: progress over all cells, and tables.

Input: a `SweepResult`, or live progress. Output: lines and tables. The development table says that it is for tuning
only.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.table import Column, Table

from forklock.evals.contract import Verdict
from forklock.evals.reports.comparison import p_text, points
from forklock.evals.reports.terminal import LiveProgress, percent, warned
from forklock.evals.results import EvalResult
from forklock.evals.sweeps.grid import Cell
from forklock.evals.sweeps.results import CellScore, SweepResult, same
from forklock.sandbox.terminal.console import Screen


class SweepProgress:
    """Shows one bar over all cells of a sweep, and a line as each cell ends; wraps an entered `LiveProgress`."""

    def __init__(self, console: Screen, live: LiveProgress, total: int) -> None:
        self._console, self._live = console, live
        live.begin(total, 0)

    def begin(self, total: int, stored: int) -> None:
        pass

    def tokens(self, count: int) -> None:
        self._live.tokens(count)

    def sampled(self) -> None:
        self._live.sampled()

    def judged(self, verdict: Verdict) -> None:
        self._live.judged(verdict)

    def cell(self, part: str, cell: Cell, result: EvalResult) -> None:
        """Print the result of a cell."""
        score = result.pass_at[0]
        self._console.print(
            f"{part}: {cell.name}: pass@{score.k} {percent(score).strip()}, {result.made} samples made now"
        )


def sweep_view(result: SweepResult) -> Group:
    """Return the whole report; what may be quoted comes last."""
    parts = (
        *(warned(text) for text in result.warnings),
        f"{result.set_name}, {result.model}, prompts {result.prompts}",
        f"rule: {result.rule}",
        _development(result),
        _table(test_title(result), result.test, result),
        "\n".join(conclusions(result)),
        f"files: {result.folder}",
    )
    return Group(*(part for part in parts if part != ""))


def test_title(result: SweepResult) -> str:
    return f"test: {result.test_problems} problems × {result.plan.n} samples"


def conclusions(result: SweepResult) -> list[str]:
    """Return a sentence for each comparison on the test problems, and one on what they can show."""
    lines = []
    if result.baseline_chosen:
        lines.append("the rule chose the baseline itself: tuning found nothing better on development")
    for score in result.test:
        if score.effect is None or score.p_holm is None:
            continue
        effect = score.effect
        role = "chosen: " if result.chosen and same(score.cell, result.chosen) else ""
        lines.append(
            f"{role}{score.cell.name}, minus the baseline: {points(effect.difference)} points "
            f"[{points(effect.low)}, {points(effect.high)}], {p_text(score.p_holm)} (Holm): {_verdict(score)}"
        )
    if result.power is not None and result.power.smallest is not None:
        lines.append(
            f"power: {result.test_problems} test problems show a difference of {100 * result.power.smallest:.1f} "
            f"points 80 % of the time; {100 * result.power.aim:g} points would need {result.power.needed}"
        )
    return lines


def _verdict(score: CellScore) -> str:
    if score.effect is None or score.p_holm is None or score.p_holm >= 0.05:
        return "no difference shown"
    return "better" if score.effect.difference > 0 else "worse"


def _development(result: SweepResult) -> Table | str:
    if not result.development:
        return ""
    ranked = sorted(result.development, key=lambda score: -score.score.value)
    title = (
        f"development: {result.development_problems} problems × {result.plan.n} samples "
        "(for tuning; the best of many is too good)"
    )
    return _table(title, ranked, result)


def _table(title: str, scores: Sequence[CellScore], result: SweepResult) -> Table:
    table = Table(
        Column("", width=1), Column("decoding", overflow="fold"), "T eff", f"pass@{result.plan.k}  [95 %]",
        "− baseline, points  [95 %]", "p, Holm", "cut", title=title, title_justify="left",
    )  # fmt: skip
    for score in scores:
        mark = "→" if result.chosen and same(score.cell, result.chosen) else ""
        table.add_row(mark, score.cell.name, *_row(score))
    return table


def _row(score: CellScore) -> tuple[str, ...]:
    effect = score.effect
    return (
        f"{score.cell.decoding.effective_temperature:.2f}",
        percent(score.score).strip(),
        f"{points(effect.difference)}  [{points(effect.low)}, {points(effect.high)}]"
        if effect
        else "baseline",
        "" if score.p_holm is None else f"{score.p_holm:.3f}",
        str(score.cut),
    )
