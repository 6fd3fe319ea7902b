"""evals: token gauges and lock/fork maps as files: one self-contained HTML page, pictures as PNG.

In: a `TokensResult` and maps. Out: `tokens.html`, `rank-mass.png`, `survivors.png`, `map-1.png` and so on. The page
runs no script and loads nothing: colours are switched and alternatives shown by CSS. What models wrote is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evals.sweeps.plots import Picture
from evals.tokens.map import ENTROPY_COLOUR, FULL_ENTROPY, FULL_SURVIVORS, SURVIVOR_COLOUR, Map, map_png
from evals.tokens.plots import pictures
from evals.tokens.report import few_problems, number, signed, spoken
from evals.tokens.stats import TokensResult
from sandbox.pages import environment


def write_files(result: TokensResult, maps: Sequence[Map], folder: Path) -> list[Path]:
    """Write page and pictures; what was written.

    Raises:
        EvalFault: matplotlib is not installed.
        OSError: the folder cannot be written.
    """
    drawn = pictures(result)
    images = {f"{picture.name}.png": picture.png() for picture in drawn}
    images |= {f"map-{place}.png": map_png(one) for place, one in enumerate(maps, start=1)}
    folder.mkdir(parents=True, exist_ok=True)
    (page := folder / "tokens.html").write_text(
        render(result, maps, drawn), encoding="utf-8", errors="replace"
    )
    for name, data in images.items():
        (folder / name).write_bytes(data)
    return [page, *(folder / name for name in images)]


def render(result: TokensResult, maps: Sequence[Map], drawn: Sequence[Picture]) -> str:
    """The page's text."""
    page = environment("evals.reports").get_template("tokens.html.j2")
    return page.render(
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
