"""The event log of a run: append-only JSON lines, one event a line, readable after kill -9.

`<run>/events.jsonl` holds the events, `<run>/blobs/<sha256>` every text over a kilobyte, once. A model
request is a list of references to its messages, so no event repeats the prompt so far, and a long run
takes linear space. Each line is written by one `write` on an O_APPEND descriptor; a torn last line (power
or kill in the middle) is dropped on reading, and said. Everything else is derived from this log: the
terminal view, `agent show`, replay, resume, and self-distillation prompts.

Texts are redacted before they are written (`redact.py`).
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from agent.log.redact import redact

SCHEMA = 1
"""Version of the events below. Readers accept every version up to this one."""

_INLINE_BYTES = 1024


class LogFault(Exception):
    """The log cannot be read or written. `fix` says what the user can do next."""

    exit_code = 2

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


class _Event(BaseModel):
    # `ignore`, not `forbid`: an old reader meets logs of a newer minor version.
    model_config = ConfigDict(frozen=True, extra="ignore")

    at: float = Field(default_factory=time.time)
    """Unix seconds."""


Text = str
"""Either the text itself, or `sha256:<hex>` where it is a blob. `RunLog.text` resolves it."""


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


class PlacesRanked(_Event):
    type: Literal["places_ranked"] = "places_ranked"
    places: list[dict[str, Any]]
    """`path`, `name_path`, `score`, `reasons`, best first."""


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
        LogFault: no such file, a broken line that is not the last, or a schema newer than this reader.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise LogFault(
            f"cannot read {path}: {error.strerror}", fix="list the runs with `agent runs`"
        ) from error
    lines = raw.split(b"\n")
    tail = lines.pop()
    events: list[Event] = []
    for number, line in enumerate(lines, start=1):
        event = _parse(line)
        if event is None and number == len(lines) and not tail:
            return LogRead(tuple(events), torn=True)
        if event is None:
            raise LogFault(
                f"{path}, line {number}, is damaged",
                fix=f"keep the {number - 1} good lines before it (`head -n {number - 1}`), or delete the run",
            )
        events.append(event)
    _check_schema(path, events)
    return LogRead(tuple(events), torn=bool(tail))


def _parse(line: bytes) -> Event | None:
    try:
        return _ADAPTER.validate_json(line)
    except ValidationError:
        return None


def _check_schema(path: Path, events: list[Event]) -> None:
    first = events[0] if events else None
    if first is not None and not isinstance(first, RunStarted):
        raise LogFault(f"{path} does not begin with run_started", fix="delete the run; its log is damaged")
    if isinstance(first, RunStarted) and first.schema_version > SCHEMA:
        raise LogFault(f"{path} was written by a newer Forklock", fix="upgrade Forklock to read it")


class RunLog:
    """Writer and reader of one run's folder. One writer at a time; `append` may be called from threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "events.jsonl"
        self._blobs = folder / "blobs"
        self._listeners: list[Callable[[Event], None]] = []
        self._descriptor: int | None = None
        self._lock = threading.Lock()

    # -- writing ------------------------------------------------------------------------------------

    def open_for_append(self) -> bool:
        """Make the folder, cut a torn last line off. Returns True where one was cut."""
        self._blobs.mkdir(parents=True, exist_ok=True)
        torn = self._cut_torn_tail() if self.path.exists() else False
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return torn

    def _cut_torn_tail(self) -> bool:
        raw = self.path.read_bytes()
        end = raw.rfind(b"\n") + 1
        last = raw[:end].rstrip(b"\n").rsplit(b"\n", 1)[-1]
        if end and _parse(last) is None:
            end = raw[: end - 1].rfind(b"\n") + 1
        if end == len(raw):
            return False
        os.truncate(self.path, end)
        return True

    def append(self, event: Event) -> None:
        """Write one event.

        Raises:
            LogFault: the disk is full or the folder went away; what was written before stays readable.
        """
        if self._descriptor is None:
            raise LogFault("the run's log is not open")
        line = event.model_dump_json().encode() + b"\n"
        with self._lock:
            try:
                written = os.write(self._descriptor, line)
            except OSError as error:
                raise LogFault(f"cannot write {self.path}: {error.strerror}", fix=_ROOM) from error
            if written != len(line):
                raise LogFault(f"cannot write {self.path}: the disk is full", fix=_ROOM)
            for listener in self._listeners:
                listener(event)

    def store(self, text: str) -> Text:
        """Redact `text`; keep it inline when short, else as a blob named by its hash."""
        text = redact(text)
        data = text.encode("utf-8", "surrogatepass")
        if len(data) <= _INLINE_BYTES and not text.startswith("sha256:"):
            return text
        digest = hashlib.sha256(data).hexdigest()
        path = self._blobs / digest
        if not path.exists():
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            try:
                temporary.write_bytes(data)
                temporary.rename(path)
            except OSError as error:
                temporary.unlink(missing_ok=True)
                raise LogFault(f"cannot write {path}: {error.strerror}", fix=_ROOM) from error
        return f"sha256:{digest}"

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Have `listener` called with each event after it is written."""
        self._listeners.append(listener)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    # -- reading ------------------------------------------------------------------------------------

    def text(self, text: Text) -> str:
        """The text behind a reference.

        Raises:
            LogFault: the blob is missing or does not match its hash.
        """
        if not text.startswith("sha256:"):
            return text
        path = self._blobs / text.removeprefix("sha256:")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise LogFault(f"the log refers to {path.name}, which is gone", fix="delete the run") from error
        if hashlib.sha256(data).hexdigest() != path.name:
            raise LogFault(f"{path} is damaged", fix="delete the run")
        return data.decode("utf-8", "surrogatepass")

    def read(self) -> LogRead:
        return read_events(self.path)


_ROOM = "free some disk space, then go on with `agent solve --resume RUN`"


def iter_runs(repo: Path) -> Iterator[RunLog]:
    """Runs of a repo, newest first (run ids begin with their time)."""
    folder = repo / ".forklock" / "runs"
    if folder.is_dir():
        for run in sorted(folder.iterdir(), reverse=True):
            if (run / "events.jsonl").is_file():
                yield RunLog(run)
