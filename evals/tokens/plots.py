"""evals: pictures of token gauges: mass by rank, and how many tokens survive. In: a `TokensResult`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evals.reports.drawing import INK, percent_tick
from evals.reports.plots import COLOURS
from evals.sweeps.plots import Picture
from evals.tokens.stats import Side, TokensResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def pictures(result: TokensResult) -> list[Picture]:
    """Rank mass and survivors, of one model or of both."""
    sides = [result.model] + ([result.versus] if result.versus else [])
    return [_rank_mass(sides), _survivors(sides, result.cut)]


def _rank_mass(sides: list[Side]) -> Picture:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for number, side in enumerate(sides):
            ranks, curve, colour = [int(label) for label in side.ranks.labels], side.ranks, COLOURS[number]
            axes.fill_between(ranks, curve.lows, curve.highs, color=colour, alpha=0.15, linewidth=0)
            axes.plot(ranks, curve.values, "o-", color=colour, markersize=3, linewidth=1, label=side.model)
        axes.set_xscale("log")
        axes.set_xticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
        axes.minorticks_off()
        axes.set_xlabel("tokens, likeliest first")
        axes.set_ylabel("mass up to that rank")
        axes.set_ylim(top=1)
        axes.yaxis.set_major_formatter(percent_tick)
        axes.grid(axis="y")
        _legend(figure, sides)

    return Picture("rank-mass", "Mass by rank, mean over tokens", (5.2, 3.2 + 0.3 * (len(sides) - 1)), draw)


def _survivors(sides: list[Side], cut: str) -> Picture:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        width = 0.8 / len(sides)
        for number, side in enumerate(sides):
            curve = side.survivors
            places = [place - 0.4 + width * (number + 0.5) for place in range(len(curve.labels))]
            axes.bar(places, curve.values, width * 0.92, color=COLOURS[number], label=side.model)
            axes.vlines(places, curve.lows, curve.highs, color=INK, linewidth=1)
        axes.set_xticks(range(len(sides[0].survivors.labels)), sides[0].survivors.labels)
        axes.set_xlabel(f"tokens that survive {cut} (1 is a lock)")
        axes.set_ylabel("share of tokens")
        axes.yaxis.set_major_formatter(percent_tick)
        axes.grid(axis="y")
        _legend(figure, sides)

    return Picture("survivors", "Locks and forks", (5.2, 3.2 + 0.3 * (len(sides) - 1)), draw)


def _legend(figure: Figure, sides: list[Side]) -> None:
    if len(sides) > 1:
        figure.legend(loc="outside lower center", fontsize=8)
