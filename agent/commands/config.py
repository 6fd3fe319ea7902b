"""`agent config` and `agent mcp`: settings, and the tools as a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forklock.agent.commands.options import RepoOption, SandboxOption, below
from forklock.sandbox.commands.extras import install_hint


def config(repo: RepoOption = Path()) -> None:
    """Print the effective settings and where each one comes from."""
    from rich.table import Column, Table

    from forklock.agent.settings import AgentSettings
    from forklock.models.settings import ModelSettings
    from forklock.sandbox.terminal import screen

    start = repo.resolve()
    table = Table("setting", Column("value", overflow="fold"), Column("from", overflow="fold"))
    for settings in (ModelSettings.load(start), AgentSettings.load(start)):
        for key, origin in settings.origins().items():
            table.add_row(f"{settings.section}.{key}", str(getattr(settings, key)), str(origin))
    screen().print(table)


def mcp(
    repo: RepoOption = Path(),
    sandbox: SandboxOption = None,
    test: Annotated[
        str, typer.Option(help="The command of run_tests; default: the repository's own suite.")
    ] = "",
    read_only: Annotated[bool, typer.Option("--read-only", help="Offer no tool that changes files.")] = False,
    edit_tests: Annotated[bool, typer.Option("--edit-tests", help="Let test files be edited too.")] = False,
) -> None:
    """Serve a repository's tools to other agents, over MCP.

    No model is loaded. Speaks over standard input and output.
    """
    from forklock.agent.contract import AgentFault
    from forklock.agent.repo import inspect_repo
    from forklock.agent.settings import AgentSettings

    root = inspect_repo(repo).root
    settings = AgentSettings.load(root, sandbox=sandbox)
    try:
        from forklock.agent.serving.mcp.server import serve
    except ImportError as error:
        raise AgentFault(f"the MCP SDK is missing or too old ({error})", fix=install_hint("mcp")) from error
    from forklock.agent.serving.mcp.workbench import ServeOptions

    options = ServeOptions(
        sandbox=settings.sandbox,
        test_command=test.strip() or None,
        test_timeout_s=settings.test_timeout_s,
        read_only=read_only,
        edit_tests=edit_tests,
        cwd=below(repo, root),
    )
    serve(root, options)
