"""`agent show` and `agent runs`: what runs did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forklock.agent.commands.options import RepoOption, RunArgument, end_of
from forklock.sandbox.terminal import say_json, say_verbatim

if TYPE_CHECKING:
    from forklock.agent.log import RunLog


def show(
    run: RunArgument = "last",
    page: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="With --html: the file to write.", show_default=False),
    ] = None,
    repo: RepoOption = Path(),
    diff: Annotated[
        bool,
        typer.Option("--diff", help="Print the diff alone, for `git apply`; with --candidate, that one's."),
    ] = False,
    candidate: Annotated[
        str | None, typer.Option(help="One candidate, as STEP.INDEX: its prompt, answer, diff and result.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    html: Annotated[
        bool,
        typer.Option(
            "--html", help="Write one page with all of it: to FILE, to a pipe, or beside the run's log."
        ),
    ] = False,
) -> None:
    """Show what a run did: its diff, and why candidates failed.

    `agent show last --html page.html` makes a page with prompts, answers and all diffs.
    """
    from forklock.agent.log.candidates import candidate_named
    from forklock.agent.log.runs import find
    from forklock.agent.log.view import print_candidate, print_end, story, summary
    from forklock.agent.repo import inspect_repo
    from forklock.sandbox.terminal import screen

    if html and page is None and run.endswith(".html"):
        run, page = "last", Path(run)
    log = find(inspect_repo(repo).root, run)
    if html:
        _write_page(log, page)
        return
    read, end = log.read(), end_of(log)
    chosen = None if candidate is None else candidate_named(read.events, log.folder.name, candidate)
    if diff:
        if chosen is not None:
            say_verbatim(log.text(chosen.ruled.diff) if chosen.ruled else "")
        else:
            say_verbatim(log.text(end.diff) if end else "")
        return
    if json_output:
        say_json({"run_id": log.folder.name, **summary(read.events, log.text)})
        return
    console = screen()
    if chosen is not None:
        print_candidate(console, log, chosen)
        return
    console.print(story(log, read.events, whole=not console.is_terminal, width=console.width))
    if read.torn:
        console.print("the last line of the log was torn and is dropped", style="yellow")
    if end is not None:
        print_end(console, log, end, is_shown=True)
    else:
        console.print(f"unfinished: continue with  agent solve --resume {log.folder.name}", style="yellow")


def _write_page(log: RunLog, page: Path | None) -> None:
    """Writes a run's page.

    Raises:
        AgentFault: the file cannot be written.
    """
    from forklock.agent.contract import AgentFault
    from forklock.agent.pages.run_page import render_run
    from forklock.sandbox.files.atomic import write_atomic
    from forklock.sandbox.terminal import screen

    text, console = render_run(log), screen()
    if page is None and not console.is_terminal:
        say_verbatim(text)
        return
    target = page or log.folder / "page.html"
    try:
        write_atomic(target.absolute(), text.encode("utf-8", "replace"), durable=False)
    except OSError as error:
        raise AgentFault(
            f"cannot write {target}: {error.strerror}", fix="name another file: agent show RUN --html FILE"
        ) from error
    console.print(f"wrote {target}; open it in a browser")


def runs(
    repo: RepoOption = Path(),
    adopt: Annotated[
        Path | None,
        typer.Option(help="Copy runs in from a folder, such as the `.forklock` of an earlier version."),
    ] = None,
) -> None:
    """List a repository's runs, newest first."""
    from rich.table import Table

    from forklock.agent.log import runs as stored
    from forklock.agent.log.view import run_row
    from forklock.agent.repo import inspect_repo
    from forklock.sandbox.terminal import screen

    root = inspect_repo(repo).root
    console = screen()
    if adopt is not None:
        ids = stored.adopt(root, adopt)
        console.print(f"adopted {len(ids)} runs: {', '.join(ids) or 'all were here'}")
    table = Table("run", "outcome", "steps", "seconds", "tokens", "task")
    for log in stored.iter_runs(root):
        table.add_row(*run_row(log, cut=console.is_terminal))
    console.print(table if table.row_count else "no runs yet; start one with `agent solve`")
    if adopt is None and (left := stored.left_in_repo(root)):
        console.print(
            f"{left} runs lie in {root / '.forklock'}, which is not read; `agent runs --adopt` copies them in"
        )
