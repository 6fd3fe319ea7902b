"""Compares how two versions of the code behave on the same inputs.

A repair must change what the failing test complains of, and nothing else. What it complains of is written nowhere, so
it is taken from the original's run: an input is *explained* where the original takes a path through the code that an
input of a failing test takes, too. On other inputs, where the original returned a value or refused the input, a
different answer is a change that the task gives no reason for.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from forklock.tools.behaviour.ask import Answer, Behaviour


@dataclass(frozen=True, slots=True)
class Difference:
    """An input on which two versions answer differently."""

    before: Answer
    after: Answer

    def __str__(self) -> str:
        name = self.before.function.rpartition(":")[2]
        return f"{name}({self.before.input}): {_said(self.before)}, now {_said(self.after)}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a candidate changes."""

    asked: int
    """Inputs that both versions were asked."""
    unchanged: int
    """Number of inputs that no failing test explains and that are answered as before."""
    explained: tuple[Difference, ...]
    """Differences on inputs like those of the failing tests."""
    unexplained: tuple[Difference, ...]
    """Differences that the task gives no reason for."""


def compare_behaviour(original: Behaviour, candidate: Behaviour, failing: Collection[str]) -> Comparison:
    """Compare a candidate with the original.

    Args:
        failing: ids of the tests that fail in the original, as pytest names them.
    """
    reasons = {
        (answer.function, answer.path)
        for answer in original.answers.values()
        if answer.exact and not answer.tests.isdisjoint(failing)
    }
    explained: list[Difference] = []
    unexplained: list[Difference] = []
    unchanged = asked = 0
    for key, before in original.answers.items():
        after = candidate.answers.get(key)
        if after is None:
            continue
        asked += 1
        reason = (before.function, before.path) in reasons
        if same_answer(before, after):
            unchanged += not reason
        elif reason:
            explained.append(Difference(before, after))
        elif before.behaved:
            unexplained.append(Difference(before, after))
    return Comparison(asked, unchanged, tuple(explained), tuple(unexplained))


def disagreements(one: Behaviour, other: Behaviour) -> list[Difference]:
    """Inputs on which two candidates answer differently, shortest first."""
    found = [
        Difference(answer, other.answers[key])
        for key, answer in one.answers.items()
        if key in other.answers and not same_answer(answer, other.answers[key])
    ]
    return sorted(found, key=lambda one: (not one.before.exact, len(one.before.input), one.before.input))


def same_answer(one: Answer, other: Answer) -> bool:
    """Whether values or exceptions are equal. Two calls that failed unintentionally count as equal, however they
    failed."""
    if "timed out" in (one.ending, other.ending):
        return True  # a busy machine must not make a difference
    if one.ending == other.ending == "failed":
        return True
    return (one.ending, one.value) == (other.ending, other.value)


def _said(answer: Answer) -> str:
    return answer.output if answer.ending == "returned" else f"{answer.ending} with {answer.output}"
