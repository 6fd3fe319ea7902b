"""evals: the lock/fork map of a solution: each token with what the model could have written instead.

Input: an answer and its table. Output: a `Map` for the page, and a picture as PNG. The background shows the entropy, an
underline grows with the number of survivors; a lock has none. Not covered: the page (`forklock.evals.tokens.page`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forklock.evals.reports.drawing import INK, png
from forklock.evals.tokens.gauges import Answer
from forklock.evals.tokens.tables import TokenTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_TOKENS = 1500
"""Largest number of tokens of a map; the rest is cut off, and the map says so."""
ALTERNATIVES = 6
FULL_ENTROPY = 2.5
"""Entropy in nats at which the colour is full."""
FULL_SURVIVORS = 20
COLUMNS, MOST_ROWS = 100, 110
ENTROPY_COLOUR, SURVIVOR_COLOUR = "#f97316", "#3b82f6"
_FONT = 8.0
_COLUMN = _FONT * 0.602 / 72
"""Width in inches of a character of DejaVu Sans Mono."""
_ROW = 0.165
_HEAD_ROWS = 4


@dataclass(frozen=True)
class Choice:
    """One token that the model could have written."""

    text: str
    probability: float
    kept: bool
    said: bool


@dataclass(frozen=True)
class MapToken:
    """One token of the map."""

    text: str
    entropy: float
    survivors: int
    kept_mass: float
    probability: float
    rank: int
    counted: bool
    choices: tuple[Choice, ...]
    other: tuple[float, int] | None
    """Entropy and survivors under the other model."""

    @property
    def warmth(self) -> float:
        """The entropy, scaled to 0..1."""
        return min(1.0, self.entropy / FULL_ENTROPY)

    @property
    def width(self) -> float:
        """The number of survivors, scaled to 0..1; 0 for a lock."""
        return min(1.0, math.log(max(1, self.survivors)) / math.log(FULL_SURVIVORS))


@dataclass(frozen=True)
class Map:
    """The map of one answer."""

    title: str
    model: str
    tokens: tuple[MapToken, ...]
    cut: bool

    @property
    def forks(self) -> int:
        """Number of tokens with several survivors."""
        return sum(token.survivors > 1 for token in self.tokens)


def map_of(
    answer: Answer,
    table: TokenTable,
    model: str,
    words: Callable[[int], str],
    other: TokenTable | None = None,
) -> Map:
    """Make the map of an answer.

    Args:
        words: returns the text of a token by its id.
        other: table of the same answer under the other model.
    """
    count = min(len(answer.ids), MOST_TOKENS)
    tokens = []
    for place in range(count):
        tokens.append(
            MapToken(
                text=answer.pieces[place],
                entropy=table.entropy[place],
                survivors=table.survivors[place],
                kept_mass=table.kept_mass[place],
                probability=math.exp(table.logprob[place]),
                rank=table.rank[place],
                counted=answer.counted[place],
                choices=tuple(_choices(answer.ids[place], table, place, words)),
                other=None if other is None else (other.entropy[place], other.survivors[place]),
            )
        )
    return Map(answer.name, model, tuple(tokens), len(answer.ids) > count)


def _choices(said: int, table: TokenTable, place: int, words: Callable[[int], str]) -> Iterator[Choice]:
    listed = list(zip(table.top_ids[place], table.top_logprobs[place], strict=True))
    for number, (token, logprob) in enumerate(listed[:ALTERNATIVES]):
        yield Choice(words(token), math.exp(logprob), number < table.survivors[place], token == said)


def map_png(one: Map) -> bytes:
    """Draw the picture, on white.

    Raises:
        EvalFault: matplotlib is not installed.
    """
    runs = list(_runs(one.tokens))
    rows = max((row for row, *_ in runs), default=0) + 1
    shown = min(rows, MOST_ROWS)
    width = (COLUMNS + 4) * _COLUMN
    height = (shown + _HEAD_ROWS + 1) * _ROW

    def draw(figure: Figure) -> None:
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(-2, COLUMNS + 2)
        axes.set_ylim(shown + 1, -_HEAD_ROWS)
        _head(axes, one, rows > shown or one.cut)
        for row, column, text, token in runs:
            if row < shown:
                _token(axes, row, column, text, token)

    return png("map", (width, height), draw)


def _runs(tokens: Sequence[MapToken]) -> Iterator[tuple[int, int, str, MapToken]]:
    """Yield (row, column, text, token), with tokens cut at line ends and at the picture's edge."""
    row = column = 0
    for token in tokens:
        for number, part in enumerate(token.text.expandtabs(4).split("\n")):
            if number:
                row, column = row + 1, 0
            while part:
                if column >= COLUMNS:
                    row, column = row + 1, 0
                piece, part = part[: COLUMNS - column], part[COLUMNS - column :]
                yield row, column, piece, token
                column += len(piece)


def _token(axes: Axes, row: int, column: int, text: str, token: MapToken) -> None:
    from matplotlib.patches import Rectangle

    if token.warmth > 0.02:
        axes.add_patch(
            Rectangle(
                (column, row - 0.5), len(text), 1, facecolor=ENTROPY_COLOUR, alpha=0.75 * token.warmth, linewidth=0
            )
        )  # fmt: skip
    if token.survivors > 1:
        height = 0.07 + 0.13 * token.width
        axes.add_patch(
            Rectangle(
                (column + 0.08, row + 0.5 - height), len(text) - 0.16, height, facecolor=SURVIVOR_COLOUR, linewidth=0
            )
        )  # fmt: skip
    axes.text(
        column, row, _plain(text), family="DejaVu Sans Mono", fontsize=_FONT, va="center", ha="left",
        color=INK if token.counted else "#94a3b8",
    )  # fmt: skip


def _head(axes: Axes, one: Map, cut: bool) -> None:
    from matplotlib.patches import Rectangle

    title = f"{one.title}, {one.model}"
    axes.text(0, -_HEAD_ROWS + 1, _plain(title[:95]), fontsize=9, weight="bold", va="center")
    for step in range(20):
        axes.add_patch(
            Rectangle(
                (step * 0.6, -2.4), 0.6, 0.8, facecolor=ENTROPY_COLOUR, alpha=0.75 * step / 19, linewidth=0
            )
        )
    axes.text(13, -2, f"entropy, 0 to {FULL_ENTROPY:g} nats and more", fontsize=7.5, va="center")
    for step, count in enumerate((2, 5, 20)):
        height = 0.07 + 0.13 * math.log(count) / math.log(FULL_SURVIVORS)
        axes.add_patch(
            Rectangle((46 + step * 3, -1.7 - height), 2.4, height, facecolor=SURVIVOR_COLOUR, linewidth=0)
        )
    words = "2, 5, 20 survivors; a lock has no line" + ("; cut off below" if cut else "")
    axes.text(56, -2, words, fontsize=7.5, va="center")


def _plain(text: str) -> str:
    """Replace characters that the font does not have."""
    return "".join(c if c.isprintable() and ord(c) < 0x2000 else "□" for c in text)
