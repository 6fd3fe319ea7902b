"""The types that the room shares: what a run is asked, what it may spend, how it ends, and what a step handles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from forklock.models.contract import Completion, Request
from forklock.sandbox.fault import Fault
from forklock.tools.contract import Edit, Symbol

Strategy = Literal["auto", "repair", "drive"]
"""Which lane works: harness finds and model rewrites, model drives, or what the task suggests and then the other."""
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


class AgentFault(Fault):
    """A run cannot start or go on. `fix` says what the user can do next."""

    exit_code = 2


class Outcome(StrEnum):
    """Why a run ended."""

    SOLVED = "solved"
    """The task's own checks pass, nothing that passed before fails, and the evidence says that the change is right."""
    IN_DOUBT = "passes, in doubt"
    """The checks pass and nothing that passed before fails, but the evidence does not say that the change is right."""
    OWN_TEST = "solved by its own test"
    """No check was given. Tests that the run wrote itself from the statement failed, and pass now."""
    TEST_WRITTEN = "test written"
    """Only tests were asked for. They fail now for the statement's reason."""
    UNVERIFIED = "unverified"
    """No check can tell whether it is right. The change breaks nothing, and most samples agree on it."""
    STEPS = "out of steps"
    TOKENS = "out of tokens"
    SECONDS = "out of time"
    COST = "out of money"
    STUCK = "stuck"
    """Several steps in a row made neither a new candidate nor a better one."""
    NO_TEST = "no test found"
    """No check was given, and no test was written that fails now for the statement's reason."""
    NO_PLACE = "nowhere to edit"
    """No definition in the repository could be tied to the failing checks."""
    INTERRUPTED = "interrupted"
    FAULT = "fault"
    """The sandbox, the model or a tool failed; the message says which."""


WITH_CHANGE = (Outcome.SOLVED, Outcome.IN_DOUBT, Outcome.OWN_TEST, Outcome.TEST_WRITTEN, Outcome.UNVERIFIED)
"""Outcomes whose diff is a whole change. Other diffs are progress at most."""


def is_success(outcome: str, *, accept_doubt: bool) -> bool:
    """Whether a run that ended so has done its work: exit code 0, and `--in-place` applies its change."""
    return outcome in WITH_CHANGE and (accept_doubt or outcome != Outcome.IN_DOUBT)


class Hop(StrEnum):
    """The checks that a candidate goes through, in order. A ruling names the one where it failed, or `SOLVED`."""

    PARSE = "parse"
    """From answer to edit: no code block, or an unfinished answer."""
    EDIT = "edit"
    """From edit to text: refused, or the result does not parse."""
    DUPLICATE = "duplicate"
    """The same program as the original or as an earlier candidate."""
    DIAGNOSE = "diagnose"
    TESTS = "tests"
    REGRESSION = "regression"
    """The task's checks pass, but something that passed before fails."""
    UNVERIFIED = "unverified"
    """Nothing that passed before fails, and no check can tell more."""
    SOLVED = "solved"


class Limits(BaseModel):
    """What a run may spend. None means no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=4, ge=1)
    """Wide steps."""
    tokens: int | None = Field(default=200_000, ge=1)
    """Prompt plus completion tokens, as the engine counts them."""
    seconds: float | None = Field(default=1800.0, gt=0)
    cost_usd: float | None = Field(default=None, gt=0)


@dataclass(frozen=True, slots=True)
class OwnTests:
    """Tests that a run wrote itself (`forklock.agent.reproduction`), and how far they can be trusted."""

    path: str
    """Where they stand, below the repository's top."""
    source: str
    tests: int
    """Tests that fail now in different ways."""
    samples: int
    """Independent samples that agree on them."""
    doubt: str = ""
    """Why they alone do not show that a change is right; "" where several tests agree."""


def by_own_test(own: OwnTests, detail: str) -> tuple[Outcome, str]:
    """Outcome and detail of a run whose change passes its own tests."""
    count = "1 test" if own.tests == 1 else f"{own.tests} tests"
    agree = "1 sample" if own.samples == 1 else f"{own.samples} samples"
    words = f"its check is {count} that it wrote itself ({agree} agree): {own.path}"
    if own.doubt:
        return Outcome.IN_DOUBT, f"{own.doubt}; {words}"
    return Outcome.OWN_TEST, f"{detail}; {words}" if detail else words


@dataclass(frozen=True, slots=True)
class Task:
    """What the user wants, and how it is checked."""

    statement: str
    repo: Path
    """The user's working tree. It is not written before `agent apply`."""
    test_command: str
    """Fails now and must pass. In an unverified run it passes now and must still pass."""
    regression_command: str | None = None
    """Suite that runs before and after, on candidates whose check passes. None: only `test_command` is run."""
    cwd: str = "."
    """The folder that `test_command` runs in, below the repository's top: where the user stands."""
    regression_cwd: str = "."
    own_tests: OwnTests | None = None
    """The tests that `test_command` runs, where the run wrote them itself."""
    first_files: Mapping[str, str] = field(default_factory=dict)
    """In a project from nothing: the texts that it begins with, by path. Its check is the tests that it will have."""


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
    """What a model wants to change: edits that belong together, or the whole tree that it made."""

    edits: tuple[Edit, ...]
    patch: str = ""
    """In place of edits: a git diff against the workspace, over any number of files."""
    tests: str = ""
    """Beside `patch`: a git diff that adds tests of the model's own. They are part of the change, and judge nothing."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """The result of the deterministic hops for one candidate."""

    step: int
    index: int
    """Within the step."""
    place: str
    hop: Hop
    """Where it failed, or `SOLVED`."""
    reason: str
    """Why, in a few lines: for people and for the model's next try."""
    diff: str = ""
    new_diagnostics: int = 0
    tests_passed: int = 0
    tests_failed: int = 0
    broken: int = 0
    """Tests that passed before and do not now."""
    seconds: float = 0.0
    program: str = ""
    """Key that is equal for equal programs; "" where the candidate made none."""

    def rank(self, agreement: int = 1) -> tuple[int, int, int, int, int, int]:
        """Sort key, greater is better: how far it came, what the tools say, how many samples made the same program,
        and the smaller diff."""
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
