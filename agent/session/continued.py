"""States the task of a run that goes on from an earlier one: its task, what it came to, and the person's word."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from forklock.agent.contract import AgentFault
from forklock.agent.log import CandidateRuled, RunEnded, RunLog
from forklock.agent.log.runs import require_own
from forklock.agent.log.shown.words import fell

_MOST_DIFF = 4000
"""Characters of the earlier change that the task repeats."""


@dataclass(frozen=True, slots=True)
class Continued:
    """What a new run takes from an earlier one."""

    statement: str
    test_command: str
    cwd: str


def continued(log: RunLog, root: Path, word: str) -> Continued:
    """Returns the task of a new run in the light of an earlier one.

    Args:
        word: what the person says about the earlier result.

    Raises:
        AgentFault: no word was given, or the run was adopted or never started.
        LogFault: its log is damaged.
    """
    if not word.strip():
        raise AgentFault(
            "nothing is said about the earlier run",
            fix=f'say what should be different: agent solve --continue {log.folder.name} "keep the signature"',
        )
    first = require_own(log, root)
    parts = [log.text(first.task).strip()]
    diff, result = _came_to(log)
    if diff:
        cut = "" if len(diff) <= _MOST_DIFF else "\n(the rest is cut)"
        parts.append(
            f"An earlier attempt made this change{result}:\n\n```diff\n{diff[:_MOST_DIFF].rstrip()}{cut}\n```"
        )
    parts.append(f"The user says about it: {word.strip()}" if diff else f"The user adds: {word.strip()}")
    return Continued("\n\n".join(parts), first.test_command, first.cwd)


def _came_to(log: RunLog) -> tuple[str, str]:
    """The diff that a run ended with, else that of the candidate that passed most tests; and what became of it."""
    events = log.read().events
    end = next((event for event in reversed(events) if isinstance(event, RunEnded)), None)
    if end is not None and (diff := log.text(end.diff)):
        return diff, f", which ended {end.outcome}"
    tried = [event for event in events if isinstance(event, CandidateRuled) and event.diff]
    if not tried:
        return "", ""
    best = max(tried, key=lambda event: (event.tests_passed, -event.tests_failed, -event.broken))
    why = fell(best.hop, log.text(best.reason))
    return log.text(best.diff), f", which failed ({why})" if why else ""
