"""Effective settings of the agent: `[agent]` in forklock.toml, environment, flags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from agent.asking.ways import WayName
from agent.contract import AgentFault
from models.settings import FaultClass, RepositoryMay, RoomSettings

STYLES: tuple[WayName, ...] = (
    "bare", "fork", "ending", "fork", "correct", "continue", "fork", "bare", "ending", "fork", "gap", "fork",
    "continue", "revise", "fork", "ending",
)  # fmt: skip
"""Turns of a weak model (docs/decisions/0007): about as often as each made a repair at bugs we looked at."""


class AgentSettings(RoomSettings):
    """`[agent]`. Each field can be set in the user's file, by `FORKLOCK_AGENT__<KEY>`, or by the flag of its name."""

    section: ClassVar[str] = "agent"
    fault: ClassVar[FaultClass] = AgentFault

    flags: ClassVar[Mapping[str, str]] = {
        "max_tokens_total": "--tokens", "top_k": "--top-k", "top_p": "--top-p",
        **{key: f"--{key}" for key in ("width", "steps", "seconds", "temperature", "seed", "protocol", "sandbox",
                                       "regression", "diagnostics")},
    }  # fmt: skip
    repository_may: ClassVar[Mapping[str, RepositoryMay]] = {
        "width": "lower", "steps": "lower", "max_tokens_total": "lower", "seconds": "lower", "cost_usd": "lower",
        "max_tokens": "lower", "prompt_tokens": "lower", "test_timeout_s": "lower", "diagnostics": "lower",
        "temperature": "yes", "top_k": "yes", "top_p": "yes", "seed": "yes", "protocol": "yes", "styles": "yes",
        "regression": "command", "sandbox": "no",
    }  # fmt: skip

    width: int = Field(default=16, ge=1, le=256)
    """Candidates sampled in each step."""
    steps: int = Field(default=8, ge=1)
    """Wide steps at most."""
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
    """Same seed, same machine, same engine: same candidates. None draws afresh."""
    protocol: Literal["auto", "symbol", "file", "search-replace"] = "auto"
    """How the model says its edits; `auto` asks small local models to rewrite one definition."""
    styles: tuple[WayName, ...] = STYLES
    """Kinds of fresh prompts of a weak model, in turn: rewrite, bare, ending, gap, continue, revise, correct,
    fork, repair. Answers that failed are shown to the model only where `repair` is among them."""
    sandbox: Literal["auto", "docker", "bubblewrap", "host"] = "auto"
    test_timeout_s: float = Field(default=120.0, gt=0)
    """Seconds for one run of a check, at most."""
    diagnostics: bool = True
    """Ask the language servers about candidates and for the frame."""
    regression: str = "auto"
    """Command whose passing tests must go on passing; `auto` finds the repo's own, `none` is off."""
