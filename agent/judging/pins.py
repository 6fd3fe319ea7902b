"""Does the check pin the change? Mutants of a candidate that pass as well, and that answer differently.

In: a candidate that passes, and how it and the original behave. Out: what speaks against the candidate. Its rivals are
copies of it with one edit in the changed lines that pass the check and the suite, too, and answer some further input
differently. The tests do not decide between a candidate and its rivals. What the original answers does, where it is one
of the two answers: the change that keeps more behaviour is all that the task gives a reason for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from forklock.agent.contract import AgentFault
from forklock.agent.repo import apply_diff
from forklock.sandbox import Sandbox
from forklock.tools.behaviour.ask import Behaviour, Plan, Target
from forklock.tools.behaviour.compare import Difference, disagreements, same_answer
from forklock.tools.behaviour.mutants import Mutant, mutants
from forklock.tools.behaviour.pinning import passing_mutants
from forklock.tools.contract import ToolFault
from forklock.tools.edits.hunks import all_hunks_of
from forklock.tools.index.files import text_inside
from forklock.tools.languages.known import language_of

MOST = 120
"""Mutants of a candidate."""
SECONDS = 60.0
"""Wall-clock seconds for all mutants of a candidate."""
_RUN_S = 5.0
"""Seconds for one run of the tests of a mutant; mutants often never end."""


@dataclass(frozen=True, slots=True)
class Rival:
    """A mutant of a candidate that passes as well."""

    mutant: Mutant
    own: Behaviour
    """The candidate's."""
    apart: tuple[Difference, ...]
    """Inputs on which candidate and mutant answer differently: `before` is the candidate's answer."""


@dataclass(slots=True)
class Memory:
    """What the verdicts of one run have found out, so that a later one does not ask again.

    Safe to fill from threads: the same key always gets the same value.
    """

    plans: dict[tuple[str, str, tuple[Target, ...]], Plan | None] = field(default_factory=dict)
    """By command, folder and changed functions."""
    behaviours: dict[tuple[tuple[Plan, ...], str], Behaviour | None] = field(default_factory=dict)
    """By plans and diff."""
    rivals: dict[tuple[tuple[Plan, ...], str], list[Rival]] = field(default_factory=dict)
    """By plans and diff."""
    shorter: dict[str, str] = field(default_factory=dict)
    """Diffs without idle lines, by the whole diff."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A rival that speaks against its candidate."""

    rival: Rival
    on: Difference
    """An input on which the two answer differently."""
    smaller: bool
    """The rival answers it as the original does: it changes less. False: nothing tells which of the two is right."""
    inputs: int
    """As many inputs are alike."""

    def __str__(self) -> str:
        what = f"with {self.rival.mutant} it passes as well"
        if self.smaller:
            return f"{what}, and keeps what the original answers on {self.inputs} further inputs"
        return f"{what}, and answers {self.inputs} further inputs differently: the tests do not decide"


def doubt_of(original: Behaviour, found: Sequence[Rival]) -> Doubt | None:
    """The rival that speaks most against a candidate; None where none does."""
    doubts = [doubt for rival in found if (doubt := _doubt(original, rival)) is not None]
    return max(doubts, key=lambda one: (one.smaller, one.inputs), default=None)


def _doubt(original: Behaviour, rival: Rival) -> Doubt | None:
    own, other, neither = kept(original, rival)
    if len(other) > len(own):
        return Doubt(rival, min(other, key=_for_people), True, len(other))
    if neither and not own:
        return Doubt(rival, min(neither, key=_for_people), False, len(neither))
    return None


def kept(original: Behaviour, rival: Rival) -> tuple[list[Difference], list[Difference], list[Difference]]:
    """The inputs that tell a candidate and its rival apart, by who keeps the original's answer: the candidate, the
    rival, neither. Where the rival crashes, it is no rival."""
    keys = {id(answer): key for key, answer in rival.own.answers.items()}
    found: tuple[list[Difference], list[Difference], list[Difference]] = ([], [], [])
    for one in rival.apart:
        before = original.answers.get(keys[id(one.before)])
        if before is not None and before.behaved and same_answer(before, one.before):
            found[0].append(one)
        elif before is not None and before.behaved and same_answer(before, one.after):
            found[1].append(one)
        elif one.after.behaved:
            found[2].append(one)
    return found


def _for_people(one: Difference) -> tuple[bool, bool, int]:
    return one.before.pair, not one.before.exact, len(one.before.input)


def rivals(
    original: Sandbox, diff: str, plans: Sequence[Plan], own: Behaviour, failing: Collection[str]
) -> list[Rival]:
    """The mutants of a candidate's changed lines that pass and behave differently.

    Args:
        plans: what the candidate was asked; the last one has the most tests.
        own: how it answered.
        failing: tests that the candidate makes pass.

    Raises:
        SandboxFault: the sandbox failed.
    """
    with original.fork() as fork:
        try:
            apply_diff(fork.root, diff)
        except AgentFault:
            return []
        made = list(_mutants(original.root, fork.root, diff))
        try:
            passed = passing_mutants(fork, plans[-1], made, first=failing, run_s=_RUN_S, timeout_s=SECONDS)
        except ToolFault:  # nowhere to put the report: a run does not end for want of evidence
            return []
    found = []
    for number, behaviour in passed.items():
        apart = disagreements(own, behaviour)
        if apart:
            found.append(Rival(made[number][1], own, tuple(apart)))
    return found


def _mutants(before: Path, after: Path, diff: str) -> Iterator[tuple[str, Mutant]]:
    """Mutants of the changed lines, by file."""
    changed = _changed(diff)
    texts = {
        path: text
        for path in changed
        if (text := text_inside(after, path, "strict")) and text_inside(before, path, "strict") is not None
    }
    for path, text in texts.items():
        yield from ((path, mutant) for mutant in mutants(text, changed[path], MOST // len(texts) or 1))


def _changed(diff: str) -> dict[str, set[int]]:
    """Lines that a diff adds, from 1, by Python file; without files that it adds."""
    found: dict[str, set[int]] = {}
    for hunk in all_hunks_of(diff):
        if hunk.old_path != hunk.new_path or language_of(hunk.new_path).name != "python":
            continue
        number = hunk.new_start
        for line in hunk.lines:
            if line.startswith("+"):
                found.setdefault(hunk.new_path, set()).add(number)
            number += not line.startswith("-")
    return found
