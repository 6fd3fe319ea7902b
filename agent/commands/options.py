"""Options and small steps that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from contextlib import ExitStack

    from forklock.agent.log import RunEnded, RunLog
    from forklock.sandbox.terminal.console import Screen

RepoOption = Annotated[Path, typer.Option("--repo", help="The git repository to work on.")]
RunArgument = Annotated[str, typer.Argument(help="Id of the run, its beginning, or `last`.")]
SandboxOption = Annotated[
    str | None, typer.Option("--sandbox", help="auto, docker, bubblewrap or host (isolates nothing).")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="Catalogue name, folder, provider id or server URL.")
]
EngineOption = Annotated[str | None, typer.Option("--engine", help="auto, transformers, hosted or vllm.")]
AdapterOption = Annotated[str | None, typer.Option("--adapter", help="current, none, a version or a folder.")]
WidthOption = Annotated[int | None, typer.Option("--width", help="Candidates sampled in each step.")]
StepsOption = Annotated[int | None, typer.Option("--steps", help="Steps of a run at most.")]
TokensOption = Annotated[
    int | None, typer.Option("--tokens", help="Tokens of a run at most, prompts included.")
]
SecondsOption = Annotated[float | None, typer.Option("--seconds", help="Seconds of a run at most.")]
StrategyOption = Annotated[
    str | None, typer.Option("--strategy", help="auto, repair or drive; see `agent solve --help`.")
]
RolloutsOption = Annotated[int | None, typer.Option("--rollouts", help="drive: tries that run at once.")]
TurnsOption = Annotated[int | None, typer.Option("--turns", help="drive: turns of one try, at most.")]


def below(folder: Path, root: Path) -> str:
    """The folder that the user stands in, seen from the repository's top."""
    return folder.resolve().relative_to(root.resolve()).as_posix()


def end_of(log: RunLog) -> RunEnded | None:
    """How a run ended; None for one that has not."""
    from forklock.agent.log import RunEnded

    return next((event for event in reversed(log.read().events) if isinstance(event, RunEnded)), None)


def apply_end(log: RunLog, end: RunEnded, root: Path, console: Screen) -> None:
    """Applies a run's diff to the user's tree, all or nothing, and logs it.

    Raises:
        AgentFault: there is no diff, or it does not apply.
    """
    from forklock.agent.contract import AgentFault
    from forklock.agent.session.applied import take

    diff = log.text(end.diff)
    if not diff:
        raise AgentFault(f"run {log.folder.name} changed nothing")
    take(log, root, diff)
    console.print(f"applied to {root}; see it with `git diff`, take it back with `agent undo`")


def hold(log: RunLog, stack: ExitStack) -> None:
    """Locks the run's folder: two processes that work on one run would interleave their events.

    Raises:
        AgentFault: another process works on it.
    """
    from filelock import FileLock, Timeout

    from forklock.agent.contract import AgentFault

    lock = FileLock(log.folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise AgentFault(f"run {log.folder.name} is being worked on by another process") from error
    stack.callback(lock.release)
