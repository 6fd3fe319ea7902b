"""evals: token gauges and lock/fork maps as files: one self-contained HTML page, and pictures as PNG.

Input: a `TokensResult` and maps. Output: `tokens.html`, `rank-mass.png`, `survivors.png`, `map-1.png` and so on. The
page runs no script and loads nothing: CSS switches colours and shows alternatives. Text by models is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from forklock.evals.reports.drawing import INK, Picture, percent_tick, rendered, write_page
from forklock.evals.reports.plots import COLOURS
from forklock.evals.tokens.map import (
    ENTROPY_COLOUR,
    FULL_ENTROPY,
    FULL_SURVIVORS,
    SURVIVOR_COLOUR,
    Map,
    map_png,
)
from forklock.evals.tokens.report import few_problems, number, signed, spoken
from forklock.evals.tokens.stats import Side, TokensResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_files(result: TokensResult, maps: Sequence[Map], folder: Path) -> list[Path]:
    """Write the page and its pictures; return the files.

    Raises:
        EvalFault: matplotlib is not installed.
        OSError: the folder cannot be written.
    """
    drawn = pictures(result)
    images = {f"{picture.name}.png": picture.png() for picture in drawn}
    images |= {f"map-{place}.png": map_png(one) for place, one in enumerate(maps, start=1)}
    return write_page(folder, "tokens.html", render(result, maps, drawn), images)


def render(result: TokensResult, maps: Sequence[Map], drawn: Sequence[Picture]) -> str:
    """Return the page's text."""
    return rendered(
        "tokens.html.j2",
        result=result,
        few=few_problems(result),
        maps=maps,
        plots=[(picture.title, picture.svg()) for picture in drawn],
        number=number,
        signed=signed,
        spoken=spoken,
        colours={"entropy": ENTROPY_COLOUR, "survivors": SURVIVOR_COLOUR},
        full={"entropy": FULL_ENTROPY, "survivors": FULL_SURVIVORS},
    )


def pictures(result: TokensResult) -> list[Picture]:
    """Return the pictures: mass by rank and survivors, of one model or of both."""
    sides = [result.model] + ([result.versus] if result.versus else [])
    return [_rank_mass(sides), _survivors(sides, result.cut)]


def _rank_mass(sides: list[Side]) -> Picture:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for place, side in enumerate(sides):
            ranks, curve, colour = [int(label) for label in side.ranks.labels], side.ranks, COLOURS[place]
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
        for order, side in enumerate(sides):
            curve = side.survivors
            places = [place - 0.4 + width * (order + 0.5) for place in range(len(curve.labels))]
            axes.bar(places, curve.values, width * 0.92, color=COLOURS[order], label=side.model)
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
