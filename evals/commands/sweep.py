"""`evals sweep`: a grid of decodings, tuned on one part of a set and reported on the other. Thin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from evals.commands.judge import PRESET_HELP, check_sandbox
from sandbox.terminal import say

if TYPE_CHECKING:
    from evals.contract import ProblemSet
    from evals.sweeps.grid import Cell, Plan
    from evals.sweeps.sweep import SweepResult
    from models.contract import Decoding

GRID = "Grid"
PRESETS = ("ssd-control",)
DEFAULT_TEMPERATURES, DEFAULT_TOP_P = "0.2,0.6,0.9,1.2", "0.95"
BASELINE = "0.2/0/0.95"
"""What `evals run` takes unless told otherwise."""


def register(app: typer.Typer) -> None:
    """Add the command to `evals`."""
    app.command()(sweep)


def sweep(
    problems: Annotated[str, typer.Argument(metavar="SET", help="A name from `evals sets`, or a file.")],
    model: Annotated[str, typer.Option(help="Catalogue name, folder, provider id or server URL.")],
    engine: Annotated[str, typer.Option(help="auto, transformers, hosted or vllm.")] = "auto",
    adapter: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="current (the default), none (always with the preset), a version or a folder."),
    ] = None,
    temperature: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            rich_help_panel=GRID, help=f"Values, as in {DEFAULT_TEMPERATURES} (the default); 0 is greedy."
        ),
    ] = None,
    top_k: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(rich_help_panel=GRID, help="Values; 0 keeps all (the default)."),
    ] = None,
    top_p: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(rich_help_panel=GRID, help=f"Values; {DEFAULT_TOP_P} unless given."),
    ] = None,
    min_p: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(rich_help_panel=GRID, help="Values; 0 is off (the default)."),
    ] = None,
    virtual_ssd: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            rich_help_panel=GRID,
            metavar="T/K/P",
            help="First stages, as in none,1.6/20/0.8; `none` is plain decoding (the default).",
        ),
    ] = None,
    preset: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="ssd-control: base at the paper's eval and train-time decodings, and virtual SSD, all measured on "
            "the test problems."
        ),
    ] = None,
    family: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="Of the paper's decodings: qwen, llama or thinking; by the model's name unless given."
        ),
    ] = None,
    baseline: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="T/K/P", help=f"What cells are compared with; {BASELINE}, or `greedy`."),
    ] = None,
    development: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0.01, max=0.99, help="Share of the problems that is tuned on; 0.6."),
    ] = None,
    limit: Annotated[Optional[int], typer.Option(min=1, help="Problems at most, both parts.")] = None,  # noqa: UP045
    n: Annotated[int, typer.Option("-n", min=1, help="Samples per problem and cell.")] = 4,
    k: Annotated[int, typer.Option("-k", min=1, help="The pass@k that decides and is compared.")] = 1,
    max_tokens: Annotated[int, typer.Option(min=1, help="New tokens per sample.")] = 1024,
    prompts: Annotated[str, typer.Option(help=f"{PRESET_HELP} (--preset of `evals run`.)")] = "auto",
    difficulty: Annotated[Optional[str], typer.Option()] = None,  # noqa: UP045
    platform: Annotated[Optional[str], typer.Option()] = None,  # noqa: UP045
    data: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder with problem sets [env FORKLOCK_DATA]."),
    ] = None,
    sandbox: Annotated[
        str, typer.Option(help="auto, docker, bubblewrap or host (isolates nothing).")
    ] = "auto",
    time_scale: Annotated[float, typer.Option(min=0.01, help="Multiplies the time limits of tests.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Same seed, same samples.")] = 0,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder for the page and the pictures; the sweep's own in the cache unless given."),
    ] = None,
    json_file: Annotated[Optional[Path], typer.Option("--json", help="Also write the result here.")] = None,  # noqa: UP045
) -> None:
    """Tune the decoding on some problems, report once on others. Interrupted, it goes on."""
    check_sandbox(sandbox)
    if json_file is not None and not json_file.absolute().parent.is_dir():
        raise typer.BadParameter(f"{json_file.parent} is not a folder", param_hint="--json")
    if out is not None and out.exists() and not out.is_dir():
        raise typer.BadParameter(f"{out} is not a folder", param_hint="--out")
    if k > n:
        raise typer.BadParameter(f"pass@{k} needs at least {k} samples: -n {k}", param_hint="-k")
    from evals.problems.sets import load_set
    from evals.reports.terminal import reading
    from evals.runs.prompts import as_preset
    from models.contract import Decoding

    if prompts != "auto":
        as_preset(prompts)
    if preset is not None and adapter not in (None, "none"):
        raise typer.BadParameter("the preset is about the bare base", param_hint="--adapter")
    rest = Decoding(max_tokens=max_tokens, seed=seed)
    grid = _grid((temperature, top_k, top_p, min_p, virtual_ssd), rest, preset)
    base, controls = _fixed(preset, family, model, baseline, rest)
    plan = _plan(base, grid, controls, n, k, development)
    with reading(problems):
        chosen = load_set(problems, data=data, limit=limit, difficulty=difficulty, platform=platform)
    weights = adapter or ("none" if preset else "current")
    result = _run(chosen, plan, model, engine, weights, prompts, sandbox, time_scale)
    _finish(result, out, json_file)


def _grid(texts: tuple[str | None, ...], rest: Decoding, preset: str | None) -> tuple[Cell, ...]:
    """The grid that the flags name; none where a preset alone was asked for."""
    from pydantic import ValidationError

    from evals.sweeps.grid import Axes, grid_of, numbers, stages

    if preset is not None and not any(texts):
        return ()
    temperature, top_k, top_p, min_p, virtual = texts
    try:
        axes = Axes.model_validate(
            {
                "temperature": numbers(temperature or DEFAULT_TEMPERATURES, float),
                "top_k": numbers(top_k or "0", int),
                "top_p": numbers(top_p or DEFAULT_TOP_P, float),
                "min_p": numbers(min_p or "0", float),
                "virtual_ssd": stages(virtual or "none"),
            }
        )
        return grid_of(axes, rest)
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(f"{first['loc'][-1]} {first['input']}: {first['msg']}") from error
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _fixed(
    preset: str | None, family: str | None, model: str, baseline: str | None, rest: Decoding
) -> tuple[Cell, tuple[Cell, ...]]:
    """Baseline and controls."""
    from evals.sweeps.grid import Cell, decoding_from, ssd_controls
    from models.families import PRESETS as FAMILIES
    from models.families import family_of

    if preset is not None and preset not in PRESETS:
        raise typer.BadParameter(
            f"no such preset: {preset}; there is {', '.join(PRESETS)}", param_hint="--preset"
        )
    if family is not None and family not in FAMILIES:
        raise typer.BadParameter(f"one of {', '.join(FAMILIES)}", param_hint="--family")
    if preset is not None and baseline is not None:
        raise typer.BadParameter("the preset brings its own", param_hint="--baseline")
    if preset is not None:
        return ssd_controls(family or family_of(model), rest)
    try:
        return Cell(role="baseline", decoding=decoding_from(baseline or BASELINE, rest)), ()
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--baseline") from error


def _plan(
    base: Cell, grid: tuple[Cell, ...], controls: tuple[Cell, ...], n: int, k: int, development: float | None
) -> Plan:
    from evals.sweeps.grid import Plan
    from evals.sweeps.sweep import DEVELOPMENT_SHARE

    if not grid and development is not None:
        raise typer.BadParameter("nothing is tuned without a grid", param_hint="--development")
    share = (development or DEVELOPMENT_SHARE) if grid else 0.0
    return Plan(baseline=base, grid=grid, controls=controls, n=n, k=k, development=share)


def _run(
    chosen: ProblemSet,
    plan: Plan,
    model: str,
    engine: str,
    adapter: str,
    prompts: str,
    sandbox: str,
    time_scale: float,
) -> SweepResult:
    from evals.judging.judge import Judge, JudgeLimits
    from evals.reports.terminal import LiveProgress
    from evals.sweeps.report import SweepProgress
    from evals.sweeps.sweep import parts, run_sweep, samples_planned
    from models import open_engine
    from sandbox.terminal import screen

    tuned, held_out = parts(chosen, plan)
    limits = JudgeLimits(time_scale=time_scale)
    Judge(sandbox, limits=limits).close()  # no sandbox: say so before the model loads
    console = screen(stderr=True)
    if tuned is not None:
        console.print(
            f"{len(plan.grid)} cells on {len(tuned.problems)} development problems, then the chosen one on "
            f"{len(held_out.problems)} test problems",
        )  # fmt: skip
    for cell in (plan.baseline, *plan.controls):
        console.print(f"{cell.role}: {cell.name}")
    console.print(f"opening {model}")
    with (
        open_engine(model, engine=engine, adapter=None if adapter == "none" else adapter) as opened,
        LiveProgress(console) as live,
    ):
        progress = SweepProgress(console, live, samples_planned(chosen, plan))
        return run_sweep(
            opened, chosen, plan, prompts=prompts, sandbox=sandbox, limits=limits,
            progress=progress, on_cell=progress.cell,
        )  # fmt: skip


def _finish(result: SweepResult, out: Path | None, json_file: Path | None) -> None:
    from evals.contract import EvalFault
    from evals.sweeps.page import write_files
    from evals.sweeps.report import sweep_view
    from sandbox.terminal import screen

    screen().print(sweep_view(result))
    if json_file is not None:
        json_file.write_text(result.model_dump_json(indent=1), encoding="utf-8")
    try:
        for file in write_files(result, out or result.folder):
            say(f"wrote {file}", err=True)
    except EvalFault as fault:  # the numbers are there all the same
        say(f"no page and no pictures: {fault.message}; {fault.fix}", err=True)
    except OSError as error:
        raise EvalFault(
            f"cannot write {error.filename}: {error.strerror}", fix="--out another folder"
        ) from error
