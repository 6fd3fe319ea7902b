"""evals: a comparison and a gate's verdict on the terminal.

Input: frozen results. Output: tables and sentences.
"""

from __future__ import annotations

from rich.console import Group
from rich.table import Column, Table
from rich.text import Text

from forklock.evals.reports.terminal import percent, warned
from forklock.evals.statistics.comparison import Comparison, Effect, Flip, Power, Side
from forklock.evals.statistics.gate import GateVerdict


def comparison_view(found: Comparison, *, flips: int) -> Group:
    """Return the whole report, with at most `flips` of the problems that changed."""
    parts = (
        *(warned(text) for text in found.warnings),
        _scores(found),
        effect_text(found.effect, found.test),
        power_text(found.power, found.effect),
        _changed(found),
        _groups(found),
        _flips(found.flips, flips),
    )
    return Group(*(part for part in parts if part != ""))


def gate_view(verdict: GateVerdict) -> Group:
    """Return the verdict in one line, after what it rests on."""
    found = verdict.comparison
    colour = "green" if verdict.passed else "red"
    return Group(
        *(warned(text) for text in found.warnings),
        _scores(found),
        Text.assemble((verdict.outcome, f"bold {colour}"), f": {verdict.reason}"),
    )


def effect_text(effect: Effect, test: str) -> str:
    """Return the effect as a sentence."""
    return (
        f"B − A: {points(effect.difference)} points [{points(effect.low)}, {points(effect.high)}] over "
        f"{effect.problems} problems, {p_text(effect.p_value)} (two-sided, {test})"
    )


def power_text(power: Power, effect: Effect) -> str:
    """Return the power as a sentence."""
    if power.needed is None or power.smallest is None:
        return "power: no problem changed, so the number of problems needed is unknown"
    return (
        f"power: to see {100 * power.aim:g} points (80 % of the time, two-sided 5 %) you would need "
        f"{power.needed} problems; with these {effect.problems} the smallest difference seen 80 % of the time "
        f"is {100 * power.smallest:.1f} points"
    )


def points(value: float) -> str:
    """Format a difference of pass rates in percentage points."""
    return f"{100 * value:+.1f}"


def p_text(p: float) -> str:
    """Format a p-value."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _scores(found: Comparison) -> Table:
    folded = (Column(name, overflow="fold") for name in ("run", "model"))
    table = Table("", *folded, "pass@1  [95 % interval]", "problems", "left out")
    for name, side in (("A", found.a), ("B", found.b)):
        table.add_row(name, *_row(side))
    return table


def _row(side: Side) -> tuple[str, ...]:
    score = side.score
    return (
        side.run_id, side.model, percent(score).strip(), str(score.problems), str(side.left_out),
    )  # fmt: skip


def _changed(found: Comparison) -> str:
    if not found.changed:
        return "configurations: the same but for the seed, so any difference is chance"
    return f"configurations differ in: {'; '.join(found.changed)}"


def _groups(found: Comparison) -> Table | str:
    if not found.groups:
        return ""
    table = Table("difficulty", "problems", "A", "B", "B − A, points  [95 % interval]", "p", "p, Holm")
    for group in found.groups:
        effect = group.effect
        table.add_row(
            group.name,
            str(effect.problems),
            f"{effect.a:.1%}",
            f"{effect.b:.1%}",
            f"{points(effect.difference)}  [{points(effect.low)}, {points(effect.high)}]",
            f"{effect.p_value:.3f}",
            f"{group.p_holm:.3f}",
        )
    return table


def _flips(flips: tuple[Flip, ...], most: int) -> Group | str:
    gained = sum(flip.change > 0 for flip in flips)
    text = f"{len(flips)} problems changed: {gained} better, {len(flips) - gained} worse in B"
    if not flips[:most]:
        return text
    table = Table("problem", "difficulty", "A passed", "B passed")
    for flip in flips[:most]:
        table.add_row(
            flip.question_id,
            flip.difficulty,
            f"{flip.a_passed}/{flip.a_judged}",
            f"{flip.b_passed}/{flip.b_judged}",
        )
    rest = len(flips) - most
    return Group(text, table, f"and {rest} more (--flips {len(flips)})" if rest > 0 else "")
