"""Shows runs in the terminal: live progress while a run works, and its story afterwards.

Both are derived from events alone, so `agent show` of an old log prints what was on the screen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from forklock.agent.contract import WITH_CHANGE, Outcome
from forklock.agent.log.candidates import LoggedCandidate
from forklock.agent.log.events import LogFault, RunLog
from forklock.agent.log.schema import (
    BaselineTaken,
    CandidateRuled,
    Event,
    ModelAnswered,
    NoteMade,
    PlacesRanked,
    RolloutStarted,
    RunEnded,
    RunResumed,
    RunStarted,
    StepEnded,
    StepStarted,
    TestsChosen,
    TestTried,
    TurnAnswered,
    VerdictGiven,
    report_from_json,
)
from forklock.agent.log.shown.budget import Budget
from forklock.agent.log.shown.cached import CachedShare
from forklock.agent.log.shown.evidence import (
    chosen_page,
    last_verdict,
    own_tests_facts,
    tried_line,
    verdict_line,
)
from forklock.agent.log.shown.turns import turn_line
from forklock.agent.log.shown.words import fell
from forklock.sandbox.terminal.console import Screen
from forklock.sandbox.terminal.progress import Meter
from forklock.tools.contract import TestReport

_LONG_S = 30.0
"""Seconds of a run at whose end the bell rings."""
_WIDE = 110
"""Columns from which on a candidate's line has room for its whole place."""
_HOP_STYLE = {
    "solved": "bold green",
    "tests": "yellow",
    "regression": "magenta",
    "unverified": "green",
    "duplicate": "dim",
}


_OUTCOME_STYLE = {
    "solved": "bold green",
    "solved by its own test": "bold green",
    "test written": "bold green",
    "passes, in doubt": "bold yellow",
    "unverified": "bold yellow",
}


def describe(event: Event, log: RunLog, *, whole: bool = False, width: int = _WIDE) -> Text | None:
    """Formats an event as one line, or None where it is not worth one. With `whole` (in a pipe) nothing is cut.

    Args:
        width: columns of the terminal; on a narrow one a place is shown by its name alone.
    """
    if isinstance(event, RunResumed):
        return Text("resumed" + (" (a torn last line was dropped)" if event.dropped else ""), style="cyan")
    if isinstance(event, BaselineTaken):
        return _baseline(event, log)
    if isinstance(event, PlacesRanked):
        places = ", ".join(f"{p['name_path']} ({p['score']:.2f})" for p in event.places[:4])
        return Text(f"suspects  {places or 'none'}")
    if isinstance(event, TestTried):
        return tried_line(event, log, whole)
    if isinstance(event, TestsChosen):
        return chosen_page(event, log)
    if isinstance(event, StepStarted):
        what = ("tests ", "answer") if event.step == 0 else (f"step {event.step}", "candidate")
        asked = f"{_counted(event.samples, what[1])} from {_counted(event.requests, 'prompt')}"
        return Text(f"{what[0]}    {asked}", style="bold")
    if isinstance(event, CandidateRuled):
        return _candidate(event, log, whole, width)
    if isinstance(event, VerdictGiven):
        return verdict_line(event, log)
    if isinstance(event, NoteMade):
        return Text(f"note      {event.text}", style="dim")
    return turn_line(event, log, whole)


def _baseline(event: BaselineTaken, log: RunLog) -> Text:
    try:
        report = report_from_json(log.text(event.report))
    except ValueError as error:
        raise LogFault(f"{log.path} holds a test report that is none", fix="delete the run") from error
    counts = check_in_words(report)
    name = "check" if event.role == "task" else "suite"
    return Text(f"{name}     {event.command}  →  {counts}")


def check_in_words(report: TestReport) -> str:
    """Formats how a check ended: counts where its runner reports them, and seconds."""
    counts = (
        f"{len(report.passed)} passed, {len(report.failures)} failed" if report.total else report.status.value
    )
    return f"{counts} in {report.wall_s:.1f} s"


def _candidate(event: CandidateRuled, log: RunLog, whole: bool, width: int) -> Text:
    place, columns = event.place, 40
    if not whole and width < _WIDE:
        place, columns = place.rpartition(":")[2], 14
    line = Text(f"  {event.step}.{event.index:<3} {place if whole else place[:columns]:<{columns}} ")
    line.append(f"{event.hop:<10}", style=_HOP_STYLE.get(event.hop, "red"))
    if event.tests_passed or event.tests_failed:
        line.append(f" {event.tests_passed}/{event.tests_passed + event.tests_failed} tests")
    if event.hop not in ("solved", "duplicate"):
        line.append(f"  {fell(event.hop, log.text(event.reason))}", style="dim")
    return line


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


class LiveView:
    """Prints events as they come; on a terminal, a live line says below them how far the run is and what is left."""

    def __init__(self, console: Screen, log: RunLog, *, bell: bool = False) -> None:
        """
        Args:
            bell: the terminal's bell rings when a run ends that took long.
        """
        self._console = console
        self._log = log
        self._bell = bell and console.is_terminal
        self._end = "interrupted"
        self._meter = Meter(console, "running the check", None, unit="answers", lines=False)
        self._budget = Budget.of(log)

    def __enter__(self) -> LiveView:
        self._meter.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._meter.__exit__(*exc)
        if self._bell and self._budget.seconds >= _LONG_S:
            self._console.bell()
            self._console.notify(f"Forklock: {self._end} after {self._budget.seconds:.0f} s")

    def on_event(self, event: Event) -> None:
        self._budget.take(event)
        self._end = event.outcome if isinstance(event, RunEnded) else self._end
        if isinstance(event, PlacesRanked):
            self._meter.start_at(0, None, "making prompts")
        if isinstance(event, StepStarted):
            self._meter.start_at(0, event.samples, f"step {event.step}")
        if isinstance(event, RolloutStarted):
            self._meter.start_at(0, None, f"rollout {event.rollout}")
        self._meter.advance(int(isinstance(event, ModelAnswered | TurnAnswered)), note=self._budget.words)
        terminal = self._console.is_terminal
        line = describe(event, self._log, whole=not terminal, width=self._console.width)
        if line is not None:
            several = "\n" in line.plain
            self._console.print(line, overflow="fold" if several else "ellipsis", no_wrap=not several)

    def on_tokens(self, count: int) -> None:
        self._meter.advance(tokens=count, note=self._budget.words)


def print_end(
    console: Screen, log: RunLog, end: RunEnded, *, in_place: bool = False, is_shown: bool = False
) -> None:
    """Prints the outcome of a run, its diff, and what to do next.

    Args:
        in_place: a solution is applied at once, so that nothing is left to do.
        is_shown: the run's details stand above already.
    """
    style = _OUTCOME_STYLE.get(end.outcome, "bold red")
    diff = log.text(end.diff)
    console.print()
    if diff:
        console.print_diff(diff)
    headline = Text(end.outcome.upper(), style=style)
    headline.append(
        f"  {end.detail}\n{_taken(end)}, {end.seconds:.1f} s, "
        f"{end.prompt_tokens} prompt + {end.completion_tokens} completion tokens"
        f"{_cached(log)}",
        style="default",
    )
    console.print(headline)
    run = log.folder.name
    if end.outcome == Outcome.IN_DOUBT:
        print_doubt(console, log)
    if end.outcome in WITH_CHANGE:
        if not in_place:
            console.print(f"Your tree is untouched. Take the change with  agent apply {run}")
        return
    what = "The diff above is progress, not a solution." if diff else "Nothing was changed."
    more = f"One candidate:  agent show {run} --candidate STEP.INDEX"
    console.print(f"{what} {more if is_shown else f'Details:  agent show {run}'}")


def _taken(end: RunEnded) -> str:
    driven = f"{_counted(end.rollouts, 'rollout')} with {_counted(end.turns, 'turn')}" if end.rollouts else ""
    steps = _counted(end.steps, "step") if end.steps or not driven else ""
    return ", ".join(part for part in (steps, driven) if part)


def _cached(log: RunLog) -> str:
    share = CachedShare.of(log.read().events)
    return f", {share.words}" if share.words else ""


def print_doubt(console: Screen, log: RunLog) -> None:
    """Prints the question that a person must answer, and the other candidates that pass."""
    found = last_verdict(log.read().events)
    if found is None:
        return
    question = log.text(found.question)
    if question:
        console.print(f"Look at   {question}", style="yellow")
    others = [one["name"] for one in found.passing if one["name"] != found.name]
    if others:
        console.print(
            f"Others that pass: {', '.join(others)}. Take one with  "
            f"agent apply {log.folder.name} --candidate {others[0]}"
        )


def story(log: RunLog, events: Iterable[Event], *, whole: bool = False, width: int = _WIDE) -> RenderableType:
    """Formats a run as one page: head, events, and where candidates failed. With `whole` nothing is cut."""
    events = list(events)
    parts: list[RenderableType] = []
    first = events[0] if events else None
    if isinstance(first, RunStarted):
        parts.append(
            Text(f"run {first.run_id} on {first.repo} at {(first.base_commit or 'no commit')[:12]}", "bold")
        )
        parts.append(Text(f"task      {log.text(first.task).strip()}"))
    parts += [
        line
        for line in (describe(event, log, whole=whole, width=width) for event in events)
        if line is not None
    ]
    parts.append(hop_table(events))
    return Group(*parts)


def run_row(log: RunLog, *, cut: bool = False) -> tuple[str, ...]:
    """Formats a row of `agent runs`: run, outcome, steps, seconds, tokens, task. `cut` shortens a long task."""
    name = log.folder.name
    try:
        events = log.read().events
        first = events[0] if events else None
        task = log.text(first.task).strip() if isinstance(first, RunStarted) else ""
    except LogFault as fault:
        return name, "damaged", "", "", "", fault.message
    facts = summary(events)
    tokens = facts["tokens"]["prompt"] + facts["tokens"]["completion"]
    outcome = f"{facts['outcome']} (adopted)" if log.adopted else facts["outcome"]
    line = task.partition("\n")[0]
    return (
        name,
        outcome,
        str(facts["steps"]),
        str(facts["seconds"] or ""),
        str(tokens or ""),
        line[:60] if cut else line,
    )


def print_candidate(console: Screen, log: RunLog, candidate: LoggedCandidate) -> None:
    """Prints one candidate: its prompt, its answer, the result and the diff."""
    asked, answered, ruled = candidate.asked, candidate.answered, candidate.ruled
    for message in asked.messages if asked else ():
        console.print(Text(f"── {message.role}", "bold"))
        console.print(Text(log.text(message.content)))
    if answered is not None:
        spliced = "; of it, the first statement alone" if candidate.is_spliced else ""
        console.print(
            Text(
                f"── answer ({answered.completion_tokens} tokens, {answered.finish_reason}{spliced})", "bold"
            )
        )
        console.print(Text((asked.prefill if asked else "") + log.text(answered.text)))
    if ruled is not None:
        console.print(Text(f"── {ruled.hop}", "bold"))
        console.print(Text(log.text(ruled.reason)))
        console.print_diff(log.text(ruled.diff))


def hop_table(events: Iterable[Event]) -> Table:
    """Counts where each step's candidates failed."""
    counts: dict[int, Counter[str]] = {}
    tokens: Counter[int] = Counter()
    advanced: dict[int, bool] = {}
    for event in events:
        if isinstance(event, CandidateRuled):
            counts.setdefault(event.step, Counter())[event.hop] += 1
        elif isinstance(event, ModelAnswered):
            tokens[event.step] += event.completion_tokens
        elif isinstance(event, StepEnded):
            advanced[event.step] = event.advanced
    table = Table(title="Where candidates failed", title_justify="left")
    ended = {hop for counter in counts.values() for hop in counter}
    hops = ["parse", "edit", "duplicate", "diagnose", "tests", "regression"]
    hops.append("unverified" if "unverified" in ended else "solved")
    for column in ("step", *hops, "tokens", "kept"):
        table.add_column(column, justify="right")
    for step, hop_counts in sorted(counts.items()):
        kept = "yes" if advanced.get(step) else ""
        table.add_row(str(step), *(str(hop_counts[h] or "") for h in hops), str(tokens[step]), kept)
    return table


def summary(events: Iterable[Event], text: Callable[[str], str] = str) -> dict[str, Any]:
    """The machine-readable result of a run (`--json`).

    Args:
        text: resolves texts that lie beside the log (`RunLog.text`).
    """
    events = list(events)
    end = next((e for e in events if isinstance(e, RunEnded)), None)
    found = last_verdict(events)
    chosen = next((e for e in events if isinstance(e, TestsChosen)), None)
    return {
        "outcome": end.outcome if end else "unfinished",
        "detail": end.detail if end else "",
        "verdict": None if found is None else {
            "candidate": found.name, "sure": found.sure, "why": found.why, "question": text(found.question),
            "passing": found.passing,
        },
        "seconds": round(end.seconds, 2) if end else None,
        "tokens": {
            "prompt": end.prompt_tokens if end else 0,
            "completion": end.completion_tokens if end else 0,
        },
        "steps": end.steps if end else 0,
        "rollouts": end.rollouts if end else 0,
        "turns": end.turns if end else 0,
        "own_tests": own_tests_facts(chosen) if chosen else None,
        "candidates": [
            {"step": e.step, "index": e.index, "symbol": e.place, "hop": e.hop, "tests_passed": e.tests_passed,
             "tests_failed": e.tests_failed, "seconds": round(e.seconds, 3)}
            for e in events
            if isinstance(e, CandidateRuled)
        ],
    }  # fmt: skip
