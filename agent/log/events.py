"""The event log of a run: append-only JSON lines, one event a line, readable after kill -9.

`<run>/events.jsonl` holds the events, `<run>/blobs/<sha256>` every text over a kilobyte, once. A model
request is a list of references to its messages, so no event repeats the prompt so far, and a long run
takes linear space. Each line is written by one `write` on an O_APPEND descriptor; a torn last line (power
or kill in the middle) is dropped on reading, and said. Each line ends with a checksum of itself and of the
lines before it, so that what is read is what was written (logs of the first version have none). Everything
else is derived from this log: the terminal view, `agent show`, replay, resume, and self-distillation prompts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from agent.log.blobs import ROOM, read_text, store_text
from agent.log.blobs import LogFault as LogFault
from sandbox.files.jsonl import DamagedLine, JsonLines, Scan, as_json, scan
from sandbox.reading import MEGABYTE, Unreadable, read_regular

SCHEMA = 1
"""Version of the events below. Readers accept every version up to this one."""

_MOST_LOG_BYTES = 512 * MEGABYTE


class _Event(BaseModel):
    # `ignore`, not `forbid`: an old reader meets logs of a newer minor version.
    # No infinities: times and counts are added up.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    at: float = Field(default_factory=time.time)
    """Unix seconds."""


Text = str
"""Either the text itself, or `sha256:<hex>` where it is a blob. `RunLog.text` resolves it."""


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


class ForksFound(_Event):
    """Where the model would leave a place's code (`agent.asking.forks`), as they are taken in turn."""

    type: Literal["forks_found"] = "forks_found"
    place: str
    digest: str
    """Of the request whose answer the code would be."""
    written: list[str]
    """Beginnings of the code's body, each with its last word replaced."""


class StepStarted(_Event):
    type: Literal["step_started"] = "step_started"
    step: int
    requests: int
    samples: int


class MessageRef(BaseModel):
    model_config = ConfigDict(frozen=True)

    role: str
    """`text` for a prompt that is no chat."""
    content: Text


class ModelAsked(_Event):
    type: Literal["model_asked"] = "model_asked"
    step: int
    request: int
    """Within the step."""
    digest: str
    """Of the whole request: messages, prefill, decoding, model."""
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
    """Something a person should know: a server that was missing, a check that was skipped."""

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


class DiffApplied(_Event):
    type: Literal["diff_applied"] = "diff_applied"
    repo: str


Event = Annotated[
    RunStarted
    | RunResumed
    | BaselineTaken
    | PlacesRanked
    | ForksFound
    | StepStarted
    | ModelAsked
    | ModelAnswered
    | CandidateRuled
    | StepEnded
    | NoteMade
    | RunEnded
    | DiffApplied,
    Field(discriminator="type"),
]
_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)


@dataclass(frozen=True, slots=True)
class LogRead:
    """What a log holds. `torn` is True when a broken last line was dropped."""

    events: tuple[Event, ...]
    torn: bool


def read_events(path: Path) -> LogRead:
    """Read `events.jsonl`.

    Raises:
        LogFault: no such file, a damaged line that is not the last, or a schema newer than this reader.
    """
    raw = _read(path)
    scanned = _scan(path, raw)
    return LogRead(tuple(scanned.rows), torn=scanned.end < len(raw))


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, most_bytes=_MOST_LOG_BYTES)
    except (OSError, Unreadable) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError | Unreadable) -> LogFault:
    reason = error.strerror if isinstance(error, OSError) else error
    return LogFault(f"cannot read {path}: {reason}", fix="list the runs with `agent runs`")


def _scan(path: Path, raw: bytes) -> Scan[Event]:
    scanned: Scan[Event] = scan(raw, _parse, sealed=True)
    if scanned.damaged is not None:
        raise _damage(path, scanned.damaged)
    _check_schema(path, scanned.rows)
    return scanned


def _damage(path: Path, line: int) -> LogFault:
    return LogFault(
        f"{path}, line {line}, is damaged",
        fix=f"keep the {line - 1} good lines before it (`head -n {line - 1}`), or delete the run",
    )


def _parse(line: bytes) -> Event | None:
    try:
        return _ADAPTER.validate_json(line)
    except (ValidationError, RecursionError):
        return None


def _check_schema(path: Path, events: list[Event]) -> None:
    first = events[0] if events else None
    if first is not None and not isinstance(first, RunStarted):
        raise LogFault(f"{path} does not begin with run_started", fix="delete the run; its log is damaged")
    if isinstance(first, RunStarted) and first.schema_version > SCHEMA:
        raise LogFault(f"{path} was written by a newer Forklock", fix="upgrade Forklock to read it")


class RunLog:
    """Writer and reader of one run's folder. One writer at a time; `append` may be called from threads."""

    def __init__(self, folder: Path, *, adopted: bool = False) -> None:
        self.folder = folder
        self.adopted = adopted
        """Copied in from elsewhere: can be looked at, and is no word of the user's."""
        self.path = folder / "events.jsonl"
        self._blobs = folder / "blobs"
        self._listeners: list[Callable[[Event], None]] = []
        self._lines: JsonLines[Event] | None = None

    # -- writing ------------------------------------------------------------------------------------

    def open_for_append(self) -> bool:
        """Make the folder, cut a torn last line off. Returns True where one was cut.

        Raises:
            LogFault: another process writes it, it is no regular file, or it is damaged before its last line.
        """
        self._blobs.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            lines: JsonLines[Event] = JsonLines(
                self.path, _parse, sealed=True, private=True, most_bytes=_MOST_LOG_BYTES
            )
        except DamagedLine as error:
            raise _damage(self.path, error.line) from error
        except BlockingIOError as error:
            raise LogFault(
                f"run {self.folder.name} is being worked on by another process", fix="wait for it, or end it"
            ) from error
        except (OSError, Unreadable) as error:
            raise _unreadable(self.path, error) from error
        try:
            _check_schema(self.path, lines.rows)
        except LogFault:
            lines.close()
            raise
        lines.rows.clear()
        self._lines = lines
        return lines.torn_bytes > 0

    def append(self, event: Event) -> None:
        """Write one event.

        Raises:
            LogFault: the disk is full or the folder went away; what was written before stays readable.
        """
        if self._lines is None:
            raise LogFault("the run's log is not open")
        try:
            self._lines.append(as_json(event), after=lambda: self._tell(event))
        except OSError as error:
            raise LogFault(f"cannot write {self.path}: {error.strerror}", fix=ROOM) from error

    def _tell(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)

    def store(self, text: str) -> Text:
        """Redact `text`; keep it inline when short, else as a blob named by its hash."""
        return store_text(self._blobs, text)

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Have `listener` called with each event after it is written."""
        self._listeners.append(listener)

    def close(self) -> None:
        if self._lines is not None:
            self._lines.close()
            self._lines = None

    # -- reading ------------------------------------------------------------------------------------

    def text(self, text: Text) -> str:
        """The text behind a reference.

        Raises:
            LogFault: the blob is missing or does not match its hash.
        """
        return read_text(self._blobs, text)

    def read(self) -> LogRead:
        return read_events(self.path)
