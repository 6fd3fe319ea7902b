"""`agent replay`: the loop once more, on recorded answers."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from forklock.agent.commands.options import RepoOption, RunArgument
from forklock.sandbox.terminal import say_json


def replay(
    run: RunArgument = "last",
    repo: RepoOption = Path(),
    json_output: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Run a finished run's loop once more, on the answers that its log holds.

    The tree must be at the commit that the run began with. The model is opened to count tokens, and asked nothing. Exit
    code 1: the loop asks something else than the run did, or comes to another end.
    """
    from forklock.agent.commands.solve import open_recorded
    from forklock.agent.log.runs import find, require_own
    from forklock.agent.repo import inspect_repo
    from forklock.agent.session.replay import replay as replay_run
    from forklock.sandbox.terminal import screen

    console = screen(stderr=json_output)
    state = inspect_repo(repo)
    log = find(state.root, run)
    first = require_own(log, state.root)
    with contextlib.ExitStack() as stack:
        engine = open_recorded(first, state.root, console, stack)
        with console.status("replaying"):
            done = replay_run(log, state, engine)
    if json_output:
        say_json({
            "run_id": log.folder.name, "same": done.is_same, "outcome": done.outcome,
            "same_outcome": done.same_outcome, "same_diff": done.same_diff, "candidates": done.candidates,
            "changed": done.changed,
        })  # fmt: skip
    else:
        what = "as it was" if done.is_same else "NOT as it was"
        console.print(f"replayed {done.candidates} candidates; the run ends {what}: {done.outcome}")
        if not done.same_diff:
            console.print("the diff is another one")
        for line in done.changed:
            console.print(f"candidate {line}")
    if not done.is_same:
        raise typer.Exit(1)
