"""Compares how two versions of the code behave on the same inputs.

A repair must change what the failing test complains of, and nothing else. What it complains of is written nowhere, so
it is taken from the original's run: an input is *explained* where the original goes through all the code that some
input of a failing test goes through, whose answer the candidate changes. On other inputs, where the original returned a
value or refused the input, a different answer is a change that the task gives no reason for.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
    changed_tested: int = 0
    """Inputs of the failing tests that are answered differently."""
    neighbours: int = 0
    """Variants of these inputs."""
    changed_neighbours: int = 0
    """Variants of these inputs that are answered differently, or that the original failed on."""
    stale: Difference | None = None
    """A call that the candidate answers as the call before it, where that is what is to repair."""
    equal: Difference | None = None
    """An answer that equals everything."""


def compare_behaviour(original: Behaviour, candidate: Behaviour, failing: Collection[str]) -> Comparison:
    """Compare a candidate with the original.

    Args:
        failing: ids of the tests that fail in the original, as pytest names them.
    """
    both = [
        (one, candidate.answers[key]) for key, one in original.answers.items() if key in candidate.answers
    ]
    tested = [pair for pair in both if pair[0].exact and not pair[0].tests.isdisjoint(failing)]
    reasons = [one for one, after in tested if not same_answer(one, after)]
    explained: list[Difference] = []
    unexplained: list[Difference] = []
    unchanged = neighbours = changed_neighbours = 0
    for before, after in both:
        same = same_answer(before, after)
        reason = any(is_like(before, one) for one in reasons)
        unchanged += same and not reason
        if reason and not before.exact:
            neighbours += 1
            changed_neighbours += not same or not before.behaved
        if not same and reason:
            explained.append(Difference(before, after))
        elif not same and before.behaved:
            unexplained.append(Difference(before, after))
    if _few(unexplained, len(explained), failing):
        explained, unexplained = explained + unexplained, []
    return Comparison(
        len(both), unchanged, tuple(explained), tuple(unexplained), len(reasons), neighbours, changed_neighbours,
        _stale(both, tested), next((Difference(*pair) for pair in both if pair[1].equal and not pair[0].equal), None),
    )  # fmt: skip


def _few(unexplained: Sequence[Difference], explained: int, failing: Collection[str]) -> bool:
    """Whether the unexplained differences are few, and all on variants of the failing tests' inputs: shorter ones
    mostly, which go only a part of the way."""
    return 4 * len(unexplained) <= explained and all(
        not one.before.exact and not one.before.tests.isdisjoint(failing) for one in unexplained
    )


def is_like(one: Answer, reason: Answer) -> bool:
    """Whether a call goes through all the code of the same function that another one goes through."""
    return one.function == reason.function and one.pair >= reason.pair and reason.path <= one.path


def _stale(
    both: Sequence[tuple[Answer, Answer]], tested: Sequence[tuple[Answer, Answer]]
) -> Difference | None:
    """A stale answer of the candidate, in a function whose stale answers are what the failing tests complain of."""
    wrong = {before.function for before, after in tested if before.stale and not after.stale}
    found = [Difference(*pair) for pair in both if pair[1].stale and pair[1].function in wrong]
    return min(found, key=lambda one: len(one.before.input), default=None)


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
