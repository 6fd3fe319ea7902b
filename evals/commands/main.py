"""The `evals` command. Thin: reads flags, calls the room, prints, and turns faults into exit codes.

Exit codes: 0 done, 2 bad input, 3 model, sandbox or judge trouble (some samples have no verdict),
130 interrupted. Heavy imports happen inside the commands: `evals --help` must be instant. What reads finished
runs is in `evals.commands.compare`, what grades programs that exist in `evals.commands.judge`.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Optional

import typer

from evals.commands import compare as compare_cli
from evals.commands import judge as judge_cli
from evals.commands import sweep as sweep_cli
from evals.commands import tokens as tokens_cli
from evals.commands.judge import ERRATA_HELP, PRESET_HELP, check_sandbox, on_ray
from evals.commands.repo import run_repo_tasks
from models.console import INFRASTRUCTURE, run_app
from sandbox.terminal import say

if TYPE_CHECKING:
    from evals.contract import ProblemSet
    from evals.runs.run import EvalResult
    from models.contract import FirstStage

app = typer.Typer(
    name="evals",
    help="Measure models, adapters and decodings on coding problems, with honest statistics.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # drawn by Rich, a help text takes twice as long to come
)

OWN_AGENT = "forklock"
DataOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="Folder with problem sets [env FORKLOCK_DATA]."),
]


OF_SETS_ALONE = (
    "engine", "n", "k", "temperature", "top_k", "top_p", "min_p", "virtual_ssd", "max_tokens", "preset", "data",
    "start", "end", "platform", "errata", "time_scale", "seed", "repair", "executor",
)  # fmt: skip
OF_REPO_TASKS_ALONE = ("tasks", "repos", "only")


@app.command()
def run(
    context: typer.Context,
    problems: Annotated[
        str, typer.Argument(metavar="SET", help="A name from `evals sets`, a file, or `repo` (see --tasks).")
    ],
    model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Catalogue name, folder, provider id or server URL."),
    ] = None,
    engine: Annotated[str, typer.Option(help="auto, transformers, hosted or vllm.")] = "auto",
    adapter: Annotated[str, typer.Option(help="current, none, a version or a folder.")] = "current",
    limit: Annotated[Optional[int], typer.Option(min=1, help="Problems at most.")] = None,  # noqa: UP045
    n: Annotated[int, typer.Option("-n", min=1, help="Samples per problem.")] = 1,
    k: Annotated[Optional[list[int]], typer.Option("-k", help="pass@k to report; repeat it.")] = None,  # noqa: UP045
    temperature: Annotated[float, typer.Option(min=0, max=5)] = 0.2,
    top_k: Annotated[int, typer.Option(min=0, help="0 keeps all.")] = 0,
    top_p: Annotated[float, typer.Option(min=0, max=1)] = 0.95,
    min_p: Annotated[float, typer.Option(min=0, max=1)] = 0.0,
    virtual_ssd: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="T/K/P", help="First stage: temper and truncate so, then decode with the other settings."
        ),
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="New tokens per sample.")] = 1024,
    preset: Annotated[str, typer.Option(help=PRESET_HELP)] = "auto",
    data: DataOption = None,
    start: Annotated[Optional[str], typer.Option(help="Contests from this day on, YYYY-MM-DD.")] = None,  # noqa: UP045
    end: Annotated[Optional[str], typer.Option(help="Contests up to this day, YYYY-MM-DD.")] = None,  # noqa: UP045
    difficulty: Annotated[Optional[str], typer.Option()] = None,  # noqa: UP045
    platform: Annotated[Optional[str], typer.Option()] = None,  # noqa: UP045
    errata: Annotated[bool, typer.Option(help=ERRATA_HELP)] = True,
    sandbox: Annotated[
        str, typer.Option(help="auto, docker, bubblewrap or host (isolates nothing).")
    ] = "auto",
    time_scale: Annotated[float, typer.Option(min=0.01, help="Multiplies the time limits of tests.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Same seed, same samples.")] = 0,
    json_file: Annotated[Optional[Path], typer.Option("--json", help="Also write the result here.")] = None,  # noqa: UP045
    repair: Annotated[
        int, typer.Option(min=0, help="Times a failure of public tests is shown, and the model asked again.")
    ] = 0,
    executor: Annotated[
        str, typer.Option(help="local, or ray: spread over the cluster that RAY_ADDRESS names.")
    ] = "local",
    tasks: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="With `repo`: JSONL of repo tasks, SWE-bench-like records."),
    ] = None,
    repos: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="With `repo`: folder of clones named owner+name; others are cloned."),
    ] = None,
    agent: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="A whole agent: `forklock` (ours, with --model; flags of `agent solve` after it), none, reference, "
            "or a command line with {repo}, {statement}, {statement_file}, {test_command}; on a SET with {statement} "
            "or {statement_file}, and {answer_file} (else stdout), {usage_file}, {seed}. It runs as you do.",
        ),
    ] = None,
    only: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="With `repo`: only tasks whose id begins so; repeat it."),
    ] = None,
    agent_timeout: Annotated[float, typer.Option(min=1, help="Seconds an agent has for a task.")] = 1800.0,
) -> None:
    """Sample, judge, report. An interrupted run goes on when the same command is given again."""
    check_sandbox(sandbox)
    _refuse_given(context, OF_SETS_ALONE if problems == "repo" else OF_REPO_TASKS_ALONE, problems)
    if json_file is not None and not json_file.absolute().parent.is_dir():
        raise typer.BadParameter(f"{json_file.parent} is not a folder", param_hint="--json")
    ours = agent is not None and agent.split()[:1] == [OWN_AGENT]
    if agent is not None and not ours and model is not None:
        raise typer.BadParameter("either another agent or a model is evaluated", param_hint="--agent")
    if problems == "repo":
        run_repo_tasks(
            tasks, repos, agent or OWN_AGENT, model, adapter=adapter, only=only or [], limit=limit,
            difficulty=difficulty, sandbox=sandbox, agent_timeout=agent_timeout, json_file=json_file,
        )  # fmt: skip
        return
    if model is None and (agent is None or ours):
        raise typer.BadParameter("which model?", param_hint="--model")
    if ours and (repair or executor != "local"):
        raise typer.BadParameter(
            "it sees the public tests already, and runs here", param_hint="--agent forklock"
        )
    from evals.problems.sets import load_set
    from evals.reports.terminal import reading, remarks

    window = (_day(start), _day(end))
    with reading(problems):
        chosen = load_set(
            problems,
            data=data,
            limit=limit,
            start=window[0],
            end=window[1],
            difficulty=difficulty,
            platform=platform,
            errata=errata,
        )
    for line in remarks(chosen):
        say(line, err=True)
    decoding: dict[str, object] = {
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p, "max_tokens": max_tokens,
        "seed": seed, "virtual_ssd": first_stage(virtual_ssd),
    }  # fmt: skip
    result = _evaluate(
        chosen, model or "", engine, adapter, decoding, n, k or _default_ks(n), preset, sandbox, time_scale,
        repair, agent, agent_timeout, on_ray(executor),
    )  # fmt: skip
    _print(result)
    if json_file is not None:
        json_file.write_text(result.model_dump_json(indent=1), encoding="utf-8")
    if result.infrastructure:
        raise typer.Exit(INFRASTRUCTURE)


def _refuse_given(context: typer.Context, names: tuple[str, ...], problems: str) -> None:
    """A flag that would change nothing is refused: its user believes that it did."""
    for flag in context.command.params:
        source = context.get_parameter_source(flag.name or "")
        if flag.name in names and source is not None and source.name == "COMMANDLINE":
            fix = "; --agent 'forklock FLAGS' passes flags to our agent" if problems == "repo" else ""
            raise typer.BadParameter(f"has no meaning with {problems}{fix}", param_hint=flag.opts[0])


def _evaluate(
    chosen: ProblemSet,
    model: str,
    engine: str,
    adapter: str,
    decoding: dict[str, object],
    n: int,
    ks: list[int],
    preset: str,
    sandbox: str,
    time_scale: float,
    repair: int,
    agent: str | None,
    agent_timeout: float,
    ray: bool,
) -> EvalResult:
    from pydantic import ValidationError

    from evals.agents.solver_engine import SolverEngine
    from evals.cluster import RayEngine, RayJudge, open_spec
    from evals.contract import EvalFault
    from evals.judging.judge import Judge, JudgeLimits
    from evals.reports.terminal import LiveProgress
    from evals.runs.prompts import preset_for
    from evals.runs.run import run_eval
    from models.contract import Decoding, Engine
    from sandbox.terminal import screen

    try:
        settings = Decoding.model_validate(decoding)
    except ValidationError as error:
        raise typer.BadParameter(str(error.errors()[0]["msg"])) from error
    asked = preset_for(chosen, preset)
    if bad := [k for k in ks if not 1 <= k <= n]:
        raise EvalFault(f"pass@{bad[0]} needs at least {bad[0]} samples", fix=f"-n {max(bad)}")
    limits = JudgeLimits(time_scale=time_scale)
    Judge(sandbox, limits=limits).close()  # no sandbox: say so before the model loads
    console = screen(stderr=True)
    spec: dict[str, Any] = {"agent": agent, "timeout_s": agent_timeout}
    if agent is None:
        console.print(f"opening {model}")
        spec = {"model": model, "engine": engine, "adapter": None if adapter == "none" else adapter}
    judge = RayJudge(sandbox, limits=limits) if ray else None
    with ExitStack() as stack:
        opened: Engine
        if agent is not None and model:
            opened = SolverEngine(
                agent.strip().removeprefix(OWN_AGENT), chosen.problems, asked, model=model,
                adapter=adapter, sandbox=sandbox, timeout_s=agent_timeout,
            )  # fmt: skip
        else:
            opened = stack.enter_context(open_spec(spec))
        if ray:
            opened = RayEngine(spec, opened.identity, opened.context_tokens)
        progress = stack.enter_context(LiveProgress(console))
        return run_eval(
            opened, chosen, settings, preset=asked, n=n, ks=ks, sandbox=sandbox, limits=limits,
            repair=repair, judge=judge, progress=progress,
        )  # fmt: skip


@app.command()
def sets(
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(metavar="[SET]", help="Only sets whose name begins so, with problems by month."),
    ] = None,
    data: DataOption = None,
    json_file: Annotated[Optional[Path], typer.Option("--json", help="Also write the list here.")] = None,  # noqa: UP045
) -> None:
    """List the problem sets that are here. Says where to get others.

    With dates, difficulties and licences.
    """
    import json
    from dataclasses import asdict

    from evals.contract import EvalFault
    from evals.problems.catalogue import facts
    from evals.reports.terminal import months_of, sets_table
    from sandbox.terminal import screen

    with screen(stderr=True).status("reading the sets"):
        rows = facts(data, name or "")
    if not rows:
        raise EvalFault(f"no problem set {name!r}", fix="`evals sets` lists all")
    console = screen()
    console.print(sets_table(rows))
    if name is not None:
        console.print(*(months_of(row) for row in rows if row.months), sep="\n")
    if json_file is not None:
        json_file.write_text(
            json.dumps([asdict(row) for row in rows], default=str, indent=1), encoding="utf-8"
        )


@app.command()
def runs() -> None:
    """List past runs, newest first."""
    from rich.table import Column, Table

    from evals.reports.terminal import percent
    from evals.runs.past import load_result, run_folders
    from sandbox.terminal import screen

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


@app.command()
def show(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, its beginning, or a path.")],
    cutoff: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Training cutoff of the model, YYYY-MM-DD: scores by month before and after it."),
    ] = None,
) -> None:
    """Show a past run's result."""
    from evals.reports.terminal import by_month
    from evals.runs.past import find_run
    from evals.statistics.contamination import contamination
    from sandbox.terminal import screen

    day, result = _day(cutoff), find_run(run_id).result
    _print(result)
    if day is not None:
        screen().print(by_month(contamination(result, day)))


judge_cli.register(app)
compare_cli.register(app)
sweep_cli.register(app)
tokens_cli.register(app)


def _default_ks(n: int) -> list[int]:
    return [k for k in (1, 2, 4, 5, 8, 10, 16, 32, 64, 100) if k < n] + [n] if n > 1 else [1]


def _print(result: EvalResult) -> None:
    from evals.reports.terminal import summary
    from sandbox.terminal import screen

    screen().print(summary(result))


def first_stage(text: str | None) -> FirstStage | None:
    """What follows `--virtual-ssd`."""
    from models.contract import FirstStage

    try:
        return FirstStage.parse(text) if text else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--virtual-ssd") from error


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not YYYY-MM-DD") from error


def main() -> NoReturn:
    """Entry point of the `evals` script."""
    run_app(app)


if __name__ == "__main__":
    main()
