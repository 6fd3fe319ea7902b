"""`evals judge`: programs that somebody else made, graded. Thin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from models.console import INFRASTRUCTURE
from sandbox.terminal import say_json

if TYPE_CHECKING:
    from evals.runs.grade import Grade

ERRATA_HELP = "Take every right answer of problems whose records are known to hold one of several."
PRESET_HELP = "auto, coder-chat, humaneval-chat, official-lcb or official-qwen-coder."


def register(app: typer.Typer) -> None:
    """Add the command to `evals`."""
    app.command()(judge)
    app.command()(calibrate)


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
    errata: Annotated[bool, typer.Option(help=ERRATA_HELP)] = True,
    sandbox: Annotated[
        str, typer.Option(help="auto, docker, bubblewrap or host (isolates nothing).")
    ] = "auto",
    time_scale: Annotated[float, typer.Option(min=0.01, help="Multiplies the time limits of tests.")] = 1.0,
    memory: Annotated[int, typer.Option(min=64, help="MiB that a program may take.")] = 1024,
    executor: Annotated[
        str, typer.Option(help="local, or ray: spread over the cluster that RAY_ADDRESS names.")
    ] = "local",
) -> None:
    """Grade programs that exist already. A verdict a line.

    With the failing test and the reason.
    """
    from evals.cluster import RayJudge
    from evals.judging.judge import Judge, JudgeLimits
    from evals.problems.sets import load_set
    from evals.reports.terminal import GradeProgress, graded, reading, remarks
    from evals.runs.grade import GradeFile, grade, read_solutions
    from sandbox.terminal import screen

    check_sandbox(sandbox)
    console = screen(stderr=True)
    with reading(problems):
        chosen = load_set(problems, data=data, errata=errata)
    for line in remarks(chosen):
        console.print(line)
    rows = read_solutions(solutions, chosen)
    file = GradeFile(out) if out is not None else None

    def came(one: Grade) -> None:
        if file is not None:
            file.add(one)
        progress.add(one)

    limits = JudgeLimits(time_scale=time_scale, memory_mb=memory)
    kind = RayJudge if on_ray(executor) else Judge
    with kind(sandbox, limits=limits) as opened, GradeProgress(console, len(rows)) as progress:
        grades = grade(opened, chosen, rows, held=file.held if file else None, workers=workers, on_grade=came)
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
            help='Right programs: JSONL, {"question_id", "code"} a line; one per problem is enough.'
        ),
    ],
    problems: Annotated[
        str, typer.Option("--set", metavar="SET", help="A name from `evals sets`, or a file.")
    ],
    out: Annotated[
        Path, typer.Option(help="Sidecar file to write; beside SET as STEM.sidecar.jsonl it is read with it.")
    ],
    factor: Annotated[
        float, typer.Option(min=1, help="Limit, in multiples of what the reference took.")
    ] = 5.0,
    floor: Annotated[float, typer.Option(min=0.1, help="Least limit, seconds.")] = 1.0,
    per_test: Annotated[bool, typer.Option(help="A limit for each test, too.")] = False,
    data: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder with problem sets [env FORKLOCK_DATA]."),
    ] = None,
    sandbox: Annotated[
        str, typer.Option(help="auto, docker, bubblewrap or host (isolates nothing).")
    ] = "auto",
) -> None:
    """Scale time limits from what reference solutions take here."""
    from evals.judging.judge import Judge
    from evals.problems.sets import load_set, write_sidecar
    from evals.reports.terminal import reading
    from evals.runs.calibrate import calibrated
    from evals.runs.grade import read_solutions
    from sandbox.terminal import screen

    check_sandbox(sandbox)
    with reading(problems):
        chosen = load_set(problems, data=data)
    rows = read_solutions(solutions, chosen)
    console = screen(stderr=True)

    def told(name: str, what: str) -> None:
        console.print(f"{name}: {what}")

    with Judge(sandbox) as opened:
        found = calibrated(
            opened, chosen, rows, factor=factor, floor=floor, per_test=per_test, on_problem=told
        )
    write_sidecar(out, found)
    console.print(f"{len(found)} of {len(chosen.problems)} problems have limits now: {out}")


def check_sandbox(name: str) -> None:
    from sandbox import check_backend

    try:
        check_backend(name)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--sandbox") from None


def on_ray(executor: str) -> bool:
    if executor not in ("local", "ray"):
        raise typer.BadParameter("local or ray", param_hint="--executor")
    return executor == "ray"
