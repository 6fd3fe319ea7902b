"""The `agent` command. Thin: reads flags, calls the room, prints, and turns faults into exit codes.

Exit codes: 0 solved or done, 1 not solved, 2 bad input, 3 sandbox, model, or tool trouble, 130 interrupted.
Heavy imports happen inside the commands: `agent --help` must be instant.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Optional

import typer

from models.console import run_app
from sandbox.terminal import say_json, say_verbatim

if TYPE_CHECKING:
    from agent.log.events import RunLog
    from agent.session import Prepared
    from sandbox.screen import Screen

app = typer.Typer(
    name="agent",
    help="Make a local model solve tasks in your repositories, in a sandbox, with proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # drawn by Rich, a help text takes twice as long to come
)

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
    temperature: Annotated[Optional[float], typer.Option()] = None,  # noqa: UP045
    top_k: Annotated[Optional[int], typer.Option()] = None,  # noqa: UP045
    top_p: Annotated[Optional[float], typer.Option()] = None,  # noqa: UP045
    seed: Annotated[Optional[int], typer.Option(help="Same seed, same machine: same candidates.")] = None,  # noqa: UP045
    protocol: Annotated[Optional[str], typer.Option(help="auto, symbol, file or search-replace.")] = None,  # noqa: UP045
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
    from agent.repo import inspect_repo
    from agent.session import find_run, prepare, reopen
    from agent.settings import AgentSettings
    from sandbox.terminal import screen

    console = screen(stderr=json_output)
    state = inspect_repo(repo)
    flags = {
        "width": width, "steps": steps, "max_tokens_total": tokens, "seconds": seconds,
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed, "protocol": protocol,
        "sandbox": sandbox, "regression": regression, "diagnostics": diagnostics,
    }  # fmt: skip
    settings = AgentSettings.load(state.root, **flags)
    _refuse_from_file(settings, "sandbox", settings.sandbox == "host", "isolates nothing")
    lock = None
    if resume is not None:
        log = find_run(state.root, resume)
        lock = _hold(log)
        model, adapter, engine = _recorded_model(log, model, adapter, engine)
    else:
        task = _read_task(task)
        test = _require_test(test, state.root)
    with _open_engine(state.root, model, engine, adapter, console) as opened:
        if resume is not None:
            prepared = reopen(log, state)
        else:
            prepared = prepare(
                task, state, test, settings, opened.identity, allow_dirty=allow_dirty, preset=_preset(opened),
                verified=not unverified,
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
        except (OSError, UnicodeDecodeError) as error:
            raise AgentFault(f"cannot read the task from {task[1:]}: {error}") from error
    if not task.strip():
        raise AgentFault("no task was given", fix='say what is wrong: agent solve "…" --test "…"')
    return task


def _require_test(test: str, root: Path) -> str:
    from agent.contract import AgentFault
    from tools.testing.run import detect_test_command

    if test.strip():
        return test
    found = detect_test_command(root)
    if found is None:
        raise AgentFault(
            "no check was given and none was found", fix="say how to tell success, with --test CMD"
        )
    return found


def _recorded_model(
    log: RunLog, model: str | None, adapter: str | None, engine: str | None
) -> tuple[str, str, str]:
    """The model that a run began with, unless the user names another."""
    from agent.log.events import RunStarted
    from models.contract import ModelIdentity

    first = log.read().events[0]
    assert isinstance(first, RunStarted)
    identity = ModelIdentity.model_validate_json(first.model)
    version = identity.adapter.rsplit("/", 1)[-1] if identity.adapter else "none"
    return model or identity.name, adapter or version, engine or identity.engine


def _open_engine(
    root: Path, model: str | None, engine: str | None, adapter: str | None, console: Screen
) -> Any:
    from models import open_engine
    from models.open import is_local
    from models.settings import ModelSettings

    settings = ModelSettings.load(root, model=model, engine=engine, adapter=adapter)
    _refuse_from_file(
        settings, "model", not is_local(settings.model), "sends this repository's code elsewhere"
    )
    wanted = None if settings.adapter in (None, "none") else settings.adapter
    with console.status(f"loading {settings.model}"):
        opened = open_engine(settings.model, engine=settings.engine, adapter=wanted)
    console.print(f"model     {opened.identity}  ({opened.identity.engine})")
    return opened


def _refuse_from_file(settings: Any, key: str, risky: bool, why: str) -> None:
    """A repository's own settings file is hostile input: it may not choose what needs the user's word.

    Raises:
        AgentFault: the risky value came from a file.
    """
    from agent.contract import AgentFault

    origin = settings.origins()[key]
    if risky and origin.kind == "file":
        value = getattr(settings, key)
        raise AgentFault(
            f"{origin.where} asks for {key} {value!r}, which {why}",
            fix=f"say so yourself if you want it: --{key} {value}",
        )


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
            f"--resume {prepared.log.folder.name}",
            highlight=False,
        )
        raise


def _finish(log: RunLog, console: Screen, *, in_place: bool, root: Path, json_output: bool) -> None:
    from agent.contract import WITH_CHANGE
    from agent.log.events import RunEnded
    from agent.log.view import print_end, summary

    events = log.read().events
    end = next(event for event in reversed(events) if isinstance(event, RunEnded))
    print_end(console, log, end)
    if in_place and end.outcome in WITH_CHANGE:
        _apply(log, root, console)
    if json_output:
        whole = {"run_id": log.folder.name, **summary(events), "diff": log.text(end.diff)}
        say_json(whole)


@app.command()
def runs(repo: RepoOption = Path()) -> None:
    """List the runs of a repository, newest first."""
    from rich.table import Table

    from agent.log.events import LogFault, RunStarted, iter_runs
    from agent.log.view import summary
    from agent.repo import inspect_repo
    from sandbox.terminal import screen

    console = screen()
    table = Table("run", "outcome", "steps", "seconds", "tokens", "task")
    for log in iter_runs(inspect_repo(repo).root):
        try:
            events = log.read().events
        except LogFault as fault:
            table.add_row(log.folder.name, "damaged", "", "", "", fault.message)
            continue
        facts = summary(events)
        first = events[0] if events else None
        task = log.text(first.task) if isinstance(first, RunStarted) else ""
        tokens = facts["tokens"]["prompt"] + facts["tokens"]["completion"]
        table.add_row(
            log.folder.name,
            facts["outcome"],
            str(facts["steps"]),
            str(facts["seconds"] or ""),
            str(tokens or ""),
            _first_line(task, cut=console.is_terminal),
        )
    console.print(table if table.row_count else "no runs yet; start one with `agent solve`")


def _first_line(text: str, *, cut: bool) -> str:
    line = text.strip().partition("\n")[0]
    return line[:60] if cut else line


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
    force: Annotated[bool, typer.Option(help="Apply the diff of a run that did not solve its task.")] = False,
) -> None:
    """Apply a run's diff to your tree, all or nothing."""
    from agent.contract import WITH_CHANGE, AgentFault
    from agent.log.events import RunEnded
    from agent.repo import inspect_repo
    from agent.session import find_run
    from sandbox.terminal import screen

    root = inspect_repo(repo).root
    log = find_run(root, run)
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
    _refuse_from_file(settings, "sandbox", settings.sandbox == "host", "isolates nothing")
    try:
        from agent.mcp.server import serve
    except ImportError as error:
        raise AgentFault(
            f"the MCP SDK is missing or too old ({error})", fix="pip install 'forklock[mcp]'"
        ) from error
    from agent.mcp.workbench import ServeOptions

    options = ServeOptions(
        settings.sandbox, test.strip() or None, settings.test_timeout_s, read_only, edit_tests
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
    from models.vllm.cli import app as engines_app
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
