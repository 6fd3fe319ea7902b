"""evals: figures as inline SVG or PNG files.

In: a name, a size, and a function that draws into a figure. Out: SVG text that takes the page's text colour
(readable on dark and light) and loads nothing, or the bytes of a PNG on white. Without pyplot, so no display and
no global state is needed. Text in a figure is never read as mathematics.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from evals.contract import EvalFault

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[["Figure"], None]

INK = "#010203"
"""Stands for the page's text colour until the SVG is written."""
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
"""Legends and labels that reach over the edge widen the picture."""


def svg(name: str, inches: tuple[float, float], draw: Draw) -> str:
    """Inline SVG. `name` keeps ids apart where several figures share a page.

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
    """
    Raises:
        EvalFault: matplotlib is not installed.
    """
    with _drawn(name, inches, draw) as figure:
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=PNG_DPI, metadata={"Software": None}, **_WHOLE)
    return file.getvalue()


@contextmanager
def _drawn(name: str, inches: tuple[float, float], draw: Draw) -> Iterator[Figure]:
    """A finished figure, in our style while it is open."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise EvalFault("plots need matplotlib", fix="pip install 'forklock[evals]'") from error
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=inches, layout="constrained")
        draw(figure)
        yield figure


def percent_tick(value: float, _: object) -> str:
    return f"{value:.0%}"
