"""The `agent` command. Thin: reads flags, calls the room, prints, and turns faults into exit codes.

Exit codes: 0 solved or done, 1 not solved, 2 bad input, 3 sandbox, model, or tool trouble, 130 interrupted.
Heavy imports happen inside the commands: `agent --help` must be instant.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Optional

import typer

from models.console import run_app
from sandbox.terminal import say_json, say_verbatim

if TYPE_CHECKING:
    from agent.log.events import RunLog
    from agent.session import Prepared
    from models.settings import ModelSettings
    from sandbox.terminal.console import Screen

app = typer.Typer(
    name="agent",
    help="Make a local model solve tasks in your repositories, in a sandbox, with proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # drawn by Rich, a help text takes twice as long to come
)

"""How lines with words of the user's or the repository's are printed."""

RepoOption = Annotated[Path, typer.Option("--repo", help="The git repository to work on.")]


@app.command()
def solve(
    task: Annotated[
        str, typer.Argument(help="What is wrong, in words. A path that begins with @ is read.")
    ] = "",
    repo: RepoOption = Path(),
    test: Annotated[
        str, typer.Option(help="The check that fails now and must pass: `python -m pytest -q tests/x.py`.")
    ] = "",
    model: Annotated[
        str | None, typer.Option(help="Catalogue name, folder, provider id or server URL.")
    ] = None,
    engine: Annotated[Optional[str], typer.Option(help="auto, transformers, hosted or vllm.")] = None,  # noqa: UP045
    adapter: Annotated[Optional[str], typer.Option(help="current, none, a version or a folder.")] = None,  # noqa: UP045
    width: Annotated[Optional[int], typer.Option(help="Candidates sampled in each step.")] = None,  # noqa: UP045
    steps: Annotated[Optional[int], typer.Option(help="Steps at most.")] = None,  # noqa: UP045
    tokens: Annotated[Optional[int], typer.Option(help="Tokens at most, prompts included.")] = None,  # noqa: UP045
    seconds: Annotated[Optional[float], typer.Option(help="Seconds at most.")] = None,  # noqa: UP045
    temperature: Annotated[Optional[float], typer.Option(help="Higher: more varied candidates.")] = None,  # noqa: UP045
    top_k: Annotated[Optional[int], typer.Option(help="Only the likeliest K tokens; 0 keeps all.")] = None,  # noqa: UP045
    top_p: Annotated[Optional[float], typer.Option(help="Only the likeliest tokens of this share.")] = None,  # noqa: UP045
    seed: Annotated[Optional[int], typer.Option(help="Same seed, same machine: same candidates.")] = None,  # noqa: UP045
    protocol: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="auto (search-replace for hosted models, else symbol), symbol, file or search-replace."
        ),
    ] = None,
    sandbox: Annotated[
        str | None, typer.Option(help="auto, docker, bubblewrap or host (isolates nothing).")
    ] = None,
    regression: Annotated[
        str | None, typer.Option(help="Suite that must not get worse: a command, auto or none.")
    ] = None,
    diagnostics: Annotated[
        bool | None, typer.Option("--diagnostics/--no-diagnostics", help="Ask the language servers.")
    ] = None,
    unverified: Annotated[
        bool,
        typer.Option(
            "--unverified",
            help="No check fails now: --test must go on passing, and the change that most samples agree on is taken.",
        ),
    ] = False,
    allow_dirty: Annotated[bool, typer.Option(help="Work on uncommitted changes too.")] = False,
    in_place: Annotated[bool, typer.Option(help="Apply a solution to the tree at once.")] = False,
    resume: Annotated[
        str | None, typer.Option(help="Go on with an interrupted run: its id, or `last`.")
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end; progress goes to stderr.")
    ] = False,
) -> None:
    """Solve a task in a repository. Your tree is not touched.

    Finds the place, samples candidates, and lets the tools choose.
    """
    from agent.contract import WITH_CHANGE
    from agent.log.runs import require_own
    from agent.log.source import recorded_source, require_same, source_of
    from agent.log.view import check_in_words
    from agent.rehearsal import rehearse
    from agent.repo import inspect_repo
    from agent.session import find_run, prepare, reopen
    from agent.settings import AgentSettings
    from models.open import opens_at_once
    from sandbox.terminal import screen

    console = screen(stderr=json_output)
    state = inspect_repo(repo)
    flags = {
        "width": width, "steps": steps, "max_tokens_total": tokens, "seconds": seconds,
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed, "protocol": protocol,
        "sandbox": sandbox, "regression": regression, "diagnostics": diagnostics,
    }  # fmt: skip
    settings = AgentSettings.load(state.root, **flags)
    lock = None
    if resume is not None:
        log = find_run(state.root, resume)
        first = require_own(log, state.root)
        lock = _hold(log)
        began = recorded_source(first)
        model, adapter, engine = model or began.model, adapter or began.adapter, engine or began.engine
    else:
        task = _read_task(task)
        test, cwd = _require_test(test, state.root, _below(repo, state.root))
    rehearsal = None
    with contextlib.ExitStack() as stack:
        chosen = _chosen_model(state.root, model, engine, adapter)
        opened = _open_engine(chosen, console, stack) if opens_at_once(chosen.model, chosen.engine) else None
        if resume is None:  # before a model is loaded: most checks that cannot serve tell in a second
            console.print(f"check     running {test}" + ("" if cwd == "." else f"  (in {cwd}/)"))
            rehearsal = rehearse(
                task, state, test, settings, allow_dirty=allow_dirty, verified=not unverified, cwd=cwd
            )
            stack.callback(rehearsal.discard_unless_begun)
            console.print(f"check     {check_in_words(rehearsal.before)}")
        opened = opened or _open_engine(chosen, console, stack)
        if resume is not None:
            require_same(first, opened)
            prepared = reopen(log, state)
            opened.fit(prepared.options.decoding)
        else:
            decoding = _fitted_decoding(opened, settings, console)
            prepared = prepare(
                task, state, test, settings, opened.identity, allow_dirty=allow_dirty, preset=_preset(opened),
                verified=not unverified, rehearsal=rehearsal, decoding=decoding,
                source=source_of(chosen.model, chosen.engine, opened),
            )  # fmt: skip
            lock = _hold(prepared.log)
        try:
            outcome = _execute(prepared, opened, console)
        finally:
            prepared.log.close()
            if lock is not None:
                lock.release()
    _finish(prepared.log, console, in_place=in_place, root=state.root, json_output=json_output)
    raise typer.Exit(0 if outcome in WITH_CHANGE else 1)


def _read_task(task: str) -> str:
    from agent.contract import AgentFault

    if task.startswith("@"):
        try:
            task = Path(task[1:]).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise AgentFault(f"cannot read the task from {task[1:]}: {error}") from error
    if not task.strip():
        raise AgentFault("no task was given", fix='say what is wrong: agent solve "…" --test "…"')
    return task


def _below(folder: Path, root: Path) -> str:
    """Where the user stands, from the repository's top."""
    return folder.resolve().relative_to(root.resolve()).as_posix()


def _require_test(test: str, root: Path, cwd: str) -> tuple[str, str]:
    """The check and the folder that it runs in."""
    from agent.commands import suggested_command
    from agent.contract import AgentFault

    if test.strip():
        return test, cwd
    found, cwd = suggested_command(root, cwd)
    if found is None:
        raise AgentFault(
            "no check was given and none was found", fix="say how to tell success, with --test CMD"
        )
    return found, cwd


def _chosen_model(root: Path, model: str | None, engine: str | None, adapter: str | None) -> ModelSettings:
    """Which model, and that it is there: what can be said without loading it.

    Raises:
        ModelFault: no such model or engine, not pulled, or an extra is missing.
    """
    from models.open import require_there
    from models.settings import ModelSettings

    settings = ModelSettings.load(root, model=model, engine=engine, adapter=adapter)
    require_there(settings.model, settings.engine)
    return settings


def _open_engine(settings: ModelSettings, console: Screen, stack: contextlib.ExitStack) -> Any:
    from models import open_engine

    wanted = None if settings.adapter in (None, "none") else settings.adapter
    if not console.is_terminal:
        console.print(f"model     loading {settings.model}")
    with console.status(f"loading {settings.model}"):
        opened = stack.enter_context(
            open_engine(
                settings.model,
                engine=settings.engine,
                adapter=wanted,
                device=settings.torch_device,
                threads=settings.torch_threads,
            )
        )
    console.print(f"model     {opened.identity}  ({opened.identity.engine})")
    return opened


def _fitted_decoding(engine: Any, settings: Any, console: Screen) -> Any:
    """The settings' decoding as the engine takes it; says which defaults were left out.

    Raises:
        ModelFault: the engine cannot do what the user asked for.
    """
    from agent.session import wished_decoding

    asked = {key for key, origin in settings.origins().items() if origin.kind != "default"}
    fitted = engine.fit(wished_decoding(settings), asked=asked)
    for note in fitted.notes:
        console.print(f"note      {note}")
    return fitted.decoding


def _preset(engine: Any) -> str:
    return "strong" if engine.identity.engine == "hosted" else "weak"


def _hold(log: RunLog) -> Any:
    """A lock on the run's folder: two sittings of one run would interleave their events."""
    from filelock import FileLock, Timeout

    from agent.contract import AgentFault

    lock = FileLock(log.folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise AgentFault(f"run {log.folder.name} is being worked on by another process") from error
    return lock


def _execute(prepared: Prepared, engine: Any, console: Screen) -> str:
    from agent.log.view import LiveView
    from agent.session import execute

    view = LiveView(console, prepared.log)
    prepared.log.listen(view.on_event)
    console.print(f"run       {prepared.log.folder.name}")
    try:
        with view:
            return execute(prepared, engine, on_tokens=view.on_tokens).outcome.value
    except KeyboardInterrupt:
        console.print(
            f"\ninterrupted; nothing is lost. Go on with  agent solve --repo {prepared.task.repo} "
            f"--resume {prepared.log.folder.name}"
        )
        raise


def _finish(log: RunLog, console: Screen, *, in_place: bool, root: Path, json_output: bool) -> None:
    from agent.contract import WITH_CHANGE
    from agent.log.events import RunEnded
    from agent.log.runs import require_tested
    from agent.log.view import print_end, summary

    events = log.read().events
    end = next(event for event in reversed(events) if isinstance(event, RunEnded))
    print_end(console, log, end, in_place=in_place)
    if in_place and end.outcome in WITH_CHANGE:
        require_tested(log, end)
        _apply(log, root, console)
    if json_output:
        whole = {"run_id": log.folder.name, **summary(events), "diff": log.text(end.diff)}
        say_json(whole)


@app.command()
def runs(
    repo: RepoOption = Path(),
    adopt: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="Copy runs in from a folder, such as the `.forklock` of an earlier version, to look at."
        ),
    ] = None,
) -> None:
    """List the runs of a repository, newest first."""
    from rich.table import Table

    from agent.log import runs as stored
    from agent.log.view import run_row
    from agent.repo import inspect_repo
    from sandbox.terminal import screen

    root = inspect_repo(repo).root
    console = screen()
    if adopt is not None:
        ids = stored.adopt(root, adopt)
        console.print(
            f"adopted {len(ids)} runs, to be looked at and practised on: {', '.join(ids) or 'all were here'}"
        )
    table = Table("run", "outcome", "steps", "seconds", "tokens", "task")
    for log in stored.iter_runs(root):
        table.add_row(*run_row(log, cut=console.is_terminal))
    console.print(table if table.row_count else "no runs yet; start one with `agent solve`")
    if adopt is None and (left := stored.left_in_repo(root)):
        console.print(
            f"{left} runs lie in {root / '.forklock'}, which is not read; `agent runs --adopt` copies them in"
        )


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="Id of the run, its beginning, or `last`.")] = "last",
    repo: RepoOption = Path(),
    diff: Annotated[bool, typer.Option(help="Print the diff alone, for piping.")] = False,
    candidate: Annotated[
        str | None, typer.Option(help="One candidate, as STEP.INDEX: its answer, diff and ruling.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Show what a run did: where candidates fell, why, and the diff."""
    from agent.log.events import RunEnded
    from agent.log.view import candidate_story, print_end, story, summary
    from agent.session import find_run
    from sandbox.terminal import screen

    log = find_run(repo, run)
    read = log.read()
    end = next((event for event in read.events if isinstance(event, RunEnded)), None)
    if diff:
        say_verbatim(log.text(end.diff) if end else "")
        return
    if json_output:
        say_json({"run_id": log.folder.name, **summary(read.events)})
        return
    console = screen()
    if candidate is not None:
        console.print(candidate_story(log, read.events, candidate))
        return
    console.print(story(log, read.events, whole=not console.is_terminal))
    if read.torn:
        console.print("the last line of the log was torn and is dropped", style="yellow")
    if end is not None:
        print_end(console, log, end)
    else:
        console.print(f"unfinished: go on with  agent solve --resume {log.folder.name}", style="yellow")


@app.command()
def apply(
    run: Annotated[str, typer.Argument(help="Id of the run, its beginning, or `last`.")] = "last",
    repo: RepoOption = Path(),
    force: Annotated[
        bool, typer.Option(help="Apply the diff of a run that did not solve its task, or was adopted.")
    ] = False,
) -> None:
    """Apply a run's diff to your tree, all or nothing."""
    from agent.contract import WITH_CHANGE, AgentFault
    from agent.log.events import RunEnded
    from agent.log.runs import require_own, require_tested
    from agent.repo import inspect_repo
    from agent.session import find_run
    from sandbox.terminal import screen

    root = inspect_repo(repo).root
    log = find_run(root, run)
    if not (force and log.adopted):
        require_own(log, root)
    end = next((event for event in log.read().events if isinstance(event, RunEnded)), None)
    if end is None:
        raise AgentFault(
            f"run {log.folder.name} has not ended", fix=f"agent solve --resume {log.folder.name}"
        )
    if end.outcome not in WITH_CHANGE and not force:
        raise AgentFault(
            f"run {log.folder.name} ended {end.outcome}: its diff is no solution",
            fix="look at it with `agent show --diff`, and apply it with --force if you want it all the same",
        )
    if not force:
        require_tested(log, end)
    _apply(log, root, screen())


def _apply(log: RunLog, root: Path, console: Screen) -> None:
    from agent.contract import AgentFault
    from agent.log.events import DiffApplied, RunEnded
    from agent.repo import apply_diff

    end = next(event for event in log.read().events if isinstance(event, RunEnded))
    diff = log.text(end.diff)
    if not diff:
        raise AgentFault(f"run {log.folder.name} changed nothing")
    apply_diff(root, diff, check_only=True)
    apply_diff(root, diff)
    log.open_for_append()
    log.append(DiffApplied(repo=str(root)))
    log.close()
    console.print(f"applied to {root}; see it with `git diff`")


@app.command()
def compare(
    run: Annotated[str, typer.Argument(help="Id of the run, its beginning, or `last`.")] = "last",
    repo: RepoOption = Path(),
    sandbox: Annotated[str | None, typer.Option(help="auto, docker, bubblewrap or host.")] = None,
) -> None:
    """Say what else a run's change changes: before and after answer the tests' inputs, and variants of them.

    Exit code 1 where the change is in doubt. Python with pytest only.
    """
    from agent.judging.evidence import compare_run
    from agent.repo import inspect_repo
    from agent.session import find_run
    from agent.settings import AgentSettings
    from sandbox.terminal import screen

    root = inspect_repo(repo).root
    settings = AgentSettings.load(root, sandbox=sandbox)
    console = screen()
    with console.status("asking both versions of the code"):
        found = compare_run(find_run(root, run), root, settings.sandbox)
    console.print(f"{'no doubt found' if found.sure else 'in doubt'}: {found.why}")
    if found.question:
        console.print(f"look at     {found.question}")
    if not found.sure:
        raise typer.Exit(1)


@app.command()
def mcp(
    repo: RepoOption = Path(),
    sandbox: Annotated[
        str | None, typer.Option(help="auto, docker, bubblewrap or host (isolates nothing).")
    ] = None,
    test: Annotated[
        str, typer.Option(help="The command of run_tests; default: the repository's own suite.")
    ] = "",
    read_only: Annotated[bool, typer.Option("--read-only", help="Offer no tool that changes files.")] = False,
    edit_tests: Annotated[bool, typer.Option("--edit-tests", help="Let test files be edited too.")] = False,
) -> None:
    """Serve a repository's tools to another harness, over MCP.

    No model is involved. Speaks over standard input and output.
    """
    from agent.contract import AgentFault
    from agent.repo import inspect_repo
    from agent.settings import AgentSettings

    root = inspect_repo(repo).root
    settings = AgentSettings.load(root, sandbox=sandbox)
    try:
        from agent.mcp.server import serve
    except ImportError as error:
        raise AgentFault(
            f"the MCP SDK is missing or too old ({error})", fix="pip install 'forklock[mcp]'"
        ) from error
    from agent.mcp.workbench import ServeOptions

    options = ServeOptions(
        settings.sandbox,
        test.strip() or None,
        settings.test_timeout_s,
        read_only,
        edit_tests,
        _below(repo, root),
    )
    serve(root, options)


@app.command()
def config(repo: RepoOption = Path()) -> None:
    """Print the effective settings and where each of them comes from."""
    from rich.table import Column, Table

    from agent.settings import AgentSettings
    from models.settings import ModelSettings
    from sandbox.terminal import screen

    start = repo.resolve()
    table = Table("setting", Column("value", overflow="fold"), Column("from", overflow="fold"))
    for settings in (ModelSettings.load(start), AgentSettings.load(start)):
        for key, origin in settings.origins().items():
            table.add_row(f"{settings.section}.{key}", str(getattr(settings, key)), str(origin))
    screen().print(table)


def _mount() -> None:
    """Sub-commands that other rooms own."""
    from models.cli import app as models_app
    from models.cli import engines_app
    from sandbox.cli import app as sandbox_app

    app.add_typer(models_app, name="models", help="List, pull and remove models.")
    app.add_typer(engines_app, name="engines", help="Install and remove serving engines.")
    app.add_typer(sandbox_app, name="sandbox", help="See which sandboxes work here; build the image.")


def main() -> NoReturn:
    """Entry point of the console script."""
    _mount()
    run_app(app)


if __name__ == "__main__":
    main()
