"""The events of a run, as its log holds them (`forklock.agent.log.events`). Old logs always load.

A model request is a list of references to its messages, so that no event repeats the prompt so far and a long run takes
linear space.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from forklock.agent.log.kinds.event import LoggedEvent as _Event
from forklock.agent.log.kinds.event import MessageRef as MessageRef
from forklock.agent.log.kinds.event import Text as Text
from forklock.agent.log.kinds.turns import RolloutEnded as RolloutEnded
from forklock.agent.log.kinds.turns import RolloutStarted as RolloutStarted
from forklock.agent.log.kinds.turns import ToolAnswered as ToolAnswered
from forklock.agent.log.kinds.turns import ToolCalled as ToolCalled
from forklock.agent.log.kinds.turns import TurnAnswered as TurnAnswered
from forklock.agent.log.kinds.turns import TurnAsked as TurnAsked
from forklock.tools.contract import TestReport

SCHEMA = 2
"""Version of the events. Readers accept every version up to this one. 2 has turns of a model that drives."""


class ModelSource(BaseModel):
    """How the model of a run was opened: what a resumed run opens again."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    model: str
    """As the user wrote it; a folder as an absolute path, a URL without a password."""
    engine: str
    adapter: str
    """A version of the registry, a folder, or `none`."""
    endpoint: str = ""
    """`Engine.endpoint`: which server answered; "" in process."""


class RunStarted(_Event):
    type: Literal["run_started"] = "run_started"
    schema_version: int = SCHEMA
    run_id: str
    task: Text
    repo: str
    base_commit: str | None
    test_command: str
    cwd: str = "."
    """The folder that it runs in, below `repo`."""
    regression_command: str | None
    regression_cwd: str = "."
    options: dict[str, Any]
    """Effective settings: width, limits, decoding, protocol, sandbox."""
    model: str
    """`ModelIdentity` as JSON."""
    source: ModelSource | None = None
    """None in logs of the first version, which cannot be resumed."""


class RunResumed(_Event):
    type: Literal["run_resumed"] = "run_resumed"
    dropped: bool
    """A torn last line was dropped."""


class BaselineTaken(_Event):
    type: Literal["baseline_taken"] = "baseline_taken"
    command: str
    report: Text
    """`TestReport` as JSON."""
    role: Literal["task", "regression"] = "task"


class LoggedPlace(TypedDict):
    path: str
    name_path: str
    score: float
    reasons: list[str]


class PlacesRanked(_Event):
    type: Literal["places_ranked"] = "places_ranked"
    places: list[LoggedPlace]
    """Best first."""


class TestTried(_Event):
    """A test that the model wrote, and what became of it (`forklock.agent.reproduction`)."""

    __test__ = False

    type: Literal["test_tried"] = "test_tried"
    sample: int
    """The answer that it comes from: `ModelAnswered` of step 0, counted over all requests."""
    name: str
    verdict: str
    """`kept`, or why it was rejected."""
    detail: Text = ""
    """What the runner said of it."""
    source: Text = ""
    """A whole file with this test alone."""
    digest: str = ""
    """Hash of the test without its name: equal tests are run once."""
    message: str = ""
    """How it fails, without what changes from run to run."""
    entered: list[str] = Field(default_factory=list)
    """Functions of the repository that it enters, as `path:line`."""
    reach: float = 0.0
    """How much of what the statement names it runs, 0 to 1."""


class ChosenTest(TypedDict):
    name: str
    samples: int
    """Independent samples that agree on it."""
    says: str
    """What it expects and what happens, in a line."""


class TestsChosen(_Event):
    """The tests that are the check of a run that was given none. Without a path none was found."""

    __test__ = False

    type: Literal["tests_chosen"] = "tests_chosen"
    path: str = ""
    source: Text = ""
    diff: Text = ""
    """Adds the file."""
    command: str = ""
    tests: list[ChosenTest] = Field(default_factory=list)
    samples: int = 0
    """Answers that were looked at."""
    doubt: str = ""
    """Why a change that passes them is still in doubt."""
    rejected: dict[str, int] = Field(default_factory=dict)
    """Rejected tests, by reason."""


class ForksFound(_Event):
    """Forks of a place's code (`forklock.agent.asking.ways.fork`), in the order of their turns."""

    type: Literal["forks_found"] = "forks_found"
    place: str
    digest: str
    """Digest of the request that the code would answer."""
    written: list[str]
    """Beginnings of the code's body, each with its last word replaced."""


class StepStarted(_Event):
    type: Literal["step_started"] = "step_started"
    step: int
    requests: int
    samples: int


class ModelAsked(_Event):
    type: Literal["model_asked"] = "model_asked"
    step: int
    request: int
    """Within the step."""
    digest: str
    """Digest of the whole request: messages, prefill, decoding, model."""
    place: str
    messages: list[MessageRef]
    prefill: str
    decoding: dict[str, Any]
    prompt_tokens: int


class ModelAnswered(_Event):
    type: Literal["model_answered"] = "model_answered"
    step: int
    request: int
    sample: int
    digest: str
    text: Text
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    cost_usd: float | None = None
    model: str = ""
    tokens: Text = ""
    """JSON: pairs of a token's text and its log probability; "" where the engine gives none."""
    cached_tokens: int | None = None
    """Prompt tokens that were in the server's cache; None where the server does not say."""


class CandidateRuled(_Event):
    type: Literal["candidate_ruled"] = "candidate_ruled"
    step: int
    index: int
    place: str
    hop: str
    reason: Text
    diff: Text
    new_diagnostics: int
    tests_passed: int
    tests_failed: int
    broken: int
    seconds: float
    program: str = ""
    """Key of the program, equal for equal programs; "" where the candidate made none."""


class LoggedPassing(TypedDict):
    name: str
    """`STEP.INDEX`."""
    samples: int
    """Samples that wrote this program."""
    asked: int
    """Further inputs on which it was compared with the original; 0 where it could not be compared."""
    changed: int
    """Inputs of these that it answers differently."""
    reasons: list[str]
    """What speaks against it; empty where nothing does."""


class VerdictGiven(_Event):
    """Which of the passing candidates is taken, and whether the evidence says that it is right."""

    type: Literal["verdict_given"] = "verdict_given"
    step: int
    """The step after which it was given."""
    name: str
    """`STEP.INDEX` of the candidate."""
    sure: bool
    why: str
    question: Text
    """An input on which candidates, or candidate and original, answer differently; "" where there is none."""
    diff: Text
    """The change: the candidate's, without lines that change nothing the checks see."""
    passing: list[LoggedPassing]
    final: bool
    """False: the run goes on for one more step, since candidates are few."""
    seconds: float = 0.0
    """Wall-clock of weighing the evidence."""


class StepEnded(_Event):
    type: Literal["step_ended"] = "step_ended"
    step: int
    best: int | None
    """Index of the best candidate of the step."""
    advanced: bool
    """The next step builds on the best candidate's tree."""
    discarded_tokens: int = 0
    """Tokens of samples that were stopped before their end."""


class NoteMade(_Event):
    """A note to the user: a server that was missing, a check that was skipped."""

    type: Literal["note_made"] = "note_made"
    text: str


class RunEnded(_Event):
    type: Literal["run_ended"] = "run_ended"
    outcome: str
    detail: str
    diff: Text
    steps: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    seconds: float
    """Wall-clock over all sittings of the run."""
    rollouts: int = 0
    """Rollouts in which the model drove."""
    turns: int = 0
    """Turns of all rollouts."""


class ChangedFile(BaseModel):
    """A file that an applied diff changed (`forklock.sandbox.git.patch.Changed`)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    before: str
    """Digest of its state; "" for no file."""
    after: str


class DiffApplied(_Event):
    type: Literal["diff_applied"] = "diff_applied"
    repo: str
    diff: Text | None = None
    """None in logs of earlier versions: the run's own."""
    candidate: str = ""
    """`STEP.INDEX`; "" for the run's own diff."""
    files: list[ChangedFile] = Field(default_factory=list)
    commit: str | None = None
    """The commit that was made of it."""


class DiffUndone(_Event):
    """The diff that was applied last was taken back."""

    type: Literal["diff_undone"] = "diff_undone"
    repo: str


Event = Annotated[
    RunStarted
    | RunResumed
    | BaselineTaken
    | PlacesRanked
    | TestTried
    | TestsChosen
    | ForksFound
    | StepStarted
    | ModelAsked
    | ModelAnswered
    | CandidateRuled
    | VerdictGiven
    | RolloutStarted
    | TurnAsked
    | TurnAnswered
    | ToolCalled
    | ToolAnswered
    | RolloutEnded
    | StepEnded
    | NoteMade
    | RunEnded
    | DiffApplied
    | DiffUndone,
    Field(discriminator="type"),
]
EventLine: TypeAdapter[Event] = TypeAdapter(Event)
"""Parses one line of a log."""


@lru_cache(maxsize=1)
def _report_adapter() -> TypeAdapter[TestReport]:
    return TypeAdapter(TestReport)


def report_to_json(report: TestReport) -> str:
    """Formats a test report for `BaselineTaken`."""
    return _report_adapter().dump_json(report).decode()


def report_from_json(text: str) -> TestReport:
    """Parses the report of a `BaselineTaken`.

    Raises:
        ValueError: it is none.
    """
    return _report_adapter().validate_json(text)
