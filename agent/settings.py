"""Effective settings of the agent: `[agent]` in forklock.toml, environment, flags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from forklock.agent.asking.ways import WayName
from forklock.agent.contract import AgentFault, Strategy
from forklock.models.settings import FaultClass, RepositoryMay, RoomSettings
from forklock.sandbox import BackendName, check_backend

STYLES: tuple[WayName, ...] = (
    "bare", "fork", "ending", "fork", "correct", "continue", "fork", "bare", "ending", "fork", "gap", "fork",
    "continue", "revise", "fork", "ending",
)  # fmt: skip
"""Order in which ways of asking take turns with a weak model (docs/decisions/0007).

Each comes about as often as it made a repair at the bugs that we looked at.
"""


class AgentSettings(RoomSettings):
    """`[agent]`. Each field can be set in the user's file, by `FORKLOCK_AGENT__<KEY>`, or by the flag of its name."""

    section: ClassVar[str] = "agent"
    fault: ClassVar[FaultClass] = AgentFault

    flags: ClassVar[Mapping[str, str]] = {
        "max_tokens_total": "--tokens", "top_k": "--top-k", "top_p": "--top-p",
        **{key: f"--{key}" for key in ("width", "steps", "seconds", "temperature", "seed", "protocol", "sandbox",
                                       "regression", "diagnostics", "strategy", "rollouts", "turns")},
    }  # fmt: skip
    repository_may: ClassVar[Mapping[str, RepositoryMay]] = {
        "width": "lower", "steps": "lower", "max_tokens_total": "lower", "seconds": "lower", "cost_usd": "lower",
        "max_tokens": "lower", "prompt_tokens": "lower", "test_timeout_s": "lower", "diagnostics": "lower",
        "temperature": "yes", "top_k": "yes", "top_p": "yes", "seed": "yes", "protocol": "yes", "styles": "yes",
        "regression": "command", "sandbox": "no", "bell": "lower",
        "strategy": "yes", "rollouts": "lower", "turns": "lower", "turn_tokens": "lower", "window": "lower",
    }  # fmt: skip

    width: int = Field(default=16, ge=1, le=256)
    """Candidates sampled in each step."""
    steps: int = Field(default=8, ge=1)
    """Most wide steps of a run."""
    max_tokens_total: int | None = Field(default=200_000, ge=1)
    """Prompt plus completion tokens of a run."""
    seconds: float | None = Field(default=1800.0, gt=0)
    """Wall-clock seconds of a run."""
    cost_usd: float | None = Field(default=None, gt=0)
    """Dollars, for hosted models whose price is known."""
    temperature: float = Field(default=0.8, ge=0, le=5)
    top_k: int = Field(default=20, ge=0)
    top_p: float = Field(default=0.95, gt=0, le=1)
    max_tokens: int = Field(default=768, ge=16)
    """Tokens of one answer."""
    prompt_tokens: int = Field(default=2500, ge=256)
    """Target size of a prompt."""
    seed: int | None = 0
    """The same seed, machine and engine give the same candidates. None: another seed each time."""
    protocol: Literal["auto", "symbol", "file", "search-replace"] = "auto"
    """Form of the model's edits. `auto` asks small local models to rewrite one definition."""
    styles: tuple[WayName, ...] = STYLES
    """Ways in which a weak model is asked, in turn: names of `forklock.agent.asking.ways`. Failed answers are
    shown to the model only where `repair` is among them."""
    strategy: Strategy = "auto"
    """Which lane works: `repair` (the harness finds the place, the model rewrites it), `drive` (the model takes turns
    with tools), or `auto`: the one that the task suggests, then the other where the first is stuck."""
    rollouts: int = Field(default=4, ge=1, le=256)
    """Rollouts of a driving model that are on their way at once."""
    turns: int = Field(default=24, ge=1)
    """Most turns of one rollout."""
    turn_tokens: int | None = Field(default=None, ge=64)
    """Most new tokens of one turn. None: as the model's profile says."""
    window: int | None = Field(default=None, ge=2048)
    """Tokens that a driving model's prompt and answer may take. None: as the model's profile says."""
    sandbox: Annotated[BackendName, AfterValidator(check_backend)] = "auto"
    test_timeout_s: float = Field(default=120.0, gt=0)
    """Seconds that one run of a check may take."""
    diagnostics: bool = True
    """Language servers check candidates and make the frame."""
    regression: str = "auto"
    """Command whose passing tests must still pass. `auto` finds the repository's own suite, `none` runs nothing."""
    bell: bool = True
    """On a terminal, ring its bell and notify at the end of a run that took over 30 seconds."""
