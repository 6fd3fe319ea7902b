"""Chooses which of the kept tests are the check. Pure.

Tests that expect the same of the same call agree, whoever wrote them; tests that expect different things of one call
conflict, and the ones that fewer samples agree on are dropped. What is left is grouped by behaviour (which functions
ran, how it failed) and ranked: by the number of independent samples, by how much of what the statement names a test
runs, by how much of the statement's own words and values it repeats, and the shorter first.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from forklock.tools.languages.forms.form import Expectation, WrittenTest

MOST_TESTS = 3
"""Most tests of a check. Each of them may be wrong, and all must pass."""
AGREED = 2
"""A test is trusted if at least this many independent samples agree on it."""
_LITERAL = re.compile(r"\"[^\"\n]{2,}\"|'[^'\n]{2,}'|\b\d[\d.]*\b")


@dataclass(frozen=True, slots=True)
class Kept:
    """A test that fails now for the statement's reason."""

    sample: int
    test: WrittenTest
    message: str
    entered: tuple[str, ...]
    reach: float

    @property
    def behaviour(self) -> tuple[object, ...]:
        """Equal for tests that show the same."""
        if self.test.expects:
            return (frozenset(self.test.expects),)
        return (self.entered, self.message)


@dataclass(slots=True)
class Group:
    """Tests that show the same."""

    tests: list[Kept] = field(default_factory=list)
    votes: frozenset[int] = frozenset()
    """Samples that agree on what it expects, tests that pass or were rejected for another reason not counted."""

    @property
    def best(self) -> Kept:
        return min(
            self.tests, key=lambda kept: (-kept.reach, len(kept.test.source), kept.sample, kept.test.name)
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """The tests that are the check, best first."""

    groups: tuple[Group, ...]
    dropped: tuple[Kept, ...]
    """Tests that contradict others."""
    doubt: str
    """Why passing them is not enough; "" where several tests agree."""


def select(kept: Sequence[Kept], statement: str) -> Selection:
    """The check: at most `MOST_TESTS` tests that agree, else the best one alone."""
    standing: list[Group] = []
    dropped: list[Kept] = []
    disputed = ""
    for group in sorted(_grouped(kept), key=lambda group: _rank(group, statement)):
        rival = next((one for one in standing if _dispute(one, group)), None)
        if rival is None:
            standing.append(group)
            continue
        dropped += group.tests
        if 2 * len(group.votes) > len(rival.votes):
            disputed = disputed or _dispute(rival, group)
    agreed = [group for group in standing if len(group.votes) >= AGREED]
    chosen = (agreed or standing[:1])[:MOST_TESTS]
    return Selection(tuple(chosen), tuple(dropped), _doubt(chosen, disputed))


def _grouped(kept: Sequence[Kept]) -> list[Group]:
    by_behaviour: dict[tuple[object, ...], Group] = defaultdict(Group)
    for one in kept:
        by_behaviour[one.behaviour].tests.append(one)
    for group in by_behaviour.values():
        expects = set(group.best.test.expects)
        agreeing = [one for one in kept if expects and expects <= set(one.test.expects)]
        group.votes = frozenset(one.sample for one in (*group.tests, *agreeing))
    return list(by_behaviour.values())


def _dispute(one: Group, other: Group) -> str:
    """What two groups expect differently of one call; "" where they agree."""
    expected = {found.call: found.value for found in one.best.test.expects}
    for found in other.best.test.expects:
        if expected.get(found.call, found.value) != found.value:
            return f"{found.call} should be {expected[found.call]}, or {found.value}"
    return ""


def _rank(group: Group, statement: str) -> tuple[object, ...]:
    best = group.best
    return (
        -len(group.votes), -_repeated(best.test.expects, statement), -best.reach, len(best.test.source), best.sample,
        best.test.name,
    )  # fmt: skip


def _repeated(expects: Sequence[Expectation], statement: str) -> int:
    """How many values of the expectations stand in the statement."""
    found = {word.strip("'\"") for one in expects for word in _LITERAL.findall(f"{one.call} {one.value}")}
    return sum(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", statement) is not None for word in found)


def _doubt(chosen: Sequence[Group], disputed: str) -> str:
    if not chosen:
        return ""
    if disputed:
        return f"samples disagree: {disputed}"
    if len(chosen[0].votes) < AGREED:
        return "only one sample wrote the test"
    return "one test alone is its check" if len(chosen) == 1 else ""
