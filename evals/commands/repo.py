"""`evals run repo`: a whole agent on repo tasks; `forklock.evals.commands.run` calls this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from forklock.sandbox.commands.console import INFRASTRUCTURE

if TYPE_CHECKING:
    from forklock.evals.agents.results import TaskResult
    from forklock.evals.agents.run import AgentUnderTest
    from forklock.sandbox import BackendName


@dataclass(frozen=True, slots=True)
class RepoCommand:
    """What `evals run repo` was asked for."""

    tasks: Path | None
    repos: Path | None
    agent: str
    model: str | None
    adapter: str
    agent_timeout: float
    sandbox: BackendName
    statements: bool = False
    """Our agent gets the statement alone, and writes its own tests."""

    def tested(self) -> AgentUnderTest:
        """Return the agent.

        Raises:
            EvalFault: there is no agent, or ours has no model.
        """
        from forklock.evals.agents.run import AgentUnderTest, forklock_command
        from forklock.evals.contract import EvalFault

        command = self.agent
        if command.split()[:1] == ["forklock"]:
            if self.model is None:
                raise EvalFault("the forklock agent needs a model", fix="--model qwen2.5-coder-0.5b")
            flags = command.strip().removeprefix("forklock")
            command = forklock_command(self.model, self.adapter, flags, statements=self.statements)
        elif self.statements:
            raise EvalFault(
                "--statements is for our own agent",
                fix="leave {test_command} out of the command line of another agent",
            )
        if not command.strip():
            raise EvalFault("no agent", fix="--agent forklock, none, reference, or a command line")
        return AgentUnderTest(command, self.agent_timeout)


def run_repo_tasks(
    command: RepoCommand,
    *,
    only: Sequence[str],
    limit: int | None,
    difficulty: str | None,
    json_file: Path | None,
) -> None:
    """Run the tasks, print the results, and exit with 3 where tasks have no verdict.

    Raises:
        EvalFault: bad options, tasks or repositories.
    """
    from forklock.evals.agents.report import line, summary
    from forklock.evals.agents.results import RepoStore
    from forklock.evals.agents.run import TEST_TIMEOUT_S, run_tasks
    from forklock.evals.agents.tasks import read_tasks
    from forklock.evals.contract import EvalFault
    from forklock.sandbox.terminal import screen

    if command.tasks is None:
        raise EvalFault("which tasks?", fix="evals run repo --tasks FILE.jsonl --repos DIR")
    if command.repos is not None and not command.repos.is_dir():
        raise EvalFault(f"{command.repos} is not a folder", fix="give the folder of clones, named owner+name")
    tested = command.tested()
    chosen = read_tasks(command.tasks, only=only, limit=limit, difficulty=difficulty)
    store = RepoStore(tested.command)
    console = screen(stderr=True)
    held = sum(store.holds(task, tested.asked(task, TEST_TIMEOUT_S)) for task in chosen)
    console.print(f"{len(chosen)} tasks, {held} with a result; files: {store.folder}")
    results = run_tasks(
        chosen, tested, store, repos=command.repos, backend=command.sandbox,
        on_result=lambda result: console.print(line(result)),
    )  # fmt: skip
    screen().print(summary(results, tested.command))
    _finish(results, json_file)


def _finish(results: Sequence[TaskResult], json_file: Path | None) -> None:
    import json

    if json_file is not None:
        text = json.dumps([result.model_dump(mode="json") for result in results], indent=1)
        json_file.write_text(text, encoding="utf-8")
    if any(result.outcome == "infrastructure error" for result in results):
        raise typer.Exit(INFRASTRUCTURE)
