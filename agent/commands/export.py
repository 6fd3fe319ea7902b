"""`agent export`: a run in a form that other programs read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from forklock.agent.commands.options import RepoOption, RunArgument
from forklock.sandbox.terminal import say_json


def export(
    run: RunArgument = "last",
    repo: RepoOption = Path(),
    form: Annotated[
        str,
        typer.Option(
            "--format", help="atif (one ATIF document) or messages (a chat a line, with its result)."
        ),
    ] = "atif",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; default: stdout.")
    ] = None,
) -> None:
    """Export a run for other programs, as JSON.

    atif is the Agent Trajectory Interchange Format, version 1.8. messages has one line for each answer.
    """
    from forklock.agent.contract import AgentFault
    from forklock.agent.log.export import as_atif, as_messages
    from forklock.agent.log.runs import find
    from forklock.agent.repo import inspect_repo
    from forklock.sandbox.files.atomic import write_atomic

    if form not in ("atif", "messages"):
        raise AgentFault(f"there is no format {form!r}", fix="take --format atif or --format messages")
    log = find(inspect_repo(repo).root, run)
    values = [as_atif(log, _version())] if form == "atif" else list(as_messages(log))
    if output is None:
        for value in values:
            say_json(value)
        return
    try:
        write_atomic(output.absolute(), "".join(f"{json.dumps(value)}\n" for value in values))
    except OSError as error:
        raise AgentFault(
            f"cannot write {output}: {error.strerror}", fix="name another file with --output"
        ) from error


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("forklock")
    except PackageNotFoundError:
        return "unknown"
