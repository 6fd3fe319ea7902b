"""Reads section `[selfdistill]` of the settings, and makes the recipe of a round.

In: settings, flags and a device. Out: a `Recipe`: the device's sizes and the model family's decoding, overridden by
what the user asked for. A setting that is None leaves the value to the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from forklock.models.contract import Decoding
from forklock.models.families import EVAL_TOP_K, EVAL_TOP_P, preset_of
from forklock.models.settings import FaultClass, ModelSettings, RepositoryMay, RoomSettings
from forklock.selfdistill.arms.known import arm_name
from forklock.selfdistill.contract import Recipe, RoundFault, TrainConfig


class SelfdistillSettings(RoomSettings):
    """Settings of `selfdistill`, from forklock.toml, the environment and flags."""

    section: ClassVar[str] = "selfdistill"
    fault: ClassVar[FaultClass] = RoundFault

    # A repository decides none of it: what is trained, on what, and what a candidate must pass.
    repository_may: ClassVar[Mapping[str, RepositoryMay]] = dict.fromkeys(
        ("model", "prompts", "limit", "gate_set", "gate_limit", "gate_n", "gate_max_tokens", "arm", "temperature",
         "top_k", "top_p", "steps", "epochs", "lr", "rank", "max_tokens", "device"), "no",
    )  # fmt: skip
    flags: ClassVar[Mapping[str, str]] = {key: f"--{key.replace('_', '-')}" for key in repository_may}

    model: str = ""
    """Base model; "" takes `[models] model`."""
    prompts: str = "auto"
    limit: Annotated[int, Field(ge=1)] | None = None
    gate_set: str = "humaneval"
    gate_limit: Annotated[int, Field(ge=1)] | None = None
    gate_n: Annotated[int, Field(ge=1)] | None = None
    gate_max_tokens: Annotated[int, Field(ge=1)] | None = None
    arm: Annotated[str, AfterValidator(arm_name)] = "ssd"
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
        """Name of the base model."""
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


# -- sizes ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sizes:
    """Default sizes for one kind of device."""

    limit: int
    max_tokens: int
    gate_limit: int
    gate_n: int
    gate_tokens: int
    batch_size: int
    micro_tokens: int
    checkpoint_every: int


SIZES = {
    "cpu": Sizes(48, 256, 48, 2, 384, batch_size=8, micro_tokens=1024, checkpoint_every=1),
    "gpu": Sizes(1000, 2048, 200, 4, 2048, batch_size=32, micro_tokens=8192, checkpoint_every=5),
}


def pick_device(asked: str | None) -> str:
    """Return the device that the user asked for, else CUDA where there is one."""
    if asked and asked != "auto":
        return asked
    try:
        import torch
    except ImportError:
        return "cpu"
    return "cuda" if torch.cuda.is_available() else "cpu"


def make_recipe(
    model: str,
    device: str,
    *,
    arm: str = "ssd",
    prompts: str = "auto",
    gate_set: str = "humaneval",
    seed: int = 0,
    limit: int | None = None,
    max_tokens: int | None = None,
    gate_limit: int | None = None,
    gate_n: int | None = None,
    gate_max_tokens: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    training: dict[str, Any] | None = None,
) -> Recipe:
    """Return the device's sizes and the model family's decoding, overridden by every argument that is not None."""
    sizes = SIZES["cpu" if device == "cpu" else "gpu"]
    preset = preset_of(model)
    train = {
        "batch_size": sizes.batch_size,
        "micro_tokens": sizes.micro_tokens,
        "checkpoint_every": sizes.checkpoint_every,
        **{key: value for key, value in (training or {}).items() if value is not None},
    }
    return Recipe(
        model=model,
        arm=arm,
        prompts=prompts,
        limit=limit or sizes.limit,
        sampling=Decoding(
            temperature=preset.temperature if temperature is None else temperature,
            top_k=preset.top_k if top_k is None else top_k,
            top_p=preset.top_p if top_p is None else top_p,
            max_tokens=max_tokens or sizes.max_tokens,
        ),
        training=TrainConfig(**train),
        gate_set=gate_set,
        gate_limit=gate_limit or sizes.gate_limit,
        gate_n=gate_n or sizes.gate_n,
        gate_decoding=Decoding(
            temperature=preset.eval_temperature,
            top_k=EVAL_TOP_K,
            top_p=EVAL_TOP_P,
            max_tokens=gate_max_tokens or sizes.gate_tokens,
        ),
        device=device,
        seed=seed,
    )
