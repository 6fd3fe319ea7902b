"""The types that the wing shares: a proposed bug, a task, what the repository's suite looks like, a verdict."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict

from forklock.sandbox.fault import Fault

Split = Literal["practice", "development", "test"]
SPLITS: tuple[Split, ...] = ("practice", "development", "test")


class TaskFault(Fault):
    """Tasks cannot be made, read or judged. `fix` says what the user can do next."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Bug:
    """A change of the repository that may make its tests fail. Nothing has been run."""

    kind: str
    """Name of the kind that proposes it."""
    files: dict[str, str]
    """The whole new text of each changed file, by path."""
    places: tuple[str, ...]
    """`path:name path` of each definition that it changes."""
    source: str
    """Where it comes from: a rule, a commit, a run."""
    message: str = ""
    """What a commit or a run said of its repair; "" where nothing did."""
    when: float | None = None
    """Unix seconds of the commit."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class RepairTask(_Frozen):
    """A bug that was proven: the suite passes before, these tests fail after, each time."""

    task_id: str
    kind: str
    ground: str
    """Digest of the state of the repository that it was made on."""
    base_commit: str
    """The last commit of that state."""
    split: Split
    places: tuple[str, ...]
    statement: str
    bug: str
    """Diff that puts the bug in."""
    fix: str
    """Diff that takes it out: the reference."""
    command: str
    """The check that fails now and must pass."""
    cwd: str = "."
    fail_to_pass: tuple[str, ...]
    pass_to_pass: tuple[str, ...]
    test_files: tuple[str, ...]
    source: str = ""
    when: float | None = None
    seconds: float = 0.0
    """Wall-clock seconds of one run of its check."""


class Ground(_Frozen):
    """A state of the repository, and what its suite tells of it."""

    digest: str
    commit: str
    seed: int = 0
    """Seed of the splits and of what is drawn."""
    command: str
    cwd: str = "."
    tests: tuple[str, ...]
    """Tests that passed each time."""
    excluded: dict[str, str]
    """Tests that count for nothing, with the reason."""
    frozen: tuple[str, ...]
    """Files that judge, and are not changed."""
    traced: bool
    """Whether `reach` is known. Else each test may reach each definition."""
    reach: dict[str, tuple[int, ...]]
    """Definition (`path:name path`) → indices of the tests that enter it."""
    split: dict[str, Split]
    """Definition → its split. One that is not here was not known when the split was drawn."""
    cutoff: float | None = None
    """Unix seconds; repairs of later commits are for the test split alone."""
    seconds: float
    """Wall-clock seconds of the suite."""

    def reaching(self, places: tuple[str, ...]) -> list[str]:
        """Return the tests that reach one of these definitions."""
        if not self.traced:
            return list(self.tests)
        found = sorted({index for place in places for index in self.reach.get(place, ())})
        return [self.tests[index] for index in found]


Outcome = Literal["right", "differs", "fails", "unknown"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a repair of a task is worth."""

    outcome: Outcome
    """`right`: the tests pass and it behaves as the original. `differs`: the tests pass, and an input is answered
    otherwise. `unknown`: the tests pass, and no further input could be compared. `fails`: the tests fail."""
    reason: str
    """Why, for people. For `differs` it has the input."""
    compared: int = 0
    """Further inputs on which it was compared with the original."""

    @property
    def right(self) -> bool:
        return self.outcome == "right"


@dataclass(slots=True)
class Tally:
    """What came of the proposed bugs."""

    valid: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    """By kind, of each that was tried."""


def digest_of(*words: str) -> str:
    """Return a short hash of some texts."""
    return hashlib.sha256("\x1f".join(words).encode("utf-8", "surrogatepass")).hexdigest()[:16]
