"""The commands of `evals` that read finished runs: compare, gate, report. Thin, like `evals.commands.main`.

Exit codes: 0 done (gate: not worse), 1 gate: worse, or not enough evidence, 2 bad input, 3 gate: samples
without a verdict.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from models.console import NEGATIVE
from sandbox.terminal import say

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Group

RunArgument = Annotated[str, typer.Argument(help="A run's id, its beginning, or a result.json.")]
JsonOption = Annotated[Optional[Path], typer.Option("--json", help="Also write everything here.")]  # noqa: UP045
ForceOption = Annotated[
    bool, typer.Option("--force", help="Compare problems of one name whose content may differ.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the `evals` app."""
    for command in (compare, gate, report):
        app.command()(command)


def compare(
    a: RunArgument,
    b: RunArgument,
    flips: Annotated[int, typer.Option(min=0, help="Changed problems to list, most changed first.")] = 20,
    force: ForceOption = False,
    json_file: JsonOption = None,
) -> None:
    """Compare two runs problem by problem: is B better than A?"""
    from evals.reports.comparison import comparison_view
    from evals.runs.past import find_run
    from evals.statistics.comparison import compare_runs

    _check_folder(json_file, "--json")
    found = compare_runs(find_run(a).result, find_run(b).result, force=force)
    _print(comparison_view(found, flips=flips))
    _write_json(json_file, found)


def gate(
    base: RunArgument,
    candidate: RunArgument,
    margin: Annotated[float, typer.Option(min=0, max=99, help="Loss in points that is not accepted.")] = 2.0,
    alpha: Annotated[float, typer.Option(min=0.0001, max=0.5, help="Chance of passing such a loss.")] = 0.05,
    force: ForceOption = False,
    json_file: JsonOption = None,
) -> None:
    """For CI: fail unless CANDIDATE is shown not worse than BASE.

    Exit 0 if it is shown not to lose MARGIN points or more, 1 if not.
    """
    from evals.reports.comparison import gate_view
    from evals.runs.past import find_run
    from evals.statistics.gate import decide

    _check_folder(json_file, "--json")
    verdict = decide(
        find_run(base).result, find_run(candidate).result, margin=margin / 100, alpha=alpha, force=force
    )
    _print(gate_view(verdict))
    _write_json(json_file, verdict)
    if not verdict.passed:
        raise typer.Exit(NEGATIVE)


def report(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Ids, beginnings, or result.json files.")
    ],
    html: Annotated[Path, typer.Option(help="File to write.")],
    cutoff: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Training cutoff of the model, YYYY-MM-DD: marks contests it may have seen."),
    ] = None,
    flips: Annotated[int, typer.Option(min=0, help="Changed problems to show side by side.")] = 40,
    force: ForceOption = False,
) -> None:
    """Write one self-contained HTML page about runs.

    With two, what changed between them is shown side by side.
    """
    from evals.reports.page import render_page
    from evals.runs.past import find_run

    _check_folder(html, "--html")
    text = render_page([find_run(run) for run in runs], cutoff=_day(cutoff), flips=flips, force=force)
    html.write_text(text, encoding="utf-8", errors="replace")
    say(f"wrote {html}", err=True)


def _check_folder(file: Path | None, option: str) -> None:
    """Say so before the work, not after it."""
    if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
        raise typer.BadParameter(f"{file} is not a file in a folder that exists", param_hint=option)


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not YYYY-MM-DD", param_hint="--cutoff") from error


def _write_json(file: Path | None, found: BaseModel) -> None:
    if file is not None:
        file.write_text(found.model_dump_json(indent=1), encoding="utf-8")


def _print(view: Group) -> None:
    from sandbox.terminal import screen

    screen().print(view)
