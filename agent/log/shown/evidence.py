"""Shows what a run found out: the tests that it wrote itself, and the verdict on the candidates that pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.text import Text

from forklock.agent.log.events import RunLog
from forklock.agent.log.schema import Event, TestsChosen, TestTried, VerdictGiven


def tried_line(event: TestTried, log: RunLog, whole: bool) -> Text:
    """What became of one test, in a line. With `whole` nothing is cut."""
    line = Text(f"  0.{event.sample:<3} {event.name[:40]:<40} ")
    line.append(event.verdict, style="bold green" if event.verdict == "kept" else "dim")
    words = next((part.strip() for part in log.text(event.detail).splitlines() if part.strip()), "")
    return line.append(f"  {words if whole else words[:60]}", style="dim")


def chosen_page(event: TestsChosen, log: RunLog) -> Text:
    """The tests that became the check, as a user reads them: what each says, who agrees, and the file."""
    if not event.path:
        return Text("tests     none fails now for the statement's reason", style="bold red")
    counted = f"{len(event.tests)} test" + ("s" if len(event.tests) > 1 else "")
    page = Text(f"tests     {counted} in {event.path}, run by {event.command}", style="bold")
    for test in event.tests:
        page.append(f"\n  {test['name']}: {test['says']}", style="default")
        page.append(f"  ({test['samples']} of {event.samples} samples agree)", style="dim")
    if event.doubt:
        page.append(f"\n  in doubt: {event.doubt}", style="yellow")
    page.append(
        "\n" + "\n".join(f"    {line}".rstrip() for line in log.text(event.source).splitlines()), style="cyan"
    )
    return page


def own_tests_facts(chosen: TestsChosen) -> dict[str, Any]:
    """The tests that a run wrote as its check, for `--json`."""
    return {
        "path": chosen.path or None,
        "command": chosen.command or None,
        "tests": [dict(test) for test in chosen.tests],
        "samples": chosen.samples,
        "doubt": chosen.doubt,
        "rejected": chosen.rejected,
    }


def verdict_line(event: VerdictGiven, log: RunLog) -> Text:
    """One line for the verdict, and one for what a person should look at."""
    passing = len(event.passing)
    count = "1 passing candidate" if passing == 1 else f"{passing} passing candidates"
    line = Text(f"weighed   {count} in {event.seconds:.1f} s: ")
    line.append("right" if event.sure else "in doubt", style="green" if event.sure else "yellow")
    line.append(f"  {event.name}  {event.why}")
    question = log.text(event.question)
    if question:
        line.append(f"\n          look at {question}", style="dim")
    return line


def last_verdict(events: Iterable[Event]) -> VerdictGiven | None:
    """Returns the verdict that a run ended with; None where no candidate passed."""
    return next((event for event in reversed(list(events)) if isinstance(event, VerdictGiven)), None)
