"""`agent apply` and `agent undo`: a run's change into the user's tree, and out of it again."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forklock.agent.commands.options import RepoOption, RunArgument, end_of, hold
from forklock.sandbox.terminal import say_json

if TYPE_CHECKING:
    from forklock.agent.log import RunLog


def apply(
    run: RunArgument = "last",
    repo: RepoOption = Path(),
    candidate: Annotated[
        str | None,
        typer.Option(help="Take the change of this candidate, as STEP.INDEX, instead of the run's."),
    ] = None,
    commit: Annotated[
        bool,
        typer.Option("--commit", help="Commit the changed files too, on the branch that is checked out."),
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Take a change that did not pass the checks, or that of an adopted run."
        ),
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Apply a run's change to your tree, all of it or nothing.

    A second time nothing happens. Take it back with `agent undo`.
    """
    from forklock.agent.log.runs import find, require_own
    from forklock.agent.repo import inspect_repo
    from forklock.agent.session.applied import take
    from forklock.sandbox.terminal import screen

    root = inspect_repo(repo).root
    log = find(root, run)
    if not (force and log.adopted):
        require_own(log, root)
    diff = _run_diff(log, force) if candidate is None else _candidate_diff(log, candidate, force)
    with contextlib.ExitStack() as stack:
        hold(log, stack)
        taken = take(log, root, diff, candidate=candidate or "", commit=commit)
    if json_output:
        facts = {"run_id": log.folder.name, "already_applied": taken.already, "files": taken.files}
        say_json({**facts, "commit": taken.commit})
        return
    console = screen()
    if taken.already:
        console.print(f"already applied: {root} has the change of run {log.folder.name}")
        return
    console.print(f"applied to {root}: {', '.join(taken.files)}")
    done = (
        f"committed as {taken.commit[:12]}; see it with `git show`"
        if taken.commit
        else "see it with `git diff`"
    )
    console.print(f"{done}, take it back with `agent undo`")


def undo(
    repo: RepoOption = Path(),
    json_output: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Take back the change that was applied last.

    Only if its files are still as it left them; otherwise nothing is touched, and what has changed is named.
    """
    from forklock.agent.contract import AgentFault
    from forklock.agent.repo import inspect_repo
    from forklock.agent.session.applied import last_applied, take_back
    from forklock.sandbox.terminal import screen

    root = inspect_repo(repo).root
    found = last_applied(root)
    if found is None:
        raise AgentFault(
            f"no run is applied to {root}, so nothing can be taken back",
            fix="apply one with `agent apply RUN`",
        )
    log, applied = found
    with contextlib.ExitStack() as stack:
        hold(log, stack)
        files = take_back(log, applied, root)
    if json_output:
        say_json({"run_id": log.folder.name, "files": files, "commit": applied.commit})
        return
    screen().print(f"took run {log.folder.name} back: {', '.join(files)} as before")
    if applied.commit:
        screen().print(
            f"commit {applied.commit[:12]} stays in the history; commit the files to undo it there, too"
        )


def _run_diff(log: RunLog, force: bool) -> str:
    """The diff that a run ended with.

    Raises:
        AgentFault: there is none, or it is no solution.
        LogFault: it was not tested.
    """
    from forklock.agent.contract import WITH_CHANGE, AgentFault, Outcome
    from forklock.agent.log.runs import require_tested
    from forklock.agent.log.view import print_doubt
    from forklock.sandbox.terminal import screen

    name, end = log.folder.name, end_of(log)
    if end is None:
        raise AgentFault(f"run {name} has not ended", fix=f"agent solve --resume {name}")
    if end.outcome not in WITH_CHANGE and not force:
        raise AgentFault(
            f"run {name} ended {end.outcome}: its diff is no solution",
            fix="look at it with `agent show --diff`, and apply it with --force if you want it all the same",
        )
    if not force:
        require_tested(log, end)
    if end.outcome == Outcome.IN_DOUBT:
        screen(stderr=True).print(f"in doubt: {end.detail}", style="yellow")
        print_doubt(screen(stderr=True), log)
    diff = log.text(end.diff)
    if not diff:
        raise AgentFault(f"run {name} changed nothing", fix=f"see why with `agent show {name}`")
    return diff


def _candidate_diff(log: RunLog, name: str, force: bool) -> str:
    """The diff of one candidate.

    Raises:
        AgentFault: it has none, or did not pass.
    """
    from forklock.agent.contract import WITH_CHANGE, AgentFault
    from forklock.agent.log.candidates import candidate_named

    run = log.folder.name
    found = candidate_named(log.read().events, run, name)
    diff = log.text(found.ruled.diff) if found.ruled else ""
    look = f"agent show {run} --candidate {name}"
    if found.ruled is None or not diff:
        raise AgentFault(f"candidate {name} of run {run} made no change", fix=f"see why: {look}")
    if found.ruled.hop not in WITH_CHANGE and not force:
        raise AgentFault(
            f"candidate {name} of run {run} did not pass: it fell at {found.ruled.hop}",
            fix=f"look at it with `{look}`, and apply it with --force if you want it all the same",
        )
    return diff
