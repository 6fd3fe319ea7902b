"""The choice among passing candidates: what makes it sure, and what makes it doubtful."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forklock.agent.judging.choice import Passing, choose
from forklock.tools.behaviour.ask import Answer, Behaviour
from forklock.tools.behaviour.compare import compare_behaviour

FAILING = {"t::fails"}


def answers(values: dict[int, str]) -> Behaviour:
    """Input 0 is the failing test's; all others are on another path."""
    made = {}
    for number, value in values.items():
        test = "t::fails" if number == 0 else "t::passes"
        path = frozenset({1}) if number == 0 else frozenset({2})
        made["f", str(number)] = Answer(
            "m.py:f", f"x={number}", "returned", value, value, path, number < 2, frozenset({test})
        )
    return Behaviour(made)


ORIGINAL = answers({number: f"old {number}" for number in range(20)})


def passing(name: str, changed: dict[int, str]) -> Passing:
    behaviour = answers({number: changed.get(number, f"old {number}") for number in range(20)})
    return Passing(name, behaviour, compare_behaviour(ORIGINAL, behaviour, FAILING))


def test_one_that_changes_what_was_complained_of_is_sure() -> None:
    found = choose([passing("1.0", {0: "new"})])
    assert found.sure and "the only passing candidate found" in found.why


def test_one_that_changes_more_is_in_doubt_and_says_where() -> None:
    found = choose([passing("1.0", {0: "new", 7: "other"})])
    assert not found.sure and "x=7" in found.question


def test_one_above_suspicion_is_preferred() -> None:
    found = choose([passing("1.0", {0: "new", 7: "other"}), passing("1.1", {0: "new"})])
    assert found.sure and found.name == "1.1"


def test_most_agree() -> None:
    found = choose([passing("1.0", {0: "odd"}), passing("1.1", {0: "new"}), passing("1.2", {0: "new"})])
    assert found.sure and found.name == "1.1" and "2 of 3" in found.why


def test_two_that_disagree_are_a_question() -> None:
    found = choose([passing("1.0", {0: "new"}), passing("1.1", {0: "other"})])
    assert not found.sure and found.question == "should f(x=0) give new or other?"


def test_without_behaviour_nothing_is_sure() -> None:
    assert not choose([Passing("1.0", None, None)]).sure


def test_few_inputs_are_not_enough() -> None:
    few = Behaviour(dict(list(ORIGINAL.answers.items())[:3]))
    new = Behaviour({key: replace(a, value="new") if 1 in a.path else a for key, a in few.answers.items()})
    assert not choose([Passing("1.0", new, compare_behaviour(few, new, FAILING))]).sure


def test_no_candidate_is_an_error() -> None:
    with pytest.raises(ValueError, match="no candidate"):
        choose([])


@given(
    st.lists(
        st.dictionaries(st.integers(0, 19), st.sampled_from(["a", "b"]), max_size=4), min_size=1, max_size=6
    )
)
def test_a_suspect_is_never_sure(changes: list[dict[int, str]]) -> None:
    candidates = [passing(f"1.{index}", change) for index, change in enumerate(changes)]
    found = choose(candidates)
    taken = next(one for one in candidates if one.name == found.name)
    assert not (found.sure and taken.suspect)
    if any(not one.suspect for one in candidates):
        assert not taken.suspect
