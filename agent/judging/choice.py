"""Choose among different candidates that pass, and say whether the choice is sure.

Passing is not being right: a small model finds changes that make the failing test pass and break what no test looks
at. So the original and each passing candidate answer the same further inputs (`forklock.tools.behaviour`). A
candidate that
changes an answer for no reason that the failing test gives is suspect; candidates that agree support each other; where
they disagree, the input on which they do is the question that a person must answer. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forklock.tools.behaviour.ask import Behaviour
from forklock.tools.behaviour.compare import Comparison, Difference, disagreements

_ENOUGH = 8
"""Inputs on which original and candidate must have been compared before the choice can be sure."""
_MOST = 2 / 3
"""Share of the candidates above suspicion that must agree, where they do not all agree."""


@dataclass(frozen=True, slots=True)
class Passing:
    """A candidate that passes, in the order of preference: smaller change first."""

    name: str
    """`STEP.INDEX`."""
    behaviour: Behaviour | None
    """None where it could not be asked."""
    comparison: Comparison | None
    """With the original."""

    @property
    def suspect(self) -> bool:
        return self.comparison is not None and bool(self.comparison.unexplained)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which candidate is taken, and how sure that is."""

    name: str
    sure: bool
    why: str
    """One or two sentences for people."""
    question: str = ""
    """An input on which candidates, or the candidate and the original, answer differently; "" where there is none."""


def choose(candidates: Sequence[Passing]) -> Choice:
    """The best of at least one candidate.

    Raises:
        ValueError: there is no candidate.
    """
    if not candidates:
        raise ValueError("no candidate passes")
    asked = [one for one in candidates if one.behaviour is not None and one.comparison is not None]
    if not asked:
        return Choice(candidates[0].name, False, "how it behaves on further inputs could not be compared")
    clean = [one for one in asked if not one.suspect]
    if not clean:
        return _least_suspect(asked)
    groups = _groups(clean)
    best = groups[0]
    comparison = best[0].comparison
    assert comparison is not None
    found = _how_many(len(clean), len(best), comparison)
    if comparison.asked < _ENOUGH:
        return Choice(best[0].name, False, f"{found}; that is too few to be sure")
    if len(groups) > 1 and (len(best) < 2 or len(best) < _MOST * len(clean)):
        apart = _apart(best[0], groups[1][0])
        return Choice(best[0].name, False, f"{found}; different changes pass and disagree", _question(apart))
    return Choice(best[0].name, True, found)


def _least_suspect(asked: Sequence[Passing]) -> Choice:
    best = min(asked, key=lambda one: len(one.comparison.unexplained) if one.comparison else 0)
    assert best.comparison is not None
    unexplained = best.comparison.unexplained
    share = f"{len(unexplained)} of {best.comparison.asked} further inputs"
    why = f"it answers differently on {share} for no reason that the failing test gives"
    return Choice(best.name, False, why, str(min(unexplained, key=_for_people)))


def _groups(clean: Sequence[Passing]) -> list[list[Passing]]:
    """Candidates that agree on every input that both were asked; the largest group first, then by preference."""
    groups: list[list[Passing]] = []
    for one in clean:
        home = next((group for group in groups if not _apart(group[0], one)), None)
        if home is None:
            groups.append([one])
        else:
            home.append(one)
    return sorted(groups, key=len, reverse=True)


def _apart(one: Passing, other: Passing) -> list[Difference]:
    if one.behaviour is None or other.behaviour is None:
        return []
    return disagreements(one.behaviour, other.behaviour)


def _how_many(clean: int, agree: int, comparison: Comparison) -> str:
    alone = (
        "the only passing change found"
        if clean == 1
        else f"{agree} of {clean} different passing changes agree"
    )
    return (
        f"{alone}; on {comparison.asked} further inputs it changes {len(comparison.explained)}, all like the failing "
        f"test's, and none of the {comparison.unchanged} others"
    )


def _question(apart: Sequence[Difference]) -> str:
    if not apart:
        return ""
    one = apart[0]
    name = one.before.function.rpartition(":")[2]
    first, second = (answer.output or answer.ending for answer in (one.before, one.after))
    return f"should {name}({one.before.input}) give {first} or {second}?"


def _for_people(one: Difference) -> tuple[bool, int]:
    return (not one.before.exact, len(one.before.input))
