"""The seam of the room: what a run is asked, what it may spend, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from models.contract import Completion, Request
from tools.contract import Edit, Symbol


class AgentFault(Exception):
    """A run cannot start or go on. `fix` says what the user can do next."""

    exit_code = 2

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


class Outcome(StrEnum):
    """Why a run ended. Exactly one of them is a success."""

    SOLVED = "solved"
    """The task's own checks pass and nothing that passed before fails."""
    UNVERIFIED = "unverified"
    """No check tells whether it is right: the change that most samples agree on, and that breaks nothing."""
    STEPS = "out of steps"
    TOKENS = "out of tokens"
    SECONDS = "out of time"
    COST = "out of money"
    STUCK = "stuck"
    """Several steps brought neither a new candidate nor a better one."""
    NO_PLACE = "nowhere to edit"
    """Nothing in the repo could be tied to the failing checks."""
    INTERRUPTED = "interrupted"
    FAULT = "fault"
    """The sandbox, the model or a tool failed; the message says which."""


WITH_CHANGE = (Outcome.SOLVED, Outcome.UNVERIFIED)
"""Ends whose diff is meant to be taken; the others' is progress at most."""


class Hop(StrEnum):
    """Stations of a candidate, in order. A verdict names the one where it fell, or `TESTS` passed."""

    PARSE = "parse"
    """Words to edit: no code block, unfinished answer."""
    EDIT = "edit"
    """Edit to text: refused, or the result does not parse."""
    DUPLICATE = "duplicate"
    """Same program as the original or as an earlier candidate."""
    DIAGNOSE = "diagnose"
    TESTS = "tests"
    REGRESSION = "regression"
    """The task's checks pass, but something that passed before fails."""
    UNVERIFIED = "unverified"
    """Nothing that passed before fails, and there is no check that could say more."""
    SOLVED = "solved"


class Limits(BaseModel):
    """What a run may spend. None is no bound."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=4, ge=1)
    """Wide steps."""
    tokens: int | None = Field(default=200_000, ge=1)
    """Prompt plus completion tokens, as the engine counts them."""
    seconds: float | None = Field(default=1800.0, gt=0)
    cost_usd: float | None = Field(default=None, gt=0)


@dataclass(frozen=True, slots=True)
class Task:
    """What the user wants, and how it is checked."""

    statement: str
    repo: Path
    """The user's working tree; never written before `apply`."""
    test_command: str
    """Fails now and must pass; in an unverified run, passes now and must go on passing."""
    regression_command: str | None = None
    """Run before and after on a candidate whose checks pass; None checks `test_command` alone."""
    cwd: str = "."
    """The folder that `test_command` runs in, below the repository's top: where the user stands."""
    regression_cwd: str = "."


@dataclass(frozen=True, slots=True)
class Place:
    """Where a candidate may edit: a definition, or a whole file (`symbol` None)."""

    path: str
    symbol: Symbol | None
    reasons: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return f"{self.path}:{self.symbol.name_path}" if self.symbol else self.path


@dataclass(frozen=True, slots=True)
class Action:
    """What a model wants done: edits that belong together. How it says so is a `protocol`."""

    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the deterministic hops said of one candidate."""

    step: int
    index: int
    """Within the step."""
    place: str
    hop: Hop
    """Where it fell, or `SOLVED`."""
    reason: str
    """For people and for the model's next try; at most a few lines."""
    diff: str = ""
    new_diagnostics: int = 0
    tests_passed: int = 0
    tests_failed: int = 0
    broken: int = 0
    """Tests that passed before and do not now."""
    seconds: float = 0.0
    program: str = ""
    """Key of the program, equal for equal programs; "" where the candidate made none."""

    def rank(self, agreement: int = 1) -> tuple[int, int, int, int, int, int]:
        """Greater is better: how far it came, what the tools say, then how many siblings made the same
        program, then the smaller diff."""
        return (
            int(self.hop is Hop.SOLVED),
            -self.broken,
            self.tests_passed,
            _REACHED[self.hop],
            -self.new_diagnostics,
            agreement * 1000 - min(len(self.diff), 100_000),
        )


_REACHED = {hop: order for order, hop in enumerate(Hop)}


@dataclass(frozen=True, slots=True)
class Reading:
    """What one answer holds."""

    action: Action | None
    """None where the answer cannot be read."""
    fault: str = ""
    """What was wrong with the answer, for the model's next try; "" where it could be read."""
    second: Action | None = None
    """A second candidate: the answer's first statement alone, put into the code as it was. Costs no tokens."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One request of a step, where its candidates edit, and how its answers are read."""

    number: int
    place: Place
    request: Request
    prompt_tokens: int
    read: Callable[[Completion], Reading]
    """Never raises."""


@dataclass(slots=True)
class Candidate:
    """A program on its way through the hops: an answer, or one that was spliced from it."""

    index: int
    """The sample's number within the step. A spliced candidate has its sample's plus the number of samples."""
    lane: Lane
    completion: Completion
    action: Action | None = None
    ruling: Ruling | None = None
