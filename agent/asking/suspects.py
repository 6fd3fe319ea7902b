"""Where the fault may be: runs the check traced, and ranks definitions by what fails.

In: the tree and what the check says of it. Out: suspects, best first. What an earlier sitting of the run ranked is
taken from its log, since a traced run may end differently another time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from forklock.agent.asking.material import read_text
from forklock.agent.asking.places import RankedPlace
from forklock.agent.contract import Task
from forklock.agent.log import LoggedPlace, PlacesRanked
from forklock.sandbox import Sandbox
from forklock.tools.contract import TestReport
from forklock.tools.languages.known import find_symbol
from forklock.tools.localise.localise import Suspect, localise
from forklock.tools.testing.spectrum import trace_tests

TRACE_S = 60.0
"""Seconds for the traced run of the check, at most; without it localisation has less to go by."""
_MOST = 12


def find_suspects(base: Sandbox, task: Task, report: TestReport, trace_s: float) -> list[Suspect]:
    """Ranks suspects.

    Args:
        trace_s: seconds for a traced run of the check.

    Raises:
        SandboxFault: the sandbox failed.
    """
    spectrum = None
    if report.failures:
        with base.fork() as fork:
            spectrum = trace_tests(fork, task.test_command, timeout_s=trace_s, cwd=task.cwd)
    return list(localise(base.root, task=task.statement, report=report, limit=_MOST, spectrum=spectrum))


def ranked(suspects: Sequence[Suspect]) -> PlacesRanked:
    """The event that holds a ranking."""
    return PlacesRanked(
        places=[
            {
                "path": s.symbol.path,
                "name_path": s.symbol.name_path,
                "score": s.score,
                "reasons": list(s.reasons),
            }
            for s in suspects
        ]
    )


def recorded_suspects(root: Path, places: list[LoggedPlace]) -> list[Suspect]:
    """The suspects of a logged ranking that are still there."""
    found = []
    for place in places:
        text = read_text(root / place["path"])
        symbol = find_symbol(place["path"], text, place["name_path"])
        if symbol is not None:
            found.append(Suspect(symbol, place["score"], tuple(place["reasons"])))
    return found


def no_place(found: Sequence[RankedPlace]) -> str:
    """Why there is no place to edit, though these were found."""
    if not found:
        return "no definition could be tied to the failing checks"
    files = ", ".join(dict.fromkeys(one.place.path for one in found[:4]))
    return f"all that the failing checks lead to is what judges it ({files}): put the check into a file of its own"
