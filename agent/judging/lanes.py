"""The lanes of a run: which goes first and which takes over when it is stuck, and what a lane is made of.

In: what the user asked for, what the check says, and what the model can do. Out: the lanes of a run in order. The
repair lane is the better one where the fault lies in a definition that the check leads to. It can neither make files
nor change several; that is what driving is for. The loop knows of the drive lane what is here, and no more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from forklock.agent.asking import ProtocolName, RankedPlace, WayName
from forklock.agent.contract import Limits, Outcome, Ruling, Strategy, Task
from forklock.agent.judging.hops import Gauntlet
from forklock.agent.judging.spend import Gathering, Spend
from forklock.agent.log import RunLog
from forklock.agent.log.recorded import Recorded
from forklock.models.contract import Decoding, Engine
from forklock.sandbox import Sandbox
from forklock.tools.contract import TestReport

if TYPE_CHECKING:
    from forklock.tools.lsp import Intel

LaneName = Literal["repair", "drive"]

_NEW = re.compile(
    r"^\W*(?:please\s+)?(?:add|build|create|extract|implement|introduce|make\s+a|migrate|move|new|port|refactor|rename|"
    r"replace\s+all|scaffold|split|support|write)\b",
    re.IGNORECASE,
)
"""A statement that asks for something that is not there yet, or for a change of many places."""
_ABSENT = re.compile(
    r"No module named ['\"]|cannot import name ['\"]|module ['\"][\w.]+['\"] has no attribute "
)
"""What is imported and does not exist."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known before the first model call."""

    statement: str
    report: TestReport
    has_places: bool
    """The check leads to definitions that may be edited."""
    drives_well: bool
    """The model knows a format of calls, or is a hosted one."""


def lanes_for(strategy: Strategy, now: Situation) -> tuple[LaneName, ...]:
    """The lanes in the order in which they are tried."""
    if strategy == "repair":
        return ("repair",)
    if strategy == "drive":
        return ("drive",)
    if not now.has_places:
        return ("drive",)
    if asks_for_new(now.statement, now.report):
        return ("drive", "repair")
    return ("repair", "drive") if now.drives_well else ("repair",)


def asks_for_new(statement: str, report: TestReport) -> bool:
    """Whether something is asked for that the repository does not have: by the check, or else by the statement."""
    said = [failure.message for failure in report.failures] or [report.output]
    if said and all(_ABSENT.search(one) for one in said):
        return True
    return bool(_NEW.match(statement)) and not report.failures


@dataclass(frozen=True, slots=True)
class DriveOptions:
    """Part of a run's options (`forklock.agent.loop.Options`)."""

    rollouts: int = 4
    """Rollouts that are on their way at once."""
    turns: int = 24
    """Turns of one rollout, at most."""
    turn_tokens: int = 2048
    """New tokens of one turn, at most."""
    window: int = 16_384
    """Tokens of a request, at most; never more than the model's context has room for."""
    calls: str = "text"
    """How calls are written (`forklock.models.calls`)."""
    edit: Literal["whole", "search-replace", "symbol"] = "whole"
    """How the model gives its edits best."""
    drives_well: bool = False
    """The model knows a format of calls: with the strategy `auto` it drives where the repair lane is stuck."""
    temperature: float | None = None
    """None here and below: as in the repair lane."""
    top_k: int | None = None
    top_p: float | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """How a run works. Everything here is in the log's first event."""

    width: int = 16
    limits: Limits = field(default_factory=Limits)
    decoding: Decoding = field(default_factory=Decoding)
    """`n` is set per step; `seed` is moved on by each step."""
    protocol: ProtocolName = "symbol"
    styles: tuple[WayName, ...] = ("rewrite",)
    """Ways of asking that fresh prompts of a place take in turn (`forklock.agent.asking.ways`)."""
    prompt_tokens: int = 2500
    """Target size of a prompt; never more than the model's context allows."""
    test_timeout_s: float = 120.0
    notes: str = ""
    verified: bool = True
    """The task's check fails now, and tells when the task is solved."""
    strategy: Strategy = "repair"
    """Which lane works. `repair` is what logs of earlier versions meant."""
    drive: DriveOptions = field(default_factory=DriveOptions)


@dataclass(frozen=True, slots=True)
class LaneParts:
    """What a lane is made of."""

    task: Task
    limits: Limits
    options: DriveOptions
    decoding: Decoding
    notes: str
    engine: Engine
    original: Sandbox
    gauntlet: Gauntlet
    intel: Intel | None
    log: RunLog
    recorded: Recorded
    spend: Spend
    gathering: Gathering
    places: Sequence[RankedPlace]
    first: int
    """Number of the first rollout."""
    on_tokens: Callable[[int], None]


@dataclass(frozen=True, slots=True)
class LaneEnd:
    """Why a lane ended without a verdict."""

    outcome: Outcome
    detail: str


class DriveLike(Protocol):
    """The drive lane (`forklock.agent.driving`), as far as the loop knows it."""

    @property
    def started(self) -> int: ...
    @property
    def turns(self) -> int: ...
    @property
    def best(self) -> Ruling | None: ...
    def run(self) -> LaneEnd: ...


OpenLane = Callable[[LaneParts], DriveLike]


def no_lane(_parts: LaneParts) -> DriveLike:
    """Stands for the drive lane in a loop that was given none."""
    raise NotImplementedError("this loop was given no drive lane")
