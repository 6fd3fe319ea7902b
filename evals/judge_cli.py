"""`evals judge`: programs that somebody else made, graded. Thin."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from models.console import INFRASTRUCTURE

if TYPE_CHECKING:
    from evals.grade import Grade


def register(app: typer.Typer) -> None:
    """Add the command to `evals`."""
    app.command()(judge)


def judge(
    solutions: Annotated[
        Path,
        typer.Option(help='JSONL, {"question_id", "code"} a line; several lines of one problem are samples.'),
    ],
    problems: Annotated[
        str, typer.Option("--set", metavar="SET", help="A name from `evals sets`, or a file.")
    ],
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="JSONL of verdicts, in the same order; gone on with if begun. Without it: stdout."),
    ] = None,
    data: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder with problem sets [env FORKLOCK_DATA]."),
    ] = None,
    workers: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Programs judged at once; one per core unless given."),
    ] = None,
    sandbox: Annotated[
        str, typer.Option(help="auto, docker, bubblewrap or host (isolates nothing).")
    ] = "auto",
    time_scale: Annotated[float, typer.Option(min=0.01, help="Multiplies the time limits of tests.")] = 1.0,
    memory: Annotated[int, typer.Option(min=64, help="MiB that a program may take.")] = 1024,
) -> None:
    """Grade programs that exist already: a verdict a line, with the failing test and the reason."""
    from rich.console import Console

    from evals.grade import GradeFile, grade, read_solutions
    from evals.judge import Judge, JudgeLimits
    from evals.report import GradeProgress, graded
    from evals.sets import load_set

    check_sandbox(sandbox)
    chosen = load_set(problems, data=data)
    rows = read_solutions(solutions, chosen)
    file = GradeFile(out) if out is not None else None
    console = Console(stderr=True)

    def came(one: Grade) -> None:
        if file is not None:
            file.add(one)
        progress.add(one)

    limits = JudgeLimits(time_scale=time_scale, memory_mb=memory)
    with Judge(sandbox, limits=limits) as opened, GradeProgress(console, len(rows)) as progress:  # type: ignore[arg-type]
        grades = grade(opened, chosen, rows, held=file.held if file else None, workers=workers, on_grade=came)
    if file is not None:
        file.finish(grades)
    else:
        sys.stdout.writelines(one.model_dump_json() + "\n" for one in grades)
    console.print(graded(chosen, grades), highlight=False)
    if any(one.verdict == "infrastructure error" for one in grades):
        raise typer.Exit(INFRASTRUCTURE)


def check_sandbox(name: str) -> None:
    if name not in ("auto", "docker", "bubblewrap", "host"):
        raise typer.BadParameter("auto, docker, bubblewrap or host", param_hint="--sandbox")
