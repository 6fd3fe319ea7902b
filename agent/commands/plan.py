"""`agent plan`: what a run would do first, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forklock.agent.commands.options import RepoOption, SandboxOption, below
from forklock.sandbox.terminal import say_json

if TYPE_CHECKING:
    from forklock.agent.session.planning import Plan
    from forklock.sandbox.terminal.console import Screen


def plan(
    task: Annotated[
        str, typer.Argument(help="What is wrong, in words. A path that begins with @ is read.")
    ] = "",
    repo: RepoOption = Path(),
    test: Annotated[
        str, typer.Option(help="The check that fails now; default: the repository's own suite.")
    ] = "",
    model: Annotated[
        str | None, typer.Option(help="The model that would answer; it decides how it is asked.")
    ] = None,
    width: Annotated[int | None, typer.Option(help="Candidates of the first step.")] = None,
    sandbox: SandboxOption = None,
    issue: Annotated[
        str | None, typer.Option(help="Read the task from an issue: a file, or - for stdin.")
    ] = None,
    prompts: Annotated[
        bool, typer.Option("--prompts", help="Print each prompt as it would be sent.")
    ] = False,
    allow_dirty: Annotated[bool, typer.Option(help="Work on uncommitted changes too.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Show what `agent solve` would do first. No model is loaded, no token is spent.

    The check runs in the sandbox; then come the suspected places, and what would be asked about each.
    """
    from forklock.agent.commands.asked import read_task, require_test
    from forklock.agent.repo import inspect_repo
    from forklock.agent.session import Assignment
    from forklock.agent.session.planning import make_plan
    from forklock.agent.settings import AgentSettings
    from forklock.models.engines.open import is_local
    from forklock.models.settings import ModelSettings
    from forklock.sandbox.terminal import screen

    console = screen(stderr=json_output)
    state = inspect_repo(repo)
    settings = AgentSettings.load(state.root, width=width, sandbox=sandbox)
    chosen = ModelSettings.load(state.root, model=model)
    statement = read_task(task, issue)
    check, cwd = require_test(test, state.root, below(repo, state.root))
    with console.status(f"running {check}"):
        made = make_plan(
            Assignment(statement, state, check, settings, allow_dirty, True, cwd),
            preset="weak" if is_local(chosen.model) and chosen.engine != "hosted" else "strong",
        )
    if json_output:
        say_json(_facts(made))
        return
    _print(made, console, prompts=prompts)


def _facts(made: Plan) -> dict[str, object]:
    return {
        "check": made.test_command, "cwd": made.cwd, "passed": len(made.before.passed),
        "failed": [failure.test_id for failure in made.before.failures], "regression": made.regression,
        "prompt_tokens": made.prompt_tokens, "samples": made.samples,
        "places": [
            {"place": one.label, "score": one.score, "reasons": one.reasons, "candidates": one.candidates,
             "refused": one.refused, "frame": one.frame}
            for one in made.places
        ],
        "prompts": [
            {"place": lane.place.label, "tokens": lane.prompt_tokens, "request": lane.request.model_dump(mode="json")}
            for lane in made.lanes
        ],
    }  # fmt: skip


def _print(made: Plan, console: Screen, *, prompts: bool) -> None:
    from forklock.agent.log.view import check_in_words

    console.print(f"check     {made.test_command}  →  {check_in_words(made.before)}")
    console.print(f"suite     {made.regression or 'none: only the check is run'}")
    for one in made.places:
        what = one.refused or (f"{one.candidates} candidates" if one.candidates else "not in the first step")
        console.print(f"place     {one.label}  ({one.score:.2f}): {what}")
        for reason in one.reasons[:4]:
            console.print(f"            {reason}", style="dim")
    if not made.lanes:
        console.print(
            "No place could be tied to the failing check; say more in the task, or give another check."
        )
        return
    for one in made.places:
        if one.frame and one.candidates:
            console.print(f"\n── around {one.label}", style="bold")
            console.print(one.frame)
    for number, lane in enumerate(made.lanes if prompts else ()):
        console.print(
            f"\n── prompt {number} about {lane.place.label}, about {lane.prompt_tokens} tokens", style="bold"
        )
        request = lane.request
        console.print(request.text or "\n\n".join(f"[{m.role}]\n{m.content}" for m in request.messages))
        if request.prefill:
            console.print(f"[the answer begins with]\n{request.prefill}")
    console.print(
        f"\n{len(made.lanes) * made.samples} candidates from {len(made.lanes)} prompts of about "
        f"{made.prompt_tokens} tokens together. Nothing was asked and nothing is changed."
    )
    if not prompts:
        console.print("Each prompt:  agent plan … --prompts")
