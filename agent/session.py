"""Putting a run together: the copy of the repo, sandbox, language servers, engine and log; then its end.

The user's tree is read once, at the start. What a kill leaves behind is the log and the scratch copy;
`resume` picks both up.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter, ValidationError

from agent.commands import task_of
from agent.contract import AgentFault, Limits, Task
from agent.judging.baseline import baseline_event
from agent.judging.reports import report_to_json
from agent.log import runs
from agent.log.events import (
    Event,
    LogFault,
    ModelAnswered,
    ModelAsked,
    ModelSource,
    RunEnded,
    RunLog,
    RunResumed,
    RunStarted,
    StepEnded,
)
from agent.log.recorded import Recorded
from agent.loop import Options, Report, Run
from agent.repo import RepoState, copy_workspace, inspect_repo, require_clean
from agent.settings import AgentSettings
from models.contract import Decoding, Engine, ModelIdentity
from models.paths import cache_dir
from sandbox import Policy, Sandbox, open_sandbox
from sandbox.interpreters.policy import workspace_policy
from tools.contract import TestReport

if TYPE_CHECKING:
    from tools.lsp import Intel

_NOTES_CHARS = 2000


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is ready to start or to go on."""

    task: Task
    options: Options
    sandbox_name: str
    diagnostics: bool
    log: RunLog
    scratch: Path
    events: tuple[Event, ...]
    """What an earlier sitting logged; empty for a new run."""
    before: TestReport | None = None
    """What the check said in a rehearsal."""


@dataclass(slots=True)
class Rehearsal:
    """A copy of the repo whose check was run, and fails as it should (`agent.rehearsal`)."""

    run_id: str
    task: Task
    scratch: Path
    before: TestReport
    begun: bool = False

    def discard_unless_begun(self) -> None:
        """Remove the copy, if no run has begun with it."""
        if not self.begun:
            shutil.rmtree(self.scratch, ignore_errors=True)


def new_run_id() -> str:
    """Sorts by time; unique."""
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(3)


def prepare(
    statement: str,
    state: RepoState,
    test_command: str,
    settings: AgentSettings,
    model: ModelIdentity,
    *,
    allow_dirty: bool,
    preset: str,
    verified: bool = True,
    source: ModelSource | None = None,
    rehearsal: Rehearsal | None = None,
    cwd: str = ".",
    decoding: Decoding | None = None,
) -> Prepared:
    """Copy the repo and open the log of a new run, or begin with what was rehearsed.

    Args:
        decoding: as the engine takes it (`Engine.fit`); None takes that of the settings.

    Raises:
        AgentFault: dirty tree, unreadable repo.
        LogFault: the disk is full.
    """
    if not allow_dirty:
        require_clean(state)
    run_id = rehearsal.run_id if rehearsal else new_run_id()
    scratch = cache_dir() / "runs" / run_id
    with disk_faults(scratch):
        if rehearsal is None:
            copy_workspace(state.root, scratch / "base")
        log = runs.new_run(state.root, run_id)
        log.open_for_append()
    task = (
        rehearsal.task
        if rehearsal
        else task_of(statement, state.root, test_command, settings, scratch / "base", cwd)
    )
    options = replace(
        _options(settings, preset, _notes(scratch / "base")),
        verified=verified,
        decoding=decoding or wished_decoding(settings),
    )
    log.append(
        RunStarted(
            run_id=run_id,
            task=log.store(statement),
            repo=str(state.root.resolve()),
            base_commit=state.head,
            test_command=test_command,
            cwd=task.cwd,
            regression_command=task.regression_command,
            regression_cwd=task.regression_cwd,
            options=_options_json(options, settings),
            model=model.model_dump_json(),
            source=source,
        )
    )
    if rehearsal is not None:
        rehearsal.begun = True
        log.append(baseline_event(log, task.test_command, rehearsal.before, "task"))
    before = rehearsal.before if rehearsal else None
    return Prepared(task, options, settings.sandbox, settings.diagnostics, log, scratch, (), before)


def reopen(log: RunLog, state: RepoState) -> Prepared:
    """Pick up a run that was interrupted or killed.

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
    options, sandbox_name, diagnostics = _options_from_json(first.options, log)
    scratch = cache_dir() / "runs" / first.run_id
    _restore_base(first, state, scratch)
    torn = log.open_for_append()
    log.append(RunResumed(dropped=torn or read.torn))
    task = Task(
        log.text(first.task), state.root, first.test_command, first.regression_command, first.cwd, first.regression_cwd,
    )  # fmt: skip
    return Prepared(task, options, sandbox_name, diagnostics, log, scratch, read.events)


def _restore_base(first: RunStarted, state: RepoState, scratch: Path) -> None:
    """The pristine copy that the run began with; made again from the repo where the cache was cleaned."""
    if (scratch / "base").is_dir():
        return
    if first.base_commit is None or state.head != first.base_commit or state.changed:
        raise AgentFault(
            f"{state.root} is no longer at the commit that run {first.run_id} began with",
            fix=f"check out {(first.base_commit or '')[:12]} with a clean tree, then resume; or start anew",
        )
    with disk_faults(scratch):
        copy_workspace(state.root, scratch / "base")


def execute(
    prepared: Prepared,
    engine: Engine,
    *,
    on_tokens: Callable[[int], None] = lambda _n: None,
) -> Report:
    """Run to the end. On success or an honest failure the scratch copy is removed; a fault keeps it."""
    recorded = Recorded.of(prepared.events, prepared.log, engine.identity)
    if prepared.before is not None:
        recorded.baselines[("task", prepared.task.test_command)] = report_to_json(prepared.before)
    with (
        work_in(prepared.task, prepared.sandbox_name, prepared.scratch) as base,
        _intel(prepared, base) as intel,
    ):
        run = Run(
            prepared.task,
            prepared.options,
            engine,
            base,
            intel,
            prepared.log,
            recorded,
            seconds_before=elapsed(prepared.events),
            spent_before=spent(prepared.events),
            on_tokens=on_tokens,
        )
        report = run.solve()
    shutil.rmtree(prepared.scratch, ignore_errors=True)
    return report


@contextlib.contextmanager
def work_in(task: Task, name: str, scratch: Path) -> Iterator[Sandbox]:
    """A fork to work in: the copy itself stays as it was, for resume."""
    policy = workspace_policy(task.repo, Policy(), cwd=task.cwd)
    backend: Any = name
    with (
        open_sandbox(scratch / "base", policy, backend=backend, shown_at=task.repo) as pristine,
        pristine.fork() as work,
    ):
        yield work


@contextlib.contextmanager
def _intel(prepared: Prepared, base: Sandbox) -> Iterator[Intel | None]:
    if not prepared.diagnostics:
        yield None
        return
    from tools.lsp import open_intel
    from tools.lsp.servers.programs import find_python
    from tools.lsp.servers.table import DEFAULT, servers_for

    python = find_python(prepared.task.repo)
    with open_intel(base.root, servers=servers_for(base.root), warm=DEFAULT, python=python) as intel:
        yield intel


# -- accounts of earlier sittings -----------------------------------------------------------------------


def elapsed(events: tuple[Event, ...]) -> float:
    """Seconds that earlier sittings worked: the gaps before a resume do not count."""
    total = 0.0
    for before, after in itertools.pairwise(events):
        if not isinstance(after, RunResumed):
            total += max(0.0, after.at - before.at)
    return total


def spent(events: tuple[Event, ...]) -> tuple[int, int]:
    """Prompt and completion tokens that the log holds."""
    prompt = sum(event.prompt_tokens for event in events if isinstance(event, ModelAsked))
    completion = sum(event.completion_tokens for event in events if isinstance(event, ModelAnswered))
    return prompt, completion + sum(e.discarded_tokens for e in events if isinstance(e, StepEnded))


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What of a run's options is not the loop's."""

    sandbox: Literal["auto", "docker", "bubblewrap", "host"]
    diagnostics: bool


# -- options ------------------------------------------------------------------------------------------


def wished_decoding(settings: AgentSettings) -> Decoding:
    """How tokens are chosen by the settings, whatever the engine can do."""
    return Decoding(
        temperature=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
        max_tokens=settings.max_tokens,
        seed=settings.seed,
    )


def _options(settings: AgentSettings, preset: str, notes: str) -> Options:
    protocol = settings.protocol
    if protocol == "auto":
        protocol = "search-replace" if preset == "strong" else "symbol"
    return Options(
        width=settings.width,
        limits=Limits(
            steps=settings.steps,
            tokens=settings.max_tokens_total,
            seconds=settings.seconds,
            cost_usd=settings.cost_usd,
        ),
        decoding=wished_decoding(settings),
        protocol=protocol,
        styles=settings.styles if preset == "weak" else ("repair",),
        prompt_tokens=settings.prompt_tokens,
        test_timeout_s=settings.test_timeout_s,
        notes=notes,
    )


def _options_json(options: Options, settings: AgentSettings) -> dict[str, Any]:
    return {
        "width": options.width,
        "limits": options.limits.model_dump(),
        "decoding": options.decoding.model_dump(mode="json"),
        "protocol": options.protocol,
        "styles": options.styles,
        "prompt_tokens": options.prompt_tokens,
        "test_timeout_s": options.test_timeout_s,
        "notes": options.notes,
        "verified": options.verified,
        "sandbox": settings.sandbox,
        "diagnostics": settings.diagnostics,
    }


def _options_from_json(raw: dict[str, Any], log: RunLog) -> tuple[Options, str, bool]:
    """
    Raises:
        LogFault: the log holds no options that this version understands.
    """
    known = {field.name for field in fields(Options)}
    try:
        options = TypeAdapter(Options).validate_python({key: raw[key] for key in raw if key in known})
        rest = TypeAdapter(_Surroundings).validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise LogFault(
            f"{log.path} holds no options that can be resumed ({where}: {first['msg']})",
            fix="start a new run with `agent solve`",
        ) from error
    return options, rest.sandbox, rest.diagnostics


def _notes(root: Path) -> str:
    path = root / "AGENTS.md"
    if path.is_symlink() or not path.is_file():
        return ""
    return path.read_text(encoding="utf-8", errors="replace")[:_NOTES_CHARS]


@contextlib.contextmanager
def disk_faults(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AgentFault(
            f"cannot write the run's files near {error.filename or folder}: {error.strerror}",
            fix="free some disk space, or put caches elsewhere with FORKLOCK_HOME",
        ) from error


def find_run(repo: Path, run_id: str) -> RunLog:
    """The log of a run, by id, unambiguous beginning of an id, or `last`.

    Raises:
        AgentFault: no such run, or several.
    """
    return runs.find(inspect_repo(repo).root, run_id)
