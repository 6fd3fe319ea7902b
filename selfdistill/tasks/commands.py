"""The command `selfdistill tasks`: `[make] REPO`, `list`, `show`, `export`.

In: flags. Out: tables on stdout, progress on stderr. A first word that is no command is a repository.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from forklock.sandbox.commands.console import say, say_json, screen

if TYPE_CHECKING:
    from forklock.selfdistill.tasks.contract import Ground, RepairTask, Tally
    from forklock.selfdistill.tasks.store import TaskStore

Repo = Annotated[Path, typer.Option("--repo", help="The repository that the tasks were made of.")]
SplitOption = Annotated[
    str | None, typer.Option("--split", help="practice, development or test; all without it.")
]


class _MakeIsDefault(TyperGroup):
    """`selfdistill tasks REPO` means `selfdistill tasks make REPO`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("--help", "-h")):
            args = ["make", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_MakeIsDefault, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Repair tasks from your own repository: `tasks REPO` makes them; list, show and export read them.",
)  # fmt: skip


@app.command()
def make(
    repo: Annotated[Path, typer.Argument(metavar="REPO", help="The repository; a folder in it.")] = Path(),
    kinds: Annotated[
        str,
        typer.Option(help="history, removal, failures, mutation, pairs, joined by commas; all without it."),
    ] = "",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Tasks at most, those that are there included.")
    ] = None,
    test: Annotated[
        str, typer.Option(help="Command of the whole suite; found by itself where it is usual.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Another seed draws other splits and slips.")] = 0,
    allow_dirty: Annotated[bool, typer.Option(help="Take uncommitted changes along.")] = False,
    sandbox: Annotated[
        str, typer.Option(help="auto, docker, bubblewrap or host (isolates nothing).")
    ] = "auto",
) -> None:
    """Make repair tasks with tests, and prove each in the sandbox.

    Give the same command again to go on after an interruption; nothing is done twice. The repository is not changed.
    """
    import os

    from forklock.agent.repo import inspect_repo
    from forklock.agent.session import suggested_command
    from forklock.sandbox.commands.options import check_sandbox
    from forklock.sandbox.terminal.progress import Progress
    from forklock.selfdistill.tasks.contract import TaskFault
    from forklock.selfdistill.tasks.kinds.known import chosen_kinds
    from forklock.selfdistill.tasks.making import Wish
    from forklock.selfdistill.tasks.making import make as make_tasks
    from forklock.selfdistill.tasks.store import TaskStore

    chosen = chosen_kinds(kinds)
    root = inspect_repo(repo).root
    cwd = repo.resolve().relative_to(root.resolve()).as_posix()
    found, cwd = (test, cwd) if test.strip() else suggested_command(root, cwd)
    if not found:
        raise TaskFault(
            f"no test command was found in {root}", fix="name the suite: --test 'python -m pytest -q'"
        )
    wish = Wish(found, cwd, limit, seed, check_sandbox(sandbox), allow_dirty=allow_dirty)
    os.nice(10)  # the user works on this machine
    store, show = TaskStore.of(root), Progress()
    try:
        tally = make_tasks(store, chosen, wish, show)
    except KeyboardInterrupt:
        show.say("interrupted; nothing is lost: the same command goes on")
        raise
    ground = store.current()
    assert ground is not None
    _print_ground(store, ground)
    _print_tally(tally)


@app.command("list")
def list_tasks(
    repo: Repo = Path(),
    split: SplitOption = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """List the tasks of the repository's last state, and what was tried."""
    from forklock.selfdistill.tasks.making import tally_of

    store, ground, tasks = _tasks(repo, split)
    if json_output:
        say_json([task.model_dump(mode="json", exclude={"bug", "fix", "pass_to_pass"}) for task in tasks])
        return
    for task in tasks:
        what = f"{len(task.fail_to_pass):3} failing  {', '.join(task.places)}  ({task.source})"
        say(f"{task.task_id:24} {task.split:12} {what}")
    _print_ground(store, ground)
    _print_tally(tally_of([row for row in store.tried() if row.ground == ground.digest]))


@app.command()
def show(
    task_id: Annotated[str, typer.Argument(metavar="TASK", help="A task's id, or its beginning.")],
    repo: Repo = Path(),
    fix: Annotated[bool, typer.Option("--fix", help="Show the bug and its repair, too.")] = False,
) -> None:
    """Show a task: its statement, its check, and with --fix the repair."""
    from forklock.selfdistill.tasks.store import TaskStore

    task = TaskStore.of(repo).task(task_id)
    say(f"{task.task_id}  ({task.kind}, {task.split}; {task.source})")
    say(f"check   {task.command}" + (f"  (in {task.cwd}/)" if task.cwd != "." else ""))
    say(
        f"fails   {', '.join(task.fail_to_pass[:5])}"
        + (f" and {len(task.fail_to_pass) - 5} more" if len(task.fail_to_pass) > 5 else "")
    )
    say("\n" + task.statement)
    if fix:
        say("\n" + task.fix)


@app.command()
def export(
    to: Annotated[Path, typer.Option("--to", help="Folder to write; made if it is not there.")],
    task_id: Annotated[
        str,
        typer.Argument(
            metavar="[TASK]", help="One task, as a repository to work on; all as records without it."
        ),
    ] = "",
    repo: Repo = Path(),
    split: SplitOption = None,
) -> None:
    """Write tasks as SWE-bench records for `evals run repo`, or one task's broken code for `agent solve`."""
    import shlex

    from forklock.selfdistill.tasks.export import export_one, export_records
    from forklock.selfdistill.tasks.judge import open_judge

    store, ground, tasks = _tasks(repo, split)
    if task_id:
        task = store.task(task_id)
        with open_judge(store.root, task.ground) as judge:
            words = export_one(task, judge.base, to.resolve())
        say(f"{task.task_id} is in {to}. Solve it with:\n{shlex.join(words)}")
        return
    with open_judge(store.root, ground.digest) as judge:
        out = export_records(tasks, judge.base, store.root.name, to.resolve())
    say(f"{len(tasks)} tasks are in {out}. Run an agent on them with:")
    say(shlex.join(["evals", "run", "repo", "--tasks", str(out), "--repos", str(out.parent / "repos")]))


def _tasks(repo: Path, split: str | None) -> tuple[TaskStore, Ground, list[RepairTask]]:
    from forklock.selfdistill.tasks.contract import SPLITS, TaskFault
    from forklock.selfdistill.tasks.store import TaskStore

    if split is not None and split not in SPLITS:
        raise TaskFault(f"there is no split {split!r}", fix=f"take one of {', '.join(SPLITS)}")
    store = TaskStore.of(repo)
    ground = store.current()
    if ground is None:
        raise TaskFault(
            f"no tasks were made of {store.root}", fix=f"make some: `selfdistill tasks {store.root}`"
        )
    return store, ground, [task for task in store.tasks(ground) if split in (None, task.split)]


def _print_ground(store: TaskStore, ground: Ground) -> None:
    from collections import Counter
    from datetime import UTC, datetime

    tasks = store.tasks(ground)
    counts = Counter(task.split for task in tasks)
    splits = ", ".join(f"{counts[name]} {name}" for name in ("practice", "development", "test"))
    say(f"{len(tasks)} tasks ({splits}) on {ground.commit[:12]} of {store.root}")
    say(
        f"suite: {len(ground.tests)} tests, {len(ground.excluded)} excluded"
        + (":" if ground.excluded else "")
    )
    for test, reason in list(ground.excluded.items())[:10]:
        say(f"  {test}: {reason}")
    if ground.cutoff is not None:
        day = datetime.fromtimestamp(ground.cutoff, UTC).date()
        say(f"repairs since {day} are in the test split alone")


def _print_tally(tally: Tally) -> None:
    from rich.table import Table

    table = Table("kind", "tried", "tasks", "seconds each", box=None, pad_edge=False)
    for kind, seconds in sorted(tally.seconds.items()):
        table.add_row(
            kind, str(len(seconds)), str(tally.valid.get(kind, 0)), f"{sum(seconds) / len(seconds):.1f}"
        )
    screen().print(table)
    reasons = sorted(tally.rejected.items(), key=lambda pair: -pair[1])
    if reasons:
        say("rejected: " + ", ".join(f"{count} {reason}" for reason, count in reasons))
