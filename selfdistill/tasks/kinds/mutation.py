"""`mutation`: slips in a function that tests reach, one or several at once, by the rules of `rules.py`."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from forklock.selfdistill.tasks.contract import Bug
from forklock.selfdistill.tasks.kinds.kind import Defined, Kind, Work
from forklock.selfdistill.tasks.kinds.rules import RULES, Around
from forklock.tools.languages.definitions import Site

SINGLE = 6
"""Proposals with one slip, for each function."""
SEVERAL = 2
"""Proposals with several slips, for each function."""
MOST_SLIPS = 3


@dataclass(frozen=True, slots=True)
class Slip:
    """One replacement in a file."""

    start: int
    end: int
    words: str
    rule: str


def propose(work: Work) -> Iterator[Bug]:
    """Yield proposals, one of each function in turn, so that a limit takes from all of them."""
    turns = [_of_function(work, one) for one in work.definitions()]
    for turn in zip_longest(*turns):
        yield from (bug for bug in turn if bug is not None)


def _of_function(work: Work, one: Defined) -> Iterator[Bug]:
    drawn = random.Random(f"{work.seed}/mutation/{one.label}")  # noqa: S311 - a reproducible choice
    slips = shuffled(slips_of(one), drawn)
    for slip in slips[:SINGLE]:
        yield _bug(one, [slip])
    for _ in range(SEVERAL if len(slips) > MOST_SLIPS else 0):
        chosen = apart(drawn.sample(slips, min(len(slips), drawn.randint(2, MOST_SLIPS))))
        if len(chosen) > 1:
            yield _bug(one, chosen)


def slips_of(one: Defined) -> list[Slip]:
    """Return every slip that a rule knows for the function, in the order of the rules."""
    starts = [0]
    for line in one.text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    first, last = starts[one.symbol.start_line - 1], starts[one.symbol.end_line] - 1
    inside = [
        site
        for site in one.language.sites(one.text)
        if first <= site.start and site.end <= last and site.scope >= first
    ]
    found: list[Slip] = []
    for rule in RULES:
        for site in inside:
            if site.kind == rule.kind:
                around = Around(one.text, _names(inside, site))
                start, end = _lines_of(one.text, site) if _drops(site, rule.name) else (site.start, site.end)
                found += [Slip(start, end, words, rule.name) for words in rule.replace(site, around)]
    return found


def _names(inside: Sequence[Site], site: Site) -> list[str]:
    """Return the variables of a site's scope. Names that are called alone are functions, and not among them."""
    return [one.text for one in inside if one.kind == "name" and one.scope == site.scope]


def _drops(site: Site, rule: str) -> bool:
    return rule in ("dropped statement", "dropped branch") and bool(site.text)


def _lines_of(text: str, site: Site) -> tuple[int, int]:
    """Return the whole lines of a statement, with the newline behind."""
    start = text.rfind("\n", 0, site.start) + 1
    end = text.find("\n", site.end)
    return start, len(text) if end < 0 else end + 1


def shuffled(slips: list[Slip], drawn: random.Random) -> list[Slip]:
    """Return the slips in a random order in which the rules take turns."""
    by_rule: dict[str, list[Slip]] = {}
    for slip in slips:
        by_rule.setdefault(slip.rule, []).append(slip)
    rows = list(by_rule.values())
    drawn.shuffle(rows)
    for row in rows:
        drawn.shuffle(row)
    return [slip for turn in zip_longest(*rows) for slip in turn if slip is not None]


def apart(slips: Sequence[Slip]) -> list[Slip]:
    """Return slips that do not overlap, in the order of the text."""
    kept: list[Slip] = []
    for slip in sorted(slips, key=lambda one: (one.start, one.end)):
        if not kept or kept[-1].end <= slip.start:
            kept.append(slip)
    return kept


def mutated(text: str, slips: Sequence[Slip]) -> str:
    """Return the text with slips that do not overlap."""
    for slip in sorted(slips, key=lambda one: one.start, reverse=True):
        text = text[: slip.start] + slip.words + text[slip.end :]
    return text


def _bug(one: Defined, slips: Sequence[Slip]) -> Bug:
    rules = " + ".join(slip.rule for slip in slips)
    return Bug("mutation", {one.symbol.path: mutated(one.text, slips)}, (one.label,), rules)


KIND = Kind("mutation", "one or several slips in a tested function", propose)
