"""Choose among different candidates that pass, and say whether the evidence says that the choice is right.

Passing is not being right: a small model finds changes that make the failing test pass and break what no test looks at.
So the original and each passing candidate answer the same further inputs (`forklock.tools.behaviour`). What speaks
against a candidate is listed in words (`doubts`); candidates that agree support each other; where they disagree, the
input on which they do is the question that a person must answer. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forklock.agent.judging.pins import Doubt
from forklock.tools.behaviour.ask import Answer, Behaviour
from forklock.tools.behaviour.compare import Comparison, Difference, disagreements

_ENOUGH = 8
"""Inputs on which original and candidate must have been compared before a single candidate can be sure."""
_MOST = 2 / 3
"""Share of the candidates above suspicion that must agree, where they do not all agree."""
_NEIGHBOURS = 20
"""Variants of the failing tests' inputs from which on it tells something that none of them is answered differently."""
_ALIKE = 2
"""Prompts whose samples must have written the same program, where behaviour cannot be compared."""


@dataclass(frozen=True, slots=True)
class Passing:
    """A candidate that passes, in the order of preference: smaller change first."""

    name: str
    """`STEP.INDEX`."""
    behaviour: Behaviour | None
    """None where it could not be asked."""
    comparison: Comparison | None
    """With the original."""
    signs: tuple[str, ...] = ()
    """What in the text of the change speaks against it (`forklock.agent.judging.signs`)."""
    special: str = ""
    """A value of the failing tests that the change compares with, and that the code did not have; "" for none."""
    samples: int = 1
    """Samples of the model that wrote this program."""
    unpinned: Doubt | None = None
    """A mutant of it that passes as well, and that nothing settles."""

    @property
    def doubts(self) -> tuple[str, ...]:
        """What speaks against it, in words, worst first."""
        found = (*self.signs, *_against(self.comparison, self.special))
        return found if self.unpinned is None else (*found, str(self.unpinned))

    @property
    def suspect(self) -> bool:
        return bool(self.doubts)

    @property
    def question(self) -> str:
        """An input on which it and the original answer differently, where that speaks against it."""
        found = self.comparison
        worst = (
            (found.equal or found.stale or min(found.unexplained, key=_for_people, default=None))
            if found
            else None
        )
        if worst is None and self.unpinned is not None:
            return _question([self.unpinned.on])
        return "" if worst is None else str(worst)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which candidate is taken, and how sure that is."""

    name: str
    sure: bool
    why: str
    """One or two sentences for people."""
    question: str = ""
    """An input on which candidates, or the candidate and the original, answer differently; "" where there is none."""


def _against(found: Comparison | None, special: str) -> tuple[str, ...]:
    if found is None:
        return (f"it names {special}, which is a value of the failing test",) if special else ()
    doubts = []
    if found.equal is not None:
        doubts.append("it answers with an object that equals everything")
    if found.stale is not None:
        doubts.append("what it answers still depends on the arguments of the call before")
    if found.unexplained:
        share = f"{len(found.unexplained)} of {found.asked} further inputs"
        doubts.append(f"it answers differently on {share} for no reason that the failing test gives")
    if special:
        doubts.append(f"it names {special}, which is a value of the failing test")
    if found.neighbours >= _NEIGHBOURS and found.changed_tested and not found.changed_neighbours:
        doubts.append(
            f"it changes the failing test's own inputs and none of {found.neighbours} others that are like them"
        )
    return tuple(doubts)


def choose(candidates: Sequence[Passing]) -> Choice:
    """The best of at least one candidate.

    Raises:
        ValueError: there is no candidate.
    """
    if not candidates:
        raise ValueError("no candidate passes")
    clean = [one for one in candidates if not one.suspect]
    if not clean:
        best = min(candidates, key=_badness)
        return Choice(best.name, False, "; ".join(best.doubts[:2]), best.question)
    asked = [one for one in clean if one.behaviour is not None and one.comparison is not None]
    if not asked:
        return _by_samples(clean)
    groups = groups_of(asked)
    best = groups[0][0]
    found = _how_many(asked, groups[0])
    assert best.comparison is not None
    if len(groups) > 1 and (len(groups[0]) < 2 or len(groups[0]) < _MOST * len(asked)):
        apart = _apart(best, groups[1][0])
        return Choice(best.name, False, f"{found}; different changes pass and disagree", _question(apart))
    if best.comparison.asked < _ENOUGH and len(groups[0]) < 2 and best.samples < 2:
        return Choice(best.name, False, f"{found}; that is too few to be sure")
    return Choice(best.name, True, found)


def _badness(one: Passing) -> tuple[int, int]:
    return len(one.doubts), len(one.comparison.unexplained) if one.comparison else 0


def _by_samples(clean: Sequence[Passing]) -> Choice:
    """Without behaviour, a program that the model wrote several times independently is the best evidence."""
    best = max(clean, key=lambda one: one.samples)
    why = "it passes its tests; how it behaves elsewhere could not be compared"
    if best.samples < _ALIKE:
        return Choice(best.name, False, why)
    return Choice(best.name, True, f"{why}, but {best.samples} samples of the model wrote the same program")


def groups_of(clean: Sequence[Passing]) -> list[list[Passing]]:
    """Candidates that agree on every input that both were asked; the largest group first, then by samples, then by
    preference."""
    groups: list[list[Passing]] = []
    for one in clean:
        home = next((group for group in groups if not _apart(group[0], one)), None)
        if home is None:
            groups.append([one])
        else:
            home.append(one)
    return sorted(groups, key=lambda group: (len(group), sum(one.samples for one in group)), reverse=True)


def _apart(one: Passing, other: Passing) -> list[Difference]:
    if one.behaviour is None or other.behaviour is None:
        return []
    return disagreements(one.behaviour, other.behaviour)


def _how_many(asked: Sequence[Passing], agree: Sequence[Passing]) -> str:
    comparison = agree[0].comparison
    assert comparison is not None
    if len(asked) > 1:
        alone = f"{len(agree)} of {len(asked)} different passing candidates agree on {comparison.asked} further inputs"
    else:
        alone = f"the only passing candidate found, compared on {comparison.asked} further inputs"
    if agree[0].samples > 1:
        alone += f", written by {agree[0].samples} samples"
    return (
        f"{alone}; behaviour is changed on {len(comparison.explained)}, all like the failing test's, and unchanged "
        f"elsewhere on {comparison.unchanged}"
    )


def _question(apart: Sequence[Difference]) -> str:
    if not apart:
        return ""
    one = apart[0]
    name = one.before.function.rpartition(":")[2]
    return f"should {name}({one.before.input}) give {_said(one.before)} or {_said(one.after)}?"


def _said(answer: Answer) -> str:
    if answer.ending == "returned":
        return answer.output
    return f"the exception {answer.output}" if answer.output else answer.ending


def _for_people(one: Difference) -> tuple[bool, bool, int]:
    return (one.before.pair, not one.before.exact, len(one.before.input))
