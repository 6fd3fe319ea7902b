"""A run that is ready to start or to go on: its copy of the repository, its options and its open log.

The user's tree is read once, at the start. A kill leaves the log and the copy behind; `reopen` picks both up.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from forklock.agent.contract import AgentFault, Task
from forklock.agent.driving.new_project import with_first_files
from forklock.agent.judging.baseline import baseline_event
from forklock.agent.log import Event, ModelSource, RunEnded, RunLog, RunResumed, RunStarted, runs
from forklock.agent.loop import Options
from forklock.agent.repo import RepoState, require_clean
from forklock.agent.session.assignment import Assignment
from forklock.agent.session.copies import disk_faults, make_copy, new_run_id, scratch_of
from forklock.agent.session.options import TestsMode, options_from_json, options_json, options_of
from forklock.agent.session.rehearsal import Rehearsal
from forklock.models.contract import Decoding, ModelIdentity
from forklock.sandbox import BackendName
from forklock.tools.contract import TestReport

_NOTES_CHARS = 2000
"""Characters of `AGENTS.md` that are read."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is ready to start or to go on."""

    task: Task
    options: Options
    sandbox: BackendName
    diagnostics: bool
    log: RunLog
    scratch: Path
    events: tuple[Event, ...]
    """What an earlier sitting logged; empty for a new run."""
    before: TestReport | None = None
    """The check's report in the rehearsal."""
    tests: TestsMode = field(default_factory=TestsMode)


def prepare(
    assignment: Assignment,
    model: ModelIdentity,
    *,
    preset: str,
    source: ModelSource | None = None,
    rehearsal: Rehearsal | None = None,
    decoding: Decoding | None = None,
) -> Prepared:
    """Opens the log of a new run on the rehearsed copy, or on a new one.

    Args:
        preset: `weak` or `strong` (`forklock.agent.session.options`).
        decoding: as the engine takes it (`Engine.fit`); None takes that of the settings.

    Raises:
        AgentFault: dirty tree, unreadable repo.
        LogFault: the disk is full.
    """
    state, settings = assignment.state, assignment.settings
    if not assignment.allow_dirty:
        require_clean(state)
    run_id = rehearsal.run_id if rehearsal else new_run_id()
    scratch = scratch_of(run_id)
    if rehearsal is None:
        make_copy(state.root, scratch)
    with disk_faults(scratch):
        log = runs.new_run(state.root, run_id)
        log.open_for_append()
    task = (
        rehearsal.task
        if rehearsal
        else with_first_files(assignment.task(scratch / "base"), scratch / "base", settings.sandbox)
    )
    tests = TestsMode(
        rehearsal.writes_tests if rehearsal else assignment.write_test != "never",
        assignment.write_test == "only",
        assignment.keep_test,
    )
    options = replace(
        options_of(settings, preset, notes_of(scratch / "base"), model.name), verified=assignment.verified
    )
    if decoding is not None:
        options = replace(options, decoding=decoding)
    log.append(
        RunStarted(
            run_id=run_id,
            task=log.store(assignment.statement),
            repo=str(state.root.resolve()),
            base_commit=state.head,
            test_command=assignment.test_command,
            cwd=task.cwd,
            regression_command=task.regression_command,
            regression_cwd=task.regression_cwd,
            options=options_json(options, settings, tests),
            model=model.model_dump_json(),
            source=source,
        )
    )
    if rehearsal is not None:
        rehearsal.begun = True
    before = rehearsal.before if rehearsal else None
    if before is not None:
        role: Literal["task", "regression"] = "regression" if tests.written else "task"
        log.append(baseline_event(log, task.test_command, before, role))
    return Prepared(
        task, options, settings.sandbox, settings.diagnostics, log, scratch, (), before, tests
    )  # fmt: skip


def reopen(log: RunLog, state: RepoState) -> Prepared:
    """Picks up a run that was interrupted or killed.

    Raises:
        AgentFault: it was adopted or has ended, or its copy of the repo is gone and cannot be made again.
        LogFault: the log is damaged, or another run's.
    """
    first = runs.require_own(log, state.root)
    read = log.read()
    if any(isinstance(event, RunEnded) for event in read.events):
        raise AgentFault(
            f"run {log.folder.name} has ended", fix=f"see it with `agent show {log.folder.name}`"
        )
    options, rest = options_from_json(first.options, log)
    scratch = scratch_of(first.run_id)
    _restore_base(first, state, scratch)
    torn = log.open_for_append()
    log.append(RunResumed(dropped=torn or read.torn))
    task = Task(
        log.text(first.task), state.root, first.test_command, first.regression_command, first.cwd, first.regression_cwd,
    )  # fmt: skip
    task = with_first_files(task, scratch / "base", rest.sandbox)
    return Prepared(
        task, options, rest.sandbox, rest.diagnostics, log, scratch, read.events, None, rest.tests
    )


def _restore_base(first: RunStarted, state: RepoState, scratch: Path) -> None:
    """Makes the copy that the run began with again, where the cache was cleaned."""
    if (scratch / "base").is_dir():
        return
    if first.base_commit is None or state.head != first.base_commit or state.changed:
        raise AgentFault(
            f"{state.root} is no longer at the commit that run {first.run_id} began with",
            fix=f"check out {(first.base_commit or '')[:12]} with a clean tree, then resume; or start anew",
        )
    make_copy(state.root, scratch)


def notes_of(root: Path) -> str:
    """What the repository says to agents (`AGENTS.md`), cut to the size of a prompt's part."""
    path = root / "AGENTS.md"
    if path.is_symlink() or not path.is_file():
        return ""
    return path.read_text(encoding="utf-8", errors="replace")[:_NOTES_CHARS]
