"""The commands of `evals` that read finished runs: runs, show, compare, gate and report.

Exit codes: 0 done (gate: not worse), 1 gate: worse or not enough evidence, 2 bad input, 3 gate: samples without a
verdict.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forklock.evals.commands.options import CutoffOption, JsonOption, check_file, day, write_json
from forklock.sandbox.commands.console import NEGATIVE
from forklock.sandbox.terminal import say

if TYPE_CHECKING:
    from rich.console import RenderableType

RunArgument = Annotated[str, typer.Argument(help="A run's id, the beginning of one, or a result.json.")]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Compare problems of one name although their content may differ.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the `evals` app."""
    for command in (runs, show, compare, gate, report):
        app.command()(command)


def runs() -> None:
    """List past runs, newest first."""
    from rich.table import Column, Table

    from forklock.evals.reports.terminal import percent
    from forklock.evals.runs.past import load_result, run_folders
    from forklock.sandbox.terminal import screen

    table = Table(Column("run", overflow="fold"), "model", "problems × n", "pass@1")
    for folder in run_folders():
        result = load_result(folder)
        if result is None:
            table.add_row(folder.name, "", "unfinished", "")
        else:
            size = f"{len(result.problems)} × {result.n}"
            state = " (incomplete)" if result.incomplete else ""
            table.add_row(result.run_id, str(result.model), size, percent(result.pass_at[0]) + state)
    screen().print(table)


def show(
    run_id: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's id, the beginning of one, or a path.")
    ],
    cutoff: CutoffOption = None,
) -> None:
    """Show the result of a past run.

    With --cutoff, the scores by month are shown, too.
    """
    from forklock.evals.commands.run import show_result
    from forklock.evals.reports.terminal import by_month
    from forklock.evals.runs.past import find_run
    from forklock.evals.statistics.contamination import contamination

    last, result = day(cutoff, "--cutoff"), find_run(run_id).result
    show_result(result)
    if last is not None:
        _print(by_month(contamination(result, last)))


def compare(
    a: RunArgument,
    b: RunArgument,
    flips: Annotated[
        int, typer.Option(min=0, help="Number of changed problems to list, most changed first.")
    ] = 20,
    force: ForceOption = False,
    json_file: JsonOption = None,
) -> None:
    """Compare two runs problem by problem: is B better than A?"""
    from forklock.evals.reports.comparison import comparison_view
    from forklock.evals.runs.past import find_run
    from forklock.evals.statistics.comparison import compare_runs

    check_file(json_file, "--json")
    found = compare_runs(find_run(a).result, find_run(b).result, force=force)
    _print(comparison_view(found, flips=flips))
    write_json(json_file, found)


def gate(
    base: RunArgument,
    candidate: RunArgument,
    margin: Annotated[
        float, typer.Option(min=0, max=99, help="Loss, in points, that is not accepted.")
    ] = 2.0,
    alpha: Annotated[float, typer.Option(min=0.0001, max=0.5, help="Chance that such a loss passes.")] = 0.05,
    force: ForceOption = False,
    json_file: JsonOption = None,
) -> None:
    """Exit with 1 unless CANDIDATE is shown not worse than BASE.

    This is for CI. The exit code is 0 if a loss of MARGIN points or more is ruled out, else 1.
    """
    from forklock.evals.reports.comparison import gate_view
    from forklock.evals.runs.past import find_run
    from forklock.evals.statistics.gate import decide

    check_file(json_file, "--json")
    verdict = decide(
        find_run(base).result, find_run(candidate).result, margin=margin / 100, alpha=alpha, force=force
    )
    _print(gate_view(verdict))
    write_json(json_file, verdict)
    if not verdict.passed:
        raise typer.Exit(NEGATIVE)


def report(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Ids, beginnings of ids, or result.json files.")
    ],
    html: Annotated[Path, typer.Option(help="File to write.")],
    cutoff: CutoffOption = None,
    flips: Annotated[int, typer.Option(min=0, help="Number of changed problems to show side by side.")] = 40,
    force: ForceOption = False,
) -> None:
    """Write one self-contained HTML page about runs.

    With two runs, the page shows side by side what changed between them.
    """
    from forklock.evals.reports.page import render_page
    from forklock.evals.runs.past import find_run

    check_file(html, "--html")
    text = render_page(
        [find_run(run) for run in runs], cutoff=day(cutoff, "--cutoff"), flips=flips, force=force
    )
    html.write_text(text, encoding="utf-8", errors="replace")
    say(f"wrote {html}", err=True)


def _print(view: RenderableType) -> None:
    from forklock.sandbox.terminal import screen

    screen().print(view)
