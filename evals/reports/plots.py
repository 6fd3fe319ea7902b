"""evals: plots of runs as inline SVG.

Input: results, in the order of their letters. Output: SVG text (see `forklock.evals.reports.drawing`), or None
where there is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

from forklock.evals.contract import Verdict
from forklock.evals.reports.drawing import INK, percent_tick, svg
from forklock.evals.results import EvalResult, PassAtK, ProblemResult
from forklock.evals.statistics.comparison import by_difficulty
from forklock.evals.statistics.stats import pass_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
COLOURS = ("#3b82f6", "#f97316", "#10b981", "#a855f7", "#ef4444", "#eab308")
"""Colours of the runs in turn; readable on black and on white."""
VERDICT_COLOURS = {
    Verdict.PASSED: "#10b981",
    Verdict.WRONG_ANSWER: "#ef4444",
    Verdict.EXCEPTION: "#f97316",
    Verdict.TIMED_OUT: "#eab308",
    Verdict.OUT_OF_MEMORY: "#a855f7",
    Verdict.NO_CODE: "#94a3b8",
    Verdict.INFRASTRUCTURE: "#64748b",
}


def pass_at_k_curve(runs: Sequence[EvalResult]) -> str | None:
    """Draw pass@k against k with 95 % bands; None where no run has two samples per problem."""
    curves = [_curve(run) for run in runs]
    if all(len(curve) < 2 for curve in curves):
        return None

    def draw(axes: Axes) -> None:
        for number, curve in enumerate(curves):
            ks, colour = [score.k for score in curve], _colour(number)
            axes.fill_between(
                ks, [s.low for s in curve], [s.high for s in curve], color=colour, alpha=0.15, linewidth=0
            )
            axes.plot(
                ks, [s.value for s in curve], "o-", color=colour, label=LETTERS[number], markersize=4, clip_on=False
            )  # fmt: skip
        axes.set_xscale("log", base=2)
        ticks = sorted({score.k for curve in curves for score in curve})
        axes.set_xticks(ticks, [str(k) for k in ticks])
        axes.set_xlabel("k")
        _rates(axes, "pass@k")
        axes.legend(loc="best")

    return _svg("curve", (5.2, 3.2), draw)


def difficulty_bars(runs: Sequence[EvalResult]) -> str | None:
    """Draw pass@1 by difficulty; None where there is only one difficulty."""
    names = list(by_difficulty([problem for run in runs for problem in run.problems]))
    if len(names) < 2:
        return None

    def draw(axes: Axes) -> None:
        for number, run in enumerate(runs):
            groups = by_difficulty(run.problems)
            _bars(axes, number, len(runs), [pass_at(groups.get(name, []), 1) for name in names])
        axes.set_xticks(range(len(names)), [name if len(name) <= 16 else f"{name[:15]}…" for name in names])
        _rates(axes, "pass@1")
        axes.legend(loc="best")

    return _svg("difficulty", (5.2, 3.2), draw)


def month_series(runs: Sequence[EvalResult], cutoff: date | None) -> str | None:
    """Draw pass@1 by month of the contest with the training cutoff marked; None for fewer than two months."""
    months = sorted({_month(p.contest_date) for run in runs for p in run.problems if p.contest_date})
    if len(months) < 2:
        return None

    def draw(axes: Axes) -> None:
        for number, run in enumerate(runs):
            grouped: dict[date, list[ProblemResult]] = {month: [] for month in months}
            for problem in run.problems:
                if problem.contest_date:
                    grouped[_month(problem.contest_date)].append(problem)
            _points(axes, number, len(runs), months, grouped)
        if cutoff is not None:
            _mark(axes, months, cutoff)
        axes.set_xticks(range(len(months)), [f"{month:%Y-%m}" for month in months], rotation=45, ha="right")
        _rates(axes, "pass@1")
        axes.legend(loc="best")

    return _svg("months", (max(5.2, 0.42 * len(months) + 1.5), 3.4), draw)


def verdict_shares(runs: Sequence[EvalResult]) -> str:
    """Draw stacked shares of verdicts, one bar per run."""

    def draw(axes: Axes) -> None:
        lefts = [0.0] * len(runs)
        for verdict, colour in VERDICT_COLOURS.items():
            shares = [run.verdicts[verdict] / max(1, run.verdicts.total()) for run in runs]
            if any(shares):
                axes.barh(range(len(runs)), shares, left=lefts, color=colour, label=verdict.value, height=0.6)
                lefts = [left + share for left, share in zip(lefts, shares, strict=True)]
        axes.set_yticks(range(len(runs)), LETTERS[: len(runs)])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(percent_tick)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, fontsize=8)

    return _svg("verdicts", (5.2, 1.3 + 0.42 * len(runs)), draw)


def _curve(run: EvalResult) -> list[PassAtK]:
    """Return pass@k at powers of two and at the largest k that every problem with a verdict has."""
    most = min((problem.judged for problem in run.problems if problem.judged), default=0)
    ks = sorted({*(2**power for power in range(most.bit_length())), most} - {0})
    return [pass_at(run.problems, k) for k in ks]


def _bars(axes: Axes, number: int, count: int, scores: Sequence[PassAtK]) -> None:
    width = 0.8 / count
    places = [place - 0.4 + width * (number + 0.5) for place in range(len(scores))]
    values = [score.value if score.problems else 0.0 for score in scores]
    axes.bar(places, values, width * 0.92, color=_colour(number), label=LETTERS[number])
    known = [index for index, score in enumerate(scores) if score.problems]
    axes.vlines(
        [places[index] for index in known],
        [scores[index].low for index in known],
        [scores[index].high for index in known],
        color=INK,
        linewidth=1,
    )


def _points(
    axes: Axes, number: int, count: int, months: Sequence[date], grouped: Mapping[date, list[ProblemResult]]
) -> None:
    scores = [(index, pass_at(grouped[month], 1)) for index, month in enumerate(months)]
    known = [(index + 0.12 * (number - (count - 1) / 2), score) for index, score in scores if score.problems]
    places, colour = [place for place, _ in known], _colour(number)
    axes.vlines(
        places, [s.low for _, s in known], [s.high for _, s in known], color=colour, alpha=0.45, linewidth=2
    )
    axes.plot(
        places, [s.value for _, s in known], "o-", color=colour, label=LETTERS[number],
        markersize=4, linewidth=1, clip_on=False,
    )  # fmt: skip


def _mark(axes: Axes, months: Sequence[date], cutoff: date) -> None:
    """Draw a line where the cutoff lies among the months, and shade the months before it."""
    before = sum(month <= cutoff for month in months)
    inside = before and months[before - 1] == _month(cutoff)
    place = before - 0.5 - (1 - cutoff.day / 31 if inside else 0)
    axes.axvspan(-0.5, place, color=INK, alpha=0.06, linewidth=0)
    axes.axvline(place, color=INK, linestyle="--", linewidth=1)
    axes.set_xlim(-0.5, len(months) - 0.5)
    axes.set_title(f"training cutoff {cutoff}: shaded contests may have been seen", fontsize=9)


def _rates(axes: Axes, label: str) -> None:
    axes.set_ylim(0, 1)
    axes.set_ylabel(label)
    axes.yaxis.set_major_formatter(percent_tick)
    axes.grid(axis="y")


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _month(day: date) -> date:
    return day.replace(day=1)


def _svg(name: str, inches: tuple[float, float], draw: Callable[[Axes], None]) -> str:
    return svg(name, inches, lambda figure: draw(figure.subplots()))
