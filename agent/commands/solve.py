"""`agent solve`: start a run or continue one, show its progress, and print its end."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forklock.agent.commands.asked import asked, write_test_wish
from forklock.agent.commands.options import (
    AdapterOption,
    EngineOption,
    ModelOption,
    RepoOption,
    SandboxOption,
    SecondsOption,
    StepsOption,
    TokensOption,
    WidthOption,
    apply_end,
    below,
    end_of,
    hold,
)
from forklock.sandbox.terminal import say_json

if TYPE_CHECKING:
    from forklock.agent.log import Event, RunLog, RunStarted
    from forklock.agent.repo import RepoState
    from forklock.agent.session import Assignment, Prepared
    from forklock.agent.settings import AgentSettings
    from forklock.models.contract import Decoding, Engine
    from forklock.models.settings import ModelSettings
    from forklock.sandbox.terminal.console import Screen


def solve(
    task: Annotated[
        str, typer.Argument(help="What is wrong, in words. A path that begins with @ is read.")
    ] = "",
    repo: RepoOption = Path(),
    test: Annotated[
        str,
        typer.Option(
            help="The check that fails now and must pass: `python -m pytest -q tests/x.py`. Without it tests are "
            "written first (--write-test)."
        ),
    ] = "",
    model: ModelOption = None,
    engine: EngineOption = None,
    adapter: AdapterOption = None,
    width: WidthOption = None,
    steps: StepsOption = None,
    tokens: TokensOption = None,
    seconds: SecondsOption = None,
    temperature: Annotated[float | None, typer.Option(help="Higher: more varied candidates.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Only the likeliest K tokens; 0 keeps all.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Only the likeliest tokens of this share.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same machine: same candidates.")] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="auto (search-replace for hosted models, else symbol), symbol, file or search-replace."
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="repair (the harness finds the place, the model rewrites it), drive (the model takes turns with "
            "tools: several files, new files), or auto: what the task suggests, then the other."
        ),
    ] = None,
    rollouts: Annotated[int | None, typer.Option(help="drive: tries that run at once.")] = None,
    turns: Annotated[int | None, typer.Option(help="drive: turns of one try, at most.")] = None,
    sandbox: SandboxOption = None,
    regression: Annotated[
        str | None, typer.Option(help="Suite that must not get worse: a command, auto or none.")
    ] = None,
    diagnostics: Annotated[
        bool | None, typer.Option("--diagnostics/--no-diagnostics", help="Use the language servers.")
    ] = None,
    unverified: Annotated[
        bool,
        typer.Option(
            "--unverified",
            help="No check fails now: --test must go on passing, and the change that most samples agree on is taken.",
        ),
    ] = False,
    write_test: Annotated[
        str,
        typer.Option(
            help="Write tests from the task that fail now, as the check: auto (without --test, unless the repository's "
            "own suite fails), always, only (write them and stop) or never."
        ),
    ] = "auto",
    keep_test: Annotated[
        bool, typer.Option("--keep-test/--no-keep-test", help="Written tests are part of the change.")
    ] = True,
    allow_dirty: Annotated[bool, typer.Option(help="Work on uncommitted changes too.")] = False,
    in_place: Annotated[bool, typer.Option(help="Apply a solution to the tree at once.")] = False,
    accept_doubt: Annotated[
        bool,
        typer.Option(
            "--accept-doubt",
            help="Take a change that passes though the evidence does not say that it is right: exit code 0.",
        ),
    ] = False,
    resume: Annotated[
        str | None, typer.Option(help="Continue an interrupted run: its id, or `last`.")
    ] = None,
    continue_from: Annotated[
        str | None,
        typer.Option(
            "--continue", help="Start anew in the light of this run; TASK says what should be different."
        ),
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end; progress goes to stderr.")
    ] = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Print each event as a line of JSON; progress goes to stderr.")
    ] = False,
    issue: Annotated[
        str | None,
        typer.Option(
            help="Read the task from an issue: a file with markdown or GitHub's JSON, or - for stdin."
        ),
    ] = None,
) -> None:
    """Solve a task in a repository, in a sandbox. Your tree is not touched.

    Without a check, tests are written that fail now for the task's reason. Finds the
    place, samples candidates, and lets the tools choose.
    """
    from forklock.agent.contract import is_success
    from forklock.agent.repo import inspect_repo
    from forklock.agent.session import Assignment
    from forklock.agent.settings import AgentSettings
    from forklock.sandbox.terminal import screen

    console = screen(stderr=json_output or stream)
    _refuse_both(json_output, stream)
    state = inspect_repo(repo)
    flags = {
        "width": width, "steps": steps, "max_tokens_total": tokens, "seconds": seconds,
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed, "protocol": protocol,
        "sandbox": sandbox, "regression": regression, "diagnostics": diagnostics,
        "strategy": strategy, "rollouts": rollouts, "turns": turns,
    }  # fmt: skip
    settings = AgentSettings.load(state.root, **flags)
    wanted = _ModelFlags(model, engine, adapter)
    with contextlib.ExitStack() as stack:
        if resume is not None:
            prepared, opened = _continue(resume, state, wanted, console, stack)
        else:
            wish = write_test_wish(write_test, test, unverified=unverified)
            where = state.root, below(repo, state.root)
            statement, test, cwd = asked(task, issue, continue_from, test, *where, wish)
            assignment = Assignment(
                statement, state, test, settings, allow_dirty, not unverified, cwd, wish, keep_test
            )
            prepared, opened = _begin(assignment, wanted, console, stack)
        outcome = _execute(prepared, opened, console, bell=settings.bell, stream=stream)
    success = is_success(outcome, accept_doubt=accept_doubt)
    _finish(prepared.log, console, in_place=in_place and success, root=state.root, json_output=json_output)
    raise typer.Exit(0 if success else 1)


@dataclass(frozen=True, slots=True)
class _ModelFlags:
    """Which model the user named on the command line."""

    model: str | None
    engine: str | None
    adapter: str | None


# -- the task -----------------------------------------------------------------------------------------------


def _refuse_both(json_output: bool, stream: bool) -> None:
    """
    Raises:
        AgentFault: --json and --stream would share stdout.
    """
    from forklock.agent.contract import AgentFault

    if json_output and stream:
        raise AgentFault(
            "--json and --stream both write to stdout", fix="--stream's last line has the outcome"
        )


def _stream(log: RunLog) -> None:
    """Prints what the log holds, and each event that comes, as lines of JSON."""
    from forklock.agent.log.stream import streamed

    def tell(event: Event) -> None:
        facts = streamed(event, log)
        if facts is not None:
            say_json(facts)

    for event in log.read().events:
        tell(event)
    log.listen(tell)


def _chosen_model(root: Path, wanted: _ModelFlags) -> ModelSettings:
    """Which model answers. Checks what can be checked without loading it.

    Raises:
        ModelFault: no such model or engine, not pulled, or an extra is missing.
    """
    from forklock.models.engines.open import require_there
    from forklock.models.settings import ModelSettings

    settings = ModelSettings.load(root, model=wanted.model, engine=wanted.engine, adapter=wanted.adapter)
    require_there(settings.model, settings.engine)
    return settings


def _open_engine(settings: ModelSettings, console: Screen, stack: contextlib.ExitStack) -> Engine:
    from forklock.models import open_engine

    adapter = None if settings.adapter in (None, "none") else settings.adapter
    if not console.is_terminal:
        console.print(f"model     loading {settings.model}")
    with console.status(f"loading {settings.model}"):
        engine = open_engine(
            settings.model,
            engine=settings.engine,
            adapter=adapter,
            device=settings.torch_device,
            threads=settings.torch_threads,
        )
        opened = stack.enter_context(engine)
    console.print(f"model     {opened.identity}  ({opened.identity.engine})")
    return opened


def _fitted_decoding(engine: Engine, settings: AgentSettings, console: Screen) -> Decoding:
    """The settings' decoding as the engine takes it. Prints which defaults were left out.

    Raises:
        ModelFault: the engine cannot do what the user asked for.
    """
    from forklock.agent.session import wished_decoding

    asked = {key for key, origin in settings.origins().items() if origin.kind != "default"}
    fitted = engine.fit(wished_decoding(settings), asked=asked)
    for note in fitted.notes:
        console.print(f"note      {note}")
    return fitted.decoding


def _preset(engine: Engine) -> str:
    return "strong" if engine.identity.engine == "hosted" else "weak"


# -- the run ------------------------------------------------------------------------------------------------


def _begin(
    assignment: Assignment, wanted: _ModelFlags, console: Screen, stack: contextlib.ExitStack
) -> tuple[Prepared, Engine]:
    """Starts a new run. The check runs before a model is loaded: most checks that cannot serve fail in a second."""
    from forklock.agent.log.source import source_of
    from forklock.agent.log.view import check_in_words
    from forklock.agent.session import prepare, rehearse
    from forklock.models.engines.open import opens_at_once

    chosen = _chosen_model(assignment.state.root, wanted)
    opened = _open_engine(chosen, console, stack) if opens_at_once(chosen.model, chosen.engine) else None
    where = "" if assignment.cwd == "." else f"  (in {assignment.cwd}/)"
    if assignment.test_command and assignment.write_test in ("never", "auto"):
        console.print(f"check     running {assignment.test_command}{where}")
    rehearsal = rehearse(assignment, lambda line: console.print(f"project   {line}"))
    stack.callback(rehearsal.discard_unless_begun)
    if rehearsal.before is not None:
        console.print(f"check     {check_in_words(rehearsal.before)}")
    if rehearsal.writes_tests:
        console.print("check     none was given: tests are written first, from the task")
    engine = opened or _open_engine(chosen, console, stack)
    decoding = _fitted_decoding(engine, assignment.settings, console)
    prepared = prepare(
        assignment,
        engine.identity,
        preset=_preset(engine),
        rehearsal=rehearsal,
        decoding=decoding,
        source=source_of(chosen.model, chosen.engine, engine),
    )
    hold(prepared.log, stack)
    stack.callback(prepared.log.close)
    return prepared, engine


def open_recorded(
    first: RunStarted,
    root: Path,
    console: Screen,
    stack: contextlib.ExitStack,
    wanted: _ModelFlags | None = None,
) -> Engine:
    """Opens the model and the server that a run began with.

    Raises:
        AgentFault: `wanted`, or what is there now, is another one.
    """
    from forklock.agent.log.source import recorded_source, require_same

    began = recorded_source(first)
    flags = wanted or _ModelFlags(None, None, None)
    named = _ModelFlags(
        flags.model or began.model, flags.engine or began.engine, flags.adapter or began.adapter
    )
    engine = _open_engine(_chosen_model(root, named), console, stack)
    require_same(first, engine)
    return engine


def _continue(
    run: str, state: RepoState, wanted: _ModelFlags, console: Screen, stack: contextlib.ExitStack
) -> tuple[Prepared, Engine]:
    """Continues a run that was interrupted or killed, with the model and the server that it began with."""
    from forklock.agent.log.runs import find, require_own
    from forklock.agent.session import reopen

    log = find(state.root, run)
    first = require_own(log, state.root)
    hold(log, stack)
    engine = open_recorded(first, state.root, console, stack, wanted)
    prepared = reopen(log, state)
    stack.callback(log.close)
    engine.fit(prepared.options.decoding)
    return prepared, engine


def _execute(prepared: Prepared, engine: Engine, console: Screen, *, bell: bool, stream: bool) -> str:
    from forklock.agent.log.view import LiveView
    from forklock.agent.session import execute

    view = LiveView(console, prepared.log, bell=bell)
    prepared.log.listen(view.on_event)
    if stream:
        _stream(prepared.log)
    console.print(f"run       {prepared.log.folder.name}")
    try:
        with view:
            return execute(prepared, engine, on_tokens=view.on_tokens).outcome.value
    except KeyboardInterrupt:
        console.print(
            f"\ninterrupted; nothing is lost. Continue with  agent solve --repo {prepared.task.repo} "
            f"--resume {prepared.log.folder.name}"
        )
        raise


def _finish(log: RunLog, console: Screen, *, in_place: bool, root: Path, json_output: bool) -> None:
    from forklock.agent.log.runs import require_tested
    from forklock.agent.log.view import print_end, summary

    end = end_of(log)
    assert end is not None
    print_end(console, log, end, in_place=in_place)
    if in_place:
        require_tested(log, end)
        apply_end(log, end, root, console)
    if json_output:
        say_json(
            {"run_id": log.folder.name, **summary(log.read().events, log.text), "diff": log.text(end.diff)}
        )
