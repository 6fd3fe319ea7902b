"""Section `[selfdistill]` of the settings: a round's defaults. None leaves a value to the device's preset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from models.settings import FaultClass, ModelSettings, RepositoryMay, RoomSettings
from selfdistill.contract import ArmName, Recipe, RoundFault
from selfdistill.presets import make_recipe


class SelfdistillSettings(RoomSettings):
    """What `selfdistill` takes from forklock.toml, the environment and flags."""

    section: ClassVar[str] = "selfdistill"
    fault: ClassVar[FaultClass] = RoundFault

    # All of it is the user's: what is trained, on what, and what a candidate must pass.
    repository_may: ClassVar[Mapping[str, RepositoryMay]] = dict.fromkeys(
        ("model", "prompts", "limit", "gate_set", "gate_limit", "gate_n", "gate_max_tokens", "arm", "temperature",
         "top_k", "top_p", "steps", "epochs", "lr", "rank", "max_tokens", "device"), "no",
    )  # fmt: skip
    flags: ClassVar[Mapping[str, str]] = {key: f"--{key.replace('_', '-')}" for key in repository_may}

    model: str = ""
    """Base to distil; "" takes `[models] model`."""
    prompts: str = "auto"
    limit: Annotated[int, Field(ge=1)] | None = None
    gate_set: str = "humaneval"
    gate_limit: Annotated[int, Field(ge=1)] | None = None
    gate_n: Annotated[int, Field(ge=1)] | None = None
    gate_max_tokens: Annotated[int, Field(ge=1)] | None = None
    arm: ArmName = "ssd"
    temperature: Annotated[float, Field(gt=0, le=5)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    steps: Annotated[int, Field(ge=1)] | None = None
    epochs: Annotated[int, Field(ge=1)] | None = None
    lr: Annotated[float, Field(gt=0, lt=1)] | None = None
    rank: Annotated[int, Field(ge=1, le=1024)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    device: str | None = None

    @property
    def base(self) -> str:
        """The model that is meant."""
        return self.model or ModelSettings.load().model

    def recipe(self, device: str, *, seed: int) -> Recipe:
        training = {
            "steps": self.steps,
            "epochs": self.epochs,
            "lr": self.lr,
            "rank": self.rank,
            "alpha": 2 * self.rank if self.rank else None,
        }
        return make_recipe(
            self.base,
            device,
            arm=self.arm,
            prompts=self.prompts,
            gate_set=self.gate_set,
            seed=seed,
            limit=self.limit,
            max_tokens=self.max_tokens,
            gate_limit=self.gate_limit,
            gate_n=self.gate_n,
            gate_max_tokens=self.gate_max_tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            training=training,
        )
