"""evals: a sweep as files: one self-contained HTML page, and its pictures as PNG.

Input: a `SweepResult`. Output: `sweep.html`, `heat.png` (a heat map over the grid) and `temperature.png` (the score
against the effective temperature) in a folder. The page runs no script and loads nothing. The effective temperature is
T_train times T_eval (arXiv 2604.01193, section 5, finds scores best near 1.2); plain decoding has T_train = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from forklock.evals.reports.drawing import INK, Picture, percent_tick, rendered, write_page
from forklock.evals.reports.plots import COLOURS
from forklock.evals.sweeps.grid import Cell, canonical, truncation_text
from forklock.evals.sweeps.report import conclusions
from forklock.evals.sweeps.results import CellScore, SweepResult, same

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

    from forklock.models.contract import Decoding, FirstStage

T = TypeVar("T")

PAPER_BEST = 1.2
_MARK = "#ef4444"
"""The chosen cell."""
_MARKERS = "osD^vP*X"


def write_files(result: SweepResult, folder: Path) -> list[Path]:
    """Write the page and its pictures; return the files.

    Raises:
        EvalFault: matplotlib is not installed.
        OSError: the folder cannot be written.
    """
    drawn = pictures(result)
    images = {f"{picture.name}.png": picture.png() for picture in drawn}
    return write_page(folder, "sweep.html", render(result, drawn), images)


def render(result: SweepResult, drawn: list[Picture]) -> str:
    """Return the page's text."""
    return rendered(
        "sweep.html.j2",
        result=result,
        plots=[(picture.title, picture.svg()) for picture in drawn],
        development=sorted(result.development, key=lambda score: -score.score.value),
        chosen=[
            score.run_id
            for score in (*result.development, *result.test)
            if result.chosen and same(score.cell, result.chosen)
        ],
        conclusions=conclusions(result),
    )


def pictures(result: SweepResult) -> list[Picture]:
    """Return the pictures that this sweep allows."""
    found = [heat_map(result), effective_temperature(result)]
    return [picture for picture in found if picture is not None]


def heat_map(result: SweepResult) -> Picture | None:
    """Draw temperature by truncation, with one panel for each first stage; None for fewer than two cells.

    A cell shows its score and its difference from the baseline in points; `*` marks p < 0.05 after Holm's correction.
    """
    grid = [cell.decoding for cell in result.plan.grid]
    if len(grid) < 2:
        return None
    temperatures = sorted({decoding.temperature for decoding in grid})
    warm = [decoding for decoding in grid if decoding.temperature] or grid
    columns = _unique([_column(decoding) for decoding in warm])
    panels = _unique([decoding.virtual_ssd for decoding in warm])
    cuts = [truncation_text(column, "\n") for column in columns]

    def draw(figure: Figure) -> None:
        from matplotlib import colormaps
        from matplotlib.colors import Normalize

        values = [score.score.value for score in result.development]
        shades, norm = colormaps["viridis"], Normalize(min(values), max(values) + 1e-9)
        axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for place, panel in enumerate(panels):
            rows = _rows(result, temperatures, columns, panel)
            _panel(axes[place], rows, result.plan.baseline, result.chosen, shades, norm)
            axes[place].set_xticks(range(len(columns)), cuts)
            axes[place].set_xlabel("cut off at eval time")
            if len(panels) > 1 or panel is not None:
                title = "plain decoding" if panel is None else f"virtual SSD {panel}"
                axes[place].set_title(title, fontsize=9)
        axes[0].set_yticks(range(len(temperatures)), [f"{t:g}" for t in temperatures])
        axes[0].set_ylabel("temperature" if panels == [None] else "eval temperature")
        _colour_bar(figure, list(axes), shades, norm, f"pass@{result.plan.k}, development")

    width = max(5.2, 1.6 + len(panels) * max(1.6, 0.95 * len(columns) + 0.3))
    height = 1.3 + 0.62 * len(temperatures) + 0.13 * max(cut.count("\n") for cut in cuts)
    return Picture("heat", "Grid, development problems", (width, height), draw)


def _rows(
    result: SweepResult, temperatures: Sequence[float], columns: Sequence[Decoding], stage: FirstStage | None
) -> list[list[CellScore | None]]:
    """Return the panel's scores by temperature and column; None where the grid has no such cell."""
    scores = {score.cell.decoding.digest(): score for score in result.development}

    def look(temperature: float, column: Decoding) -> CellScore | None:
        fields = {"temperature": temperature, "virtual_ssd": stage}
        return scores.get(canonical(column.model_copy(update=fields)).digest())

    return [[look(temperature, column) for column in columns] for temperature in temperatures]


def _colour_bar(figure: Figure, axes: list[Axes], shades: Colormap, norm: Normalize, label: str) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.ticker import MaxNLocator

    bar = figure.colorbar(
        ScalarMappable(norm, shades), ax=axes, format=_percent, ticks=MaxNLocator(5), pad=0.02
    )
    bar.outline.set_visible(False)
    if bar.solids is not None:
        bar.solids.set(rasterized=False, edgecolor="face")  # the page loads no images
    bar.set_label(label)


def effective_temperature(result: SweepResult) -> Picture:
    """Draw the score against T_train times T_eval with 95 % intervals; one colour for each truncation."""
    part = result.development or result.test
    baseline, others = part[0], part[1:]
    names = _unique([_group(score.cell) for score in others])

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        warmest = max(score.cell.decoding.effective_temperature for score in part)
        step = 0.02 * max(warmest, PAPER_BEST)
        rings: list[tuple[CellScore, float]] = []
        for number, name in enumerate(names):
            group = [score for score in others if _group(score.cell) == name]
            shift = step * (number - (len(names) - 1) / 2)
            _series(axes, group, name, number, shift)
            rings += [(s, shift) for s in group if result.chosen and same(s.cell, result.chosen)]
        _baseline(axes, baseline)
        for score, shift in rings:
            _ring(axes, score, shift)
        axes.axvline(
            PAPER_BEST, color=INK, linestyle=":", linewidth=1, alpha=0.6, label="best in the paper, about 1.2"
        )
        axes.set_xlabel("effective temperature, T_train · T_eval")
        axes.set_ylabel(f"pass@{result.plan.k}, {'development' if result.development else 'test'}")
        axes.set_xlim(left=min(0.0, -step * len(names)))
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(percent_tick)
        axes.grid(axis="y")
        figure.legend(
            loc="outside lower center", ncols=1 if max(map(len, names), default=0) > 34 else 2, fontsize=8
        )

    return Picture("temperature", "Effective temperature", (5.6, 3.4 + 0.17 * len(names)), draw)


def _panel(
    axes: Axes,
    rows: Sequence[Sequence[CellScore | None]],
    baseline: Cell,
    chosen: Cell | None,
    shades: Colormap,
    norm: Normalize,
) -> None:
    from matplotlib.patches import Rectangle

    for y, row in enumerate(rows):
        for x, score in enumerate(row):
            if score is None:
                continue
            colour = shades(norm(score.score.value))
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, linewidth=0))
            dark = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] < 0.5
            axes.text(
                x, y, _words(score, baseline), ha="center", va="center", fontsize=8.5, linespacing=1.25,
                color="#ffffff" if dark else "#111111",
            )  # fmt: skip
            if chosen is not None and same(score.cell, chosen):
                axes.add_patch(
                    Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, fill=False, edgecolor=_MARK, linewidth=2.5)
                )
    axes.set_xlim(-0.5, len(rows[0]) - 0.5)
    axes.set_ylim(-0.5, len(rows) - 0.5)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _words(score: CellScore, baseline: Cell) -> str:
    if same(score.cell, baseline) or score.effect is None:
        return f"{100 * score.score.value:.1f}\nbaseline"
    star = "*" if score.p_holm is not None and score.p_holm < 0.05 else ""
    return f"{100 * score.score.value:.1f}\n{100 * score.effect.difference:+.1f}{star}"


def _series(axes: Axes, group: Sequence[CellScore], name: str, number: int, shift: float) -> None:
    ranked = sorted(group, key=lambda score: score.cell.decoding.effective_temperature)
    places = [score.cell.decoding.effective_temperature + shift for score in ranked]
    colour = COLOURS[number % len(COLOURS)]
    axes.vlines(
        places,
        [s.score.low for s in ranked],
        [s.score.high for s in ranked],
        color=colour,
        alpha=0.35,
        linewidth=2,
    )
    axes.plot(
        places, [s.score.value for s in ranked], color=colour, label=name, markersize=4.5, linewidth=1,
        marker=_MARKERS[number % len(_MARKERS)], clip_on=False,
    )  # fmt: skip


def _baseline(axes: Axes, score: CellScore) -> None:
    place = score.cell.decoding.effective_temperature
    axes.axhline(score.score.value, color=INK, linestyle="--", linewidth=1, alpha=0.7)
    axes.vlines([place], [score.score.low], [score.score.high], color=INK, alpha=0.35, linewidth=2)
    axes.plot(
        [place], [score.score.value], "s", color=INK, markersize=5, label=f"baseline ({score.cell.name})"
    )


def _ring(axes: Axes, score: CellScore, shift: float) -> None:
    axes.plot(
        [score.cell.decoding.effective_temperature + shift], [score.score.value], "o", markersize=12,
        markerfacecolor="none", markeredgecolor=_MARK, markeredgewidth=1.6, linestyle="none",
        label="chosen on development", zorder=0, clip_on=False,
    )  # fmt: skip


def _percent(value: float, _: object) -> str:
    return f"{100 * value:g}%"


def _group(cell: Cell) -> str:
    if cell.label:
        return cell.name
    stage = cell.decoding.virtual_ssd
    if not cell.decoding.temperature:
        return "greedy"
    return f"{f'virtual SSD {stage}, then ' if stage else ''}{truncation_text(cell.decoding)}"


def _column(decoding: Decoding) -> Decoding:
    return decoding.model_copy(update={"temperature": 1.0, "virtual_ssd": None})


def _unique(values: Sequence[T]) -> list[T]:
    found: list[T] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found
