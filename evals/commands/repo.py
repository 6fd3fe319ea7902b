"""`evals run repo`: a whole agent on repo tasks. Thin; called by `evals.commands.main.run`."""

from __future__ import annotations

from pathlib import Path

import typer

from models.console import INFRASTRUCTURE


def run_repo_tasks(
    tasks: Path | None,
    repos: Path | None,
    agent: str,
    model: str | None,
    *,
    adapter: str,
    only: list[str],
    limit: int | None,
    difficulty: str | None,
    sandbox: str,
    agent_timeout: float,
    json_file: Path | None,
) -> None:
    """Run, print, and end with 3 where tasks have no verdict.

    Raises:
        EvalFault: bad options, tasks or repositories.
    """
    import json

    from evals.agents.report import line, summary
    from evals.agents.results import RepoStore
    from evals.agents.run import TEST_TIMEOUT_S, AgentUnderTest, forklock_command, run_tasks
    from evals.agents.tasks import read_tasks
    from evals.contract import EvalFault
    from sandbox.terminal import screen

    if tasks is None:
        raise EvalFault("which tasks?", fix="evals run repo --tasks FILE.jsonl --repos DIR")
    if repos is not None and not repos.is_dir():
        raise EvalFault(f"{repos} is not a folder", fix="give the folder of clones, named owner+name")
    if agent.split()[:1] == ["forklock"]:
        if model is None:
            raise EvalFault("the forklock agent needs a model", fix="--model qwen2.5-coder-0.5b")
        agent = forklock_command(model, adapter, agent.strip().removeprefix("forklock"))
    if not agent.strip():
        raise EvalFault("no agent", fix="--agent forklock, none, reference, or a command line")
    chosen = read_tasks(tasks, only=only, limit=limit, difficulty=difficulty)
    tested = AgentUnderTest(agent, agent_timeout)
    store = RepoStore(agent)
    console = screen(stderr=True)
    held = sum(store.holds(task, tested.asked(task, TEST_TIMEOUT_S)) for task in chosen)
    console.print(f"{len(chosen)} tasks, {held} with a result; files: {store.folder}")
    results = run_tasks(
        chosen, tested, store, repos=repos, backend=sandbox,
        on_result=lambda result: console.print(line(result)),
    )  # fmt: skip
    screen().print(summary(results, agent))
    if json_file is not None:
        json_file.write_text(
            json.dumps([r.model_dump(mode="json") for r in results], indent=1), encoding="utf-8"
        )
    if any(result.outcome == "infrastructure error" for result in results):
        raise typer.Exit(INFRASTRUCTURE)
