"""`agent compare`: what else a run's change changes."""

from __future__ import annotations

from pathlib import Path

import typer

from forklock.agent.commands.options import RepoOption, RunArgument, SandboxOption


def compare(run: RunArgument = "last", repo: RepoOption = Path(), sandbox: SandboxOption = None) -> None:
    """Show what else a run's change changes.

    The code before and after it answers the tests' inputs, and variants of them. Exit code 1 where the change is in
    doubt. Python with pytest only.
    """
    from forklock.agent.judging.evidence import compare_run
    from forklock.agent.log.runs import find
    from forklock.agent.repo import inspect_repo
    from forklock.agent.settings import AgentSettings
    from forklock.sandbox.terminal import screen

    root = inspect_repo(repo).root
    settings = AgentSettings.load(root, sandbox=sandbox)
    console = screen()
    with console.status("running both versions of the code"):
        found = compare_run(find(root, run), root, settings.sandbox)
    console.print(f"{'no doubt found' if found.sure else 'in doubt'}: {found.why}")
    if found.question:
        console.print(f"look at     {found.question}")
    if not found.sure:
        raise typer.Exit(1)
