"""`evals run`: sample, judge and report a model or a whole agent on a problem set or on repo tasks."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from forklock.evals.commands.options import (
    AdapterOption,
    DataOption,
    DifficultyOption,
    EngineOption,
    ErrataOption,
    ExecutorOption,
    JsonOption,
    LimitOption,
    MaxTokensOption,
    PlatformOption,
    PresetOption,
    SandboxOption,
    SeedOption,
    TimeScaleOption,
    adapter_or_none,
    check_file,
    day,
    decoding_of,
    on_ray,
    write_json,
)
from forklock.evals.commands.repo import RepoCommand, run_repo_tasks
from forklock.sandbox.commands.console import INFRASTRUCTURE
from forklock.sandbox.commands.extras import require
from forklock.sandbox.commands.options import check_sandbox
from forklock.sandbox.terminal import say

if TYPE_CHECKING:
    from forklock.evals.results import EvalResult
    from forklock.evals.runs import EvalJob
    from forklock.models.contract import Engine, FirstStage

OWN_AGENT = "forklock"
ONLY_WITH_SETS = (
    "engine", "n", "k", "temperature", "top_k", "top_p", "min_p", "virtual_ssd", "max_tokens", "preset", "data",
    "start", "end", "platform", "errata", "time_scale", "seed", "repair", "executor",
)  # fmt: skip
ONLY_WITH_REPO_TASKS = ("tasks", "repos", "only", "statements")


def register(app: typer.Typer) -> None:
    """Add the command to the `evals` app."""
    app.command()(run)


def run(
    context: typer.Context,
    problems: Annotated[
        str, typer.Argument(metavar="SET", help="A name from `evals sets`, a file, or `repo` (see --tasks).")
    ],
    model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Catalogue name, folder, provider id or server URL."),
    ] = None,
    engine: EngineOption = "auto",
    adapter: AdapterOption = "current",
    limit: LimitOption = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Samples per problem.")] = 1,
    k: Annotated[Optional[list[int]], typer.Option("-k", help="pass@k to report; repeat it.")] = None,  # noqa: UP045
    temperature: Annotated[float, typer.Option(min=0, max=5)] = 0.2,
    top_k: Annotated[int, typer.Option(min=0, help="0 keeps all.")] = 0,
    top_p: Annotated[float, typer.Option(min=0, max=1)] = 0.95,
    min_p: Annotated[float, typer.Option(min=0, max=1)] = 0.0,
    virtual_ssd: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="T/K/P",
            help="First stage: apply this temperature and truncation, then decode with the other settings.",
        ),
    ] = None,
    max_tokens: MaxTokensOption = 1024,
    preset: PresetOption = "auto",
    data: DataOption = None,
    start: Annotated[Optional[str], typer.Option(help="Contests from this day on, YYYY-MM-DD.")] = None,  # noqa: UP045
    end: Annotated[Optional[str], typer.Option(help="Contests up to this day, YYYY-MM-DD.")] = None,  # noqa: UP045
    difficulty: DifficultyOption = None,
    platform: PlatformOption = None,
    errata: ErrataOption = True,
    sandbox: SandboxOption = "auto",
    time_scale: TimeScaleOption = 1.0,
    seed: SeedOption = 0,
    json_file: JsonOption = None,
    repair: Annotated[
        int,
        typer.Option(
            min=0, help="Number of times a failure of public tests is shown, and the model asked again."
        ),
    ] = 0,
    executor: ExecutorOption = "local",
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
        typer.Option(help="With `repo`: only tasks whose id starts with this; repeat it."),
    ] = None,
    statements: Annotated[
        bool,
        typer.Option(
            "--statements",
            help="With `repo`: our agent gets the statements alone, and writes its own tests; the hidden tests judge.",
        ),
    ] = False,
    agent_timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that an agent has for a task.")
    ] = 1800.0,
) -> None:
    """Sample, judge, report. The same command continues an interrupted run."""
    where = check_sandbox(sandbox)
    require("scipy")  # the statistics come last: do not find out then
    _refuse_useless(context, ONLY_WITH_SETS if problems == "repo" else ONLY_WITH_REPO_TASKS, problems)
    check_file(json_file, "--json")
    asked = _Asked(model, engine, adapter, agent, agent_timeout)
    asked.check()
    if problems == "repo":
        repo = RepoCommand(tasks, repos, agent or OWN_AGENT, model, adapter, agent_timeout, where, statements)
        run_repo_tasks(repo, only=only or [], limit=limit, difficulty=difficulty, json_file=json_file)
        return
    ray = on_ray(executor)
    asked.check_for_set(repair=repair, ray=ray)
    from forklock.evals.judging import JudgeLimits
    from forklock.evals.problems import load_set
    from forklock.evals.reports.terminal import reading, remarks
    from forklock.evals.runs import EvalJob

    window = day(start, "--start"), day(end, "--end")
    with reading(problems):
        chosen = load_set(
            problems, data=data, limit=limit, start=window[0], end=window[1], difficulty=difficulty,
            platform=platform, errata=errata,
        )  # fmt: skip
    for line in remarks(chosen):
        say(line, err=True)
    decoding = decoding_of(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, max_tokens=max_tokens, seed=seed,
        virtual_ssd=_first_stage(virtual_ssd),
    )  # fmt: skip
    job = EvalJob(
        problems=chosen, decoding=decoding, preset=preset, n=n, ks=tuple(k or _default_ks(n)), repair=repair,
        sandbox=where, limits=JudgeLimits(time_scale=time_scale),
    )  # fmt: skip
    result = _evaluated(job, asked, ray=ray)
    show_result(result)
    write_json(json_file, result)
    if result.infrastructure:
        raise typer.Exit(INFRASTRUCTURE)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who is evaluated: a model, our agent with a model, or another agent."""

    model: str | None
    engine: str
    adapter: str
    agent: str | None
    agent_timeout: float

    @property
    def ours(self) -> bool:
        """Whether our own agent is evaluated."""
        return self.agent is not None and self.agent.split()[:1] == [OWN_AGENT]

    def check(self) -> None:
        """Check that not both another agent and a model are given."""
        if self.agent is not None and not self.ours and self.model is not None:
            raise typer.BadParameter("either another agent or a model is evaluated", param_hint="--agent")

    def check_for_set(self, *, repair: int, ray: bool) -> None:
        """Check what the evaluation on a problem set needs."""
        if self.model is None and (self.agent is None or self.ours):
            raise typer.BadParameter("which model?", param_hint="--model")
        if self.ours and (repair or ray):
            raise typer.BadParameter(
                "it sees the public tests already, and runs here", param_hint="--agent forklock"
            )

    @property
    def spec(self) -> dict[str, Any]:
        """The engine as `forklock.evals.cluster.open_spec` takes it."""
        if self.agent is not None:
            return {"agent": self.agent, "timeout_s": self.agent_timeout}
        return {"model": self.model, "engine": self.engine, "adapter": adapter_or_none(self.adapter)}

    def opened(self, job: EvalJob, stack: ExitStack) -> Engine:
        """Open the engine until the stack closes."""
        from forklock.evals.agents.solver_engine import SolverEngine
        from forklock.evals.cluster import open_spec

        if self.agent is None or not self.ours:
            return stack.enter_context(open_spec(self.spec))
        return SolverEngine(
            self.agent.strip().removeprefix(OWN_AGENT), job.problems.problems, job.chosen_preset,
            model=self.model or "", adapter=self.adapter, sandbox=job.sandbox, timeout_s=self.agent_timeout,
        )  # fmt: skip


def _refuse_useless(context: typer.Context, names: tuple[str, ...], problems: str) -> None:
    """Refuse flags that would change nothing: whoever gives one believes that it does."""
    for flag in context.command.params:
        source = context.get_parameter_source(flag.name or "")
        if flag.name in names and source is not None and source.name == "COMMANDLINE":
            fix = "; --agent 'forklock FLAGS' passes flags to our agent" if problems == "repo" else ""
            raise typer.BadParameter(f"has no meaning with {problems}{fix}", param_hint=flag.opts[0])


def _evaluated(job: EvalJob, asked: _Asked, *, ray: bool) -> EvalResult:
    from forklock.evals.cluster import RayEngine, RayJudge
    from forklock.evals.judging import Judge
    from forklock.evals.reports.terminal import LiveProgress
    from forklock.evals.runs import run_eval
    from forklock.sandbox.terminal import screen

    job.check()
    Judge(
        job.sandbox, limits=job.limits
    ).close()  # fails before the model is loaded where there is no sandbox
    console = screen(stderr=True)
    if asked.agent is None:
        console.print(f"opening {asked.model}")
    judge = RayJudge(job.sandbox, limits=job.limits) if ray else None
    with ExitStack() as stack:
        opened = asked.opened(job, stack)
        if ray:
            opened = RayEngine(asked.spec, opened.identity, opened.context_tokens)
        progress = stack.enter_context(LiveProgress(console))
        return run_eval(opened, job, judge=judge, progress=progress)


def show_result(result: EvalResult) -> None:
    """Print a result."""
    from forklock.evals.reports.terminal import summary
    from forklock.sandbox.terminal import screen

    screen().print(summary(result))


def _default_ks(n: int) -> list[int]:
    return [k for k in (1, 2, 4, 5, 8, 10, 16, 32, 64, 100) if k < n] + [n] if n > 1 else [1]


def _first_stage(text: str | None) -> FirstStage | None:
    from forklock.models.contract import FirstStage

    try:
        return FirstStage.parse(text) if text else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--virtual-ssd") from error
