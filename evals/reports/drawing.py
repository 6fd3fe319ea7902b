"""evals: pictures (inline SVG, PNG files) and HTML pages from templates.

Input: a name, a size, and a function that draws into a figure; or a template's name and its values. Output: SVG text
that takes the page's text colour (readable on dark and on light) and loads nothing; the bytes of a PNG on white; or
HTML text in which every value is escaped. Nothing here uses pyplot, so no display and no global state is needed. Text
in a figure is never parsed as mathematics.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forklock.evals.contract import EvalFault
from forklock.sandbox.commands.extras import install_hint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[["Figure"], None]

INK = "#010203"
"""Placeholder for the page's text colour until the SVG is written."""
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9.0,
    "grid.alpha": 0.18,
    "grid.color": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
}
PNG_DPI = 160
_WHOLE: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.05}
"""Widens the picture where legends or labels reach over its edge."""


def svg(name: str, inches: tuple[float, float], draw: Draw) -> str:
    """Draw inline SVG; `name` makes its ids unique where several figures share a page.

    Raises:
        EvalFault: matplotlib is not installed.
    """
    with _drawn(name, inches, draw) as figure:
        file = io.StringIO()
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=metadata, **_WHOLE)
    text = file.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)


def png(name: str, inches: tuple[float, float], draw: Draw) -> bytes:
    """Draw a PNG.

    Raises:
        EvalFault: matplotlib is not installed.
    """
    with _drawn(name, inches, draw) as figure:
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=PNG_DPI, metadata={"Software": None}, **_WHOLE)
    return file.getvalue()


@contextmanager
def _drawn(name: str, inches: tuple[float, float], draw: Draw) -> Iterator[Figure]:
    """Yield a finished figure; our style is in force while it is open."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise EvalFault("plots need matplotlib", fix=install_hint("evals")) from error
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=inches, layout="constrained")
        draw(figure)
        yield figure


@dataclass(frozen=True)
class Picture:
    """A figure that can be written as SVG and as PNG."""

    name: str
    """Name of the file, without an ending."""
    title: str
    inches: tuple[float, float]
    draw: Draw

    def svg(self) -> str:
        """Draw inline SVG."""
        return svg(self.name, self.inches, self.draw)

    def png(self) -> bytes:
        """Draw a PNG."""
        return png(self.name, self.inches, self.draw)


def rendered(template: str, **values: Any) -> str:
    """Return the text of a page: a template of `evals/reports/templates` with these values, escaped."""
    from forklock.sandbox.pages import environment

    return environment("forklock.evals.reports").get_template(template).render(**values)


def write_page(folder: Path, name: str, text: str, images: Mapping[str, bytes]) -> list[Path]:
    """Write a page and its pictures into a folder; return the files.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (page := folder / name).write_text(text, encoding="utf-8", errors="replace")
    for file, data in images.items():
        (folder / file).write_bytes(data)
    return [page, *(folder / file for file in images)]


def percent_tick(value: float, _: object) -> str:
    """Format an axis label as a percentage."""
    return f"{value:.0%}"
