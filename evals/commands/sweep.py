"""`evals sweep`: a grid of decodings, tuned on one part of a set and reported on the other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from forklock.evals.commands.options import (
    DataOption,
    DifficultyOption,
    EngineOption,
    JsonOption,
    LimitOption,
    MaxTokensOption,
    ModelOption,
    OutOption,
    PlatformOption,
    PresetOption,
    SandboxOption,
    SeedOption,
    SetArgument,
    TimeScaleOption,
    adapter_or_none,
    check_file,
    check_folder,
    write_json,
    write_pages,
)
from forklock.sandbox.commands.extras import require
from forklock.sandbox.commands.options import check_sandbox

if TYPE_CHECKING:
    from forklock.evals.sweeps.grid import Cell, Plan
    from forklock.evals.sweeps.results import SweepResult
    from forklock.evals.sweeps.sweep import SweepJob
    from forklock.models.contract import Decoding, Engine

GRID = "Grid"
PRESETS = ("ssd-control",)
DEFAULT_TEMPERATURES, DEFAULT_TOP_P = "0.2,0.6,0.9,1.2", "0.95"
BASELINE = "0.2/0/0.95"
"""The default decoding of `evals run`."""


def register(app: typer.Typer) -> None:
    """Add the command to the `evals` app."""
    app.command()(sweep)


def sweep(
    problems: SetArgument,
    model: ModelOption,
    engine: EngineOption = "auto",
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
        typer.Option(rich_help_panel=GRID, help=f"Values; the default is {DEFAULT_TOP_P}."),
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
            help="Family of the paper's decodings: qwen, llama or thinking; by default taken from the model's name."
        ),
    ] = None,
    baseline: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="T/K/P", help=f"Decoding that cells are compared with: {BASELINE}, or `greedy`."
        ),
    ] = None,
    development: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0.01, max=0.99, help="Share of the problems that is tuned on; 0.6 by default."),
    ] = None,
    limit: LimitOption = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Samples per problem and cell.")] = 4,
    k: Annotated[int, typer.Option("-k", min=1, help="The pass@k that decides and is compared.")] = 1,
    max_tokens: MaxTokensOption = 1024,
    prompts: PresetOption = "auto",
    difficulty: DifficultyOption = None,
    platform: PlatformOption = None,
    data: DataOption = None,
    sandbox: SandboxOption = "auto",
    time_scale: TimeScaleOption = 1.0,
    seed: SeedOption = 0,
    out: OutOption = None,
    json_file: JsonOption = None,
) -> None:
    """Tune the decoding on some problems, report once on others. The same command continues an interrupted sweep."""
    where = check_sandbox(sandbox)
    require("scipy")  # the statistics come last: do not find out then
    check_file(json_file, "--json")
    check_folder(out, "--out")
    if k > n:
        raise typer.BadParameter(f"pass@{k} needs at least {k} samples: -n {k}", param_hint="-k")
    from forklock.evals.judging import JudgeLimits
    from forklock.evals.problems import load_set
    from forklock.evals.reports.terminal import reading
    from forklock.evals.runs.prompts import as_preset
    from forklock.evals.sweeps.sweep import SweepJob
    from forklock.models import open_engine
    from forklock.models.contract import Decoding

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
    job = SweepJob(
        problems=chosen, plan=plan, prompts=prompts, sandbox=where, limits=JudgeLimits(time_scale=time_scale)
    )
    _announce(job, model)
    weights = adapter or ("none" if preset else "current")
    with open_engine(model, engine=engine, adapter=adapter_or_none(weights)) as opened:
        result = _swept(opened, job)
    _finish(result, out, json_file)


def _grid(texts: tuple[str | None, ...], rest: Decoding, preset: str | None) -> tuple[Cell, ...]:
    """Return the grid that the flags name; empty where only a preset was asked for."""
    from pydantic import ValidationError

    from forklock.evals.sweeps.grid import Axes, grid_of, numbers, stages

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
    """Return the baseline and the controls."""
    from forklock.evals.sweeps.grid import Cell, decoding_from, ssd_controls
    from forklock.models.families import PRESETS as FAMILIES
    from forklock.models.families import family_of

    if preset is not None and preset not in PRESETS:
        raise typer.BadParameter(
            f"no such preset: {preset}; there is {', '.join(PRESETS)}", param_hint="--preset"
        )
    if family is not None and family not in FAMILIES:
        raise typer.BadParameter(f"one of {', '.join(sorted(FAMILIES))}", param_hint="--family")
    if preset is not None and baseline is not None:
        raise typer.BadParameter("the preset brings its own baseline", param_hint="--baseline")
    if preset is not None:
        return ssd_controls(family or family_of(model), rest)
    try:
        return Cell(role="baseline", decoding=decoding_from(baseline or BASELINE, rest)), ()
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--baseline") from error


def _plan(
    base: Cell, grid: tuple[Cell, ...], controls: tuple[Cell, ...], n: int, k: int, development: float | None
) -> Plan:
    from forklock.evals.sweeps.grid import Plan
    from forklock.evals.sweeps.sweep import DEVELOPMENT_SHARE

    if not grid and development is not None:
        raise typer.BadParameter("nothing is tuned without a grid", param_hint="--development")
    share = (development or DEVELOPMENT_SHARE) if grid else 0.0
    return Plan(baseline=base, grid=grid, controls=controls, n=n, k=k, development=share)


def _announce(job: SweepJob, model: str) -> None:
    """Print what will be measured; fail before the model is loaded where the sweep cannot work."""
    from forklock.evals.judging import Judge
    from forklock.evals.sweeps.sweep import parts
    from forklock.sandbox.terminal import screen

    tuned, held_out = parts(job.problems, job.plan)
    Judge(job.sandbox, limits=job.limits).close()
    console = screen(stderr=True)
    if tuned is not None:
        console.print(
            f"{len(job.plan.grid)} cells on {len(tuned.problems)} development problems, then the chosen one on "
            f"{len(held_out.problems)} test problems",
        )  # fmt: skip
    for cell in (job.plan.baseline, *job.plan.controls):
        console.print(f"{cell.role}: {cell.name}")
    console.print(f"opening {model}")


def _swept(engine: Engine, job: SweepJob) -> SweepResult:
    from forklock.evals.reports.terminal import LiveProgress
    from forklock.evals.sweeps.report import SweepProgress
    from forklock.evals.sweeps.sweep import run_sweep, samples_planned
    from forklock.sandbox.terminal import screen

    console = screen(stderr=True)
    with LiveProgress(console) as live:
        progress = SweepProgress(console, live, samples_planned(job.problems, job.plan))
        return run_sweep(engine, job, progress=progress, on_cell=progress.cell)


def _finish(result: SweepResult, out: Path | None, json_file: Path | None) -> None:
    from forklock.evals.sweeps.page import write_files
    from forklock.evals.sweeps.report import sweep_view
    from forklock.sandbox.terminal import screen

    screen().print(sweep_view(result))
    write_json(json_file, result)
    write_pages(lambda: write_files(result, out or result.folder))
