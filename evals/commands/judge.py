"""`evals judge` grades programs that exist already; `evals calibrate` scales time limits by reference programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from forklock.evals.commands.options import (
    DataOption,
    ErrataOption,
    ExecutorOption,
    SandboxOption,
    SetOption,
    TimeScaleOption,
    on_ray,
)
from forklock.sandbox.commands.console import INFRASTRUCTURE
from forklock.sandbox.commands.extras import require
from forklock.sandbox.commands.options import check_sandbox
from forklock.sandbox.terminal import say_json

if TYPE_CHECKING:
    from forklock.evals.runs.grade import Grade


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the `evals` app."""
    app.command()(judge)
    app.command()(calibrate)


def judge(
    solutions: Annotated[
        Path,
        typer.Option(
            help='JSONL with one {"question_id", "code"} per line; several lines of one problem are its samples.'
        ),
    ],
    problems: SetOption,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="JSONL of verdicts in the same order, continued if it was begun; by default stdout."
        ),
    ] = None,
    data: DataOption = None,
    workers: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Number of programs judged at once; by default one per core."),
    ] = None,
    errata: ErrataOption = True,
    sandbox: SandboxOption = "auto",
    time_scale: TimeScaleOption = 1.0,
    memory: Annotated[int, typer.Option(min=64, help="MiB that a program may take.")] = 1024,
    executor: ExecutorOption = "local",
) -> None:
    """Grade programs that exist already: one verdict per line.

    A verdict comes with the failing test and the reason.
    """
    from forklock.evals.cluster import RayJudge
    from forklock.evals.judging import Judge, JudgeLimits
    from forklock.evals.problems import load_set
    from forklock.evals.reports.terminal import GradeProgress, graded, reading, remarks
    from forklock.evals.runs.grade import GradeFile, grade, read_solutions
    from forklock.sandbox.terminal import screen

    where = check_sandbox(sandbox)
    require("scipy")  # the statistics come last: do not find out then
    console = screen(stderr=True)
    with reading(problems):
        chosen = load_set(problems, data=data, errata=errata)
    for line in remarks(chosen):
        console.print(line)
    rows = read_solutions(solutions, chosen)
    file = GradeFile(out) if out is not None else None

    def keep(one: Grade) -> None:
        if file is not None:
            file.add(one)
        progress.add(one)

    limits = JudgeLimits(time_scale=time_scale, memory_mb=memory)
    kind = RayJudge if on_ray(executor) else Judge
    with kind(where, limits=limits) as opened, GradeProgress(console, len(rows)) as progress:
        grades = grade(opened, chosen, rows, held=file.held if file else None, workers=workers, on_grade=keep)
    if file is not None:
        file.finish(grades)
    else:
        for one in grades:
            say_json(one.model_dump_json())
    console.print(graded(chosen, grades))
    if any(one.verdict == "infrastructure error" for one in grades):
        raise typer.Exit(INFRASTRUCTURE)


def calibrate(
    solutions: Annotated[
        Path,
        typer.Option(
            help='Right programs: JSONL with one {"question_id", "code"} per line; one program per problem is enough.'
        ),
    ],
    problems: SetOption,
    out: Annotated[
        Path,
        typer.Option(
            help="Sidecar file to write; as STEM.sidecar.jsonl beside the set it is read with the set."
        ),
    ],
    factor: Annotated[float, typer.Option(min=1, help="Limit, in multiples of the reference's time.")] = 5.0,
    floor: Annotated[float, typer.Option(min=0.1, help="Smallest limit in seconds.")] = 1.0,
    per_test: Annotated[bool, typer.Option(help="Also set a limit for each test.")] = False,
    data: DataOption = None,
    sandbox: SandboxOption = "auto",
) -> None:
    """Set time limits by the times of reference solutions here."""
    from forklock.evals.judging import Judge
    from forklock.evals.problems import load_set
    from forklock.evals.problems.files import write_sidecar
    from forklock.evals.reports.terminal import reading
    from forklock.evals.runs.grade import calibrated, read_solutions
    from forklock.sandbox.terminal import screen

    where = check_sandbox(sandbox)
    require("scipy")  # the statistics come last: do not find out then
    with reading(problems):
        chosen = load_set(problems, data=data)
    rows = read_solutions(solutions, chosen)
    console = screen(stderr=True)

    def report(name: str, what: str) -> None:
        console.print(f"{name}: {what}")

    with Judge(where) as opened:
        found = calibrated(
            opened, chosen, rows, factor=factor, floor=floor, per_test=per_test, on_problem=report
        )
    write_sidecar(out, found)
    console.print(f"{len(found)} of {len(chosen.problems)} problems have limits now: {out}")
