"""Draws the splits: by file and by time, and no definition in two. Pure.

A *unit* goes to one split as a whole: a file; in a repository with few files, or where one file holds most, an
outermost definition. Units that
commits changed last are for the test split, up to half of its share; the date of the oldest of these commits is the
cut-off, and repairs of later commits are used nowhere else. The other units follow a hash of their name: each goes to
the split that lacks most. The same ground and seed give the same splits.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from forklock.selfdistill.tasks.contract import SPLITS, Bug, Ground, Split, digest_of

SHARES: dict[Split, float] = {"practice": 0.6, "development": 0.2, "test": 0.2}
FEWEST_FILES = 5
"""With fewer files, outermost definitions are the units."""
MOST_IN_ONE = 0.3
"""So are they where one file holds a larger share of the definitions."""


def draw(ground: Ground, repairs: Sequence[Bug], *, seed: int) -> Ground:
    """Return the ground with its splits.

    Args:
        repairs: bugs of past commits, in any order.
    """
    units = _units(list(ground.reach))
    sizes = Counter(units.values())
    recent, cutoff = _changed_last(repairs, units, sizes)
    split: dict[str, Split] = dict.fromkeys(recent, "test")
    filled = Counter({name: sum(sizes[unit] for unit in split if split[unit] == name) for name in SPLITS})
    for unit in sorted(set(units.values()) - set(split), key=lambda one: digest_of(str(seed), one)):
        wanted = max(SPLITS, key=lambda name: SHARES[name] * len(units) - filled[name])
        split[unit] = wanted
        filled[wanted] += sizes[unit]
    by_label = {label: split[unit] for label, unit in units.items()}
    return ground.model_copy(update={"split": by_label, "cutoff": cutoff})


def _units(labels: Sequence[str]) -> dict[str, str]:
    """Return the unit of each definition."""
    files = Counter(label.partition(":")[0] for label in labels)
    if len(files) >= FEWEST_FILES and max(files.values()) <= MOST_IN_ONE * len(labels):
        return {label: label.partition(":")[0] for label in labels}
    return {label: outermost(label) for label in labels}


def outermost(label: str) -> str:
    """Return `path:name` of the definition at the top that holds a definition."""
    path, _, name = label.partition(":")
    return f"{path}:{name.partition('.')[0].partition('#')[0]}"


def _changed_last(
    repairs: Iterable[Bug], units: dict[str, str], sizes: Counter[str]
) -> tuple[list[str], float | None]:
    """Return the units that commits changed last, and the time of the oldest of these commits."""
    by_time: dict[float, set[str]] = defaultdict(set)
    for bug in repairs:
        if bug.when is not None:
            by_time[bug.when] |= {units[place] for place in bug.places if place in units}
    room = SHARES["test"] / 2 * len(units)
    taken: list[str] = []
    cutoff: float | None = None
    for when in sorted(by_time, reverse=True):
        fresh = sorted(by_time[when] - set(taken))
        size = sum(sizes[unit] for unit in fresh)
        if size > room:
            break
        room -= size
        taken += fresh
        cutoff = when
    return taken, cutoff


def not_in_one_split(bug: Bug, ground: Ground) -> str:
    """Return why a bug belongs to no split; "" where it belongs to one."""
    names = {ground.split.get(place) for place in bug.places}
    if len(names) != 1:
        return "spans two splits"
    name = names.pop()
    if name is None:
        return "no test reaches it"
    if bug.when is not None and ground.cutoff is not None and bug.when >= ground.cutoff and name != "test":
        return "newer than the cut-off, outside the test split"
    return ""
