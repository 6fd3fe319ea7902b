"""`failures`: a wrong candidate from a past run of the agent in this repository, put in place of today's definition."""

from __future__ import annotations

from collections.abc import Iterator

from forklock.agent.contract import Hop
from forklock.agent.log import CandidateRuled, LogFault, RunLog, RunStarted
from forklock.agent.log.runs import iter_runs
from forklock.sandbox import SandboxFault
from forklock.sandbox.history import History, open_history
from forklock.selfdistill.tasks.contract import Bug
from forklock.selfdistill.tasks.kinds.kind import Kind, Work
from forklock.tools.edits.hunks import applied, hunks_of
from forklock.tools.languages.known import find_symbol, symbol_source

MOST_RUNS = 200
_WRONG = (Hop.TESTS.value, Hop.REGRESSION.value)


def propose(work: Work) -> Iterator[Bug]:
    """Yield each distinct definition that a run wrote and its tests refused, newest run first."""
    try:
        logs = list(iter_runs(work.root))[:MOST_RUNS]
        with open_history(work.root) as history:
            for log in logs:
                yield from _of_run(work, log, history)
    except (LogFault, SandboxFault):
        return


def _of_run(work: Work, log: RunLog, history: History) -> Iterator[Bug]:
    try:
        events = log.read().events
        started = next((event for event in events if isinstance(event, RunStarted)), None)
        wrong = [event for event in events if isinstance(event, CandidateRuled) and event.hop in _WRONG]
        diffs = [(event.place, log.text(event.diff), event.step, event.index) for event in wrong]
    except LogFault:
        return
    if started is None or started.base_commit is None:
        return
    for place, diff, step, index in diffs:
        text = _with_candidate(work, place, diff, started.base_commit, history)
        if text is not None:
            source = f"run {log.folder.name}, candidate {step}.{index}"
            yield Bug("failures", {place.partition(":")[0]: text}, (place,), source)


def _with_candidate(work: Work, place: str, diff: str, commit: str, history: History) -> str | None:
    """Return today's file with the definition as a candidate left it; None where that cannot be told."""
    path, _, name = place.partition(":")
    today = work.text(path)
    now = find_symbol(path, today, name) if today is not None and name else None
    if today is None or now is None:
        return None
    try:
        before = history.file(commit, path).decode("utf-8")
    except (SandboxFault, ValueError):
        return None
    hunks = list(hunks_of(diff))
    if any(hunk.path != path for hunk in hunks):
        return None
    after = applied(before, hunks)
    written = find_symbol(path, after, name) if after is not None else None
    if after is None or written is None:
        return None
    lines = today.split("\n")
    source = symbol_source(after, written).rstrip("\n").split("\n")
    return "\n".join([*lines[: now.start_line - 1], *source, *lines[now.end_line :]])


KIND = Kind("failures", "a wrong candidate of a past run", propose)
