"""Sensible sizes per device, and an honest guess at how long a round will take.

In: a device and the user's wishes. Out: a `Recipe`, and seconds per stage. The rates are measured on two
CPU cores with a 0.5B model in bf16 (docs/self-distillation.md) and scaled by the number of parameters; on a
GPU nothing was measured by us, so no guess is made there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.contract import Decoding
from models.families import EVAL_TOP_K, EVAL_TOP_P, preset_of
from selfdistill.contract import ArmName, Recipe, TrainConfig

CPU_SAMPLE_RATE, CPU_TRAIN_RATE = 50.0, 65.0
"""Tokens a second for half a billion parameters: batched sampling; forward and backward."""
REFERENCE_PARAMETERS = 0.5e9
TYPICAL_PROMPT, TYPICAL_ANSWER = 180, 250
"""Tokens of a prompt, and of an answer that no limit cuts."""


@dataclass(frozen=True)
class Sizes:
    """Defaults of one kind of device."""

    limit: int
    max_tokens: int
    gate_limit: int
    gate_n: int
    gate_tokens: int
    batch_size: int
    micro_tokens: int
    checkpoint_every: int


SIZES = {
    "cpu": Sizes(48, 256, 24, 2, 384, batch_size=8, micro_tokens=1024, checkpoint_every=1),
    "gpu": Sizes(1000, 2048, 80, 4, 2048, batch_size=32, micro_tokens=8192, checkpoint_every=5),
}


def pick_device(asked: str | None) -> str:
    """What the user asked for, else CUDA where there is one. Imports torch only where it must look."""
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
    arm: ArmName = "ssd",
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
    """The device's sizes and the model family's decoding, with the user's wishes on top (None: no wish)."""
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


def estimate_seconds(recipe: Recipe, parameters: float) -> dict[str, float] | None:
    """Guessed seconds of the three long stages; None where nothing was measured."""
    if recipe.device != "cpu":
        return None
    scale = parameters / REFERENCE_PARAMETERS
    answer = min(recipe.sampling.max_tokens * 0.8, TYPICAL_ANSWER)
    gate_answer = min(recipe.gate_decoding.max_tokens * 0.8, TYPICAL_ANSWER)
    config = recipe.training
    rows = config.steps * config.batch_size if config.steps else config.epochs * recipe.limit
    gate_answers = 2 * recipe.gate_limit * recipe.gate_n
    return {
        "samples": scale * recipe.limit * answer / CPU_SAMPLE_RATE,
        "adapter": scale * rows * (TYPICAL_PROMPT + answer) / CPU_TRAIN_RATE,
        "gate": scale * gate_answers * gate_answer / CPU_SAMPLE_RATE + 0.5 * gate_answers,
    }
