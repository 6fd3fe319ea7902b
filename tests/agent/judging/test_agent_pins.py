"""Rivals: what the answers of the original say of a candidate and a mutant of it that both pass."""

from __future__ import annotations

import pytest

from forklock.agent.judging.pins import Rival, doubt_of
from forklock.tools.behaviour.ask import Answer, Behaviour, Ending
from forklock.tools.behaviour.compare import disagreements
from forklock.tools.behaviour.mutants import Mutant


def behaviour(values: str) -> Behaviour:
    """One answer a letter; `!` is a crash, `.` an input that was not asked."""
    made = {}
    for number, value in enumerate(values):
        ending: Ending = "failed" if value == "!" else "returned"
        if value != ".":
            made["f", str(number)] = Answer(
                "m.py:f", f"x={number}", ending, value, value, frozenset(), False, frozenset({"t"})
            )
    return Behaviour(made)


@pytest.mark.parametrize(
    ("original", "own", "mutant", "smaller", "inputs"),
    [
        ("aa", "ab", "aa", True, 1),  # the mutant changes less
        ("ab", "ab", "aa", None, 0),  # the candidate keeps what the mutant changes
        ("ac", "ab", "aa", False, 1),  # nothing tells
        ("a.", "ab", "aa", False, 1),  # the original was not asked
        ("abc", "abd", "ace", None, 0),  # the candidate keeps one of them
        ("abb", "abc", "acb", None, 0),  # each keeps something
        ("abbb", "abcc", "acbb", True, 2),  # the mutant keeps more
        ("a!", "ab", "a!", None, 0),  # the mutant crashes as the original does
        ("a!", "ab", "ac", False, 1),  # the original crashed: both changes have a reason
    ],
)
def test_the_change_that_keeps_more_is_all_that_is_asked(
    original: str, own: str, mutant: str, smaller: bool | None, inputs: int
) -> None:
    one, other = behaviour(own), behaviour(mutant)
    rival = Rival(Mutant("", 3, "<", "<="), one, tuple(disagreements(one, other)))
    found = doubt_of(behaviour(original), [rival])
    if smaller is None:
        assert found is None
    else:
        assert found is not None and (found.smaller, found.inputs) == (smaller, inputs)
        assert "line 3: `<` as `<=`" in str(found)


def test_no_rival_is_no_doubt() -> None:
    assert doubt_of(behaviour("a"), []) is None
