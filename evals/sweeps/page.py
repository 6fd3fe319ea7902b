"""evals: a sweep as files: one self-contained HTML page, its pictures as PNG, and JSON.

In: a `SweepResult`. Out: `sweep.html`, `heat.png` and `temperature.png` in a folder. The page runs no script
and loads nothing.
"""

from __future__ import annotations

from pathlib import Path

from evals.sweeps.plots import Picture, pictures
from evals.sweeps.report import conclusions
from evals.sweeps.sweep import SweepResult, same
from sandbox.pages import environment


def write_files(result: SweepResult, folder: Path) -> list[Path]:
    """Write page and pictures; what was written.

    Raises:
        EvalFault: matplotlib is not installed.
        OSError: the folder cannot be written.
    """
    drawn = pictures(result)
    folder.mkdir(parents=True, exist_ok=True)
    (page := folder / "sweep.html").write_text(render(result, drawn), encoding="utf-8")
    written = [page]
    for picture in drawn:
        (file := folder / f"{picture.name}.png").write_bytes(picture.png())
        written.append(file)
    return written


def render(result: SweepResult, drawn: list[Picture]) -> str:
    """The page's text."""
    page = environment("evals.reports").get_template("sweep.html.j2")
    return page.render(
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
