"""Ranks the places that a step edits, and shares the step's width among them.

Evidence ranks the places (`forklock.tools.localise`). The best place gets most lanes, but a wrong first guess
still leaves
samples elsewhere. Shares follow D'Hondt's method on the scores, and each sample that a place had in earlier steps
lowers its claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forklock.agent.contract import Place
from forklock.tools.localise.localise import Suspect

MAX_PLACES = 4
"""Most places that one step edits."""
FAIR_TRIES = 16
"""A place's claim is halved after this many samples."""


@dataclass(frozen=True, slots=True)
class RankedPlace:
    place: Place
    score: float


def ranked_places(suspects: Sequence[Suspect]) -> list[RankedPlace]:
    """The suspects as places, best first: functions, and other definitions only where no function is suspected.

    Evidence for a class or a constant is mostly its use by the fault; a repair is written in a function.
    """
    functions = [s for s in suspects if s.symbol.kind in ("function", "method")]
    return [
        RankedPlace(Place(suspect.symbol.path, suspect.symbol, suspect.reasons), max(suspect.score, 1e-6))
        for suspect in functions or suspects
    ]


def chunks(width: int) -> tuple[int, int]:
    """Splits a width into (lanes, samples per lane), with at least four lanes where the width allows it."""
    samples = max((d for d in range(1, width + 1) if width % d == 0 and width // d >= 4), default=1)
    return width // samples, samples


def share(ranking: Sequence[RankedPlace], lanes: int, tried: dict[str, int]) -> list[Place]:
    """Gives each lane a place, by D'Hondt: the next lane goes to the largest score / (1 + lanes so far)."""
    claims = [
        (r.score / (1 + tried.get(r.place.label, 0) / FAIR_TRIES), order, r.place)
        for order, r in enumerate(ranking)
    ]
    claims = sorted(claims, key=lambda claim: (-claim[0], claim[1]))[:MAX_PLACES]
    seats = [0] * len(claims)
    for _ in range(lanes):
        best = max(range(len(claims)), key=lambda i: (claims[i][0] / (1 + seats[i]), -claims[i][1]))
        seats[best] += 1
    return [place for (_, _, place), count in zip(claims, seats, strict=True) for _ in range(count)]
