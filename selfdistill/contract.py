"""The types that all of selfdistill/ uses: recipes, prompts, and the fault.

A `Recipe` holds everything that shapes a round's outcome, and nothing else; its digest is in the name of the round. The
decodings are those of the SSD paper (`forklock.models.families`). The learning rate is our own: the paper
trains all weights at 5e-6, and a LoRA of rank 16 needs about twenty times that.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from forklock.models.contract import Decoding, Message, Request
from forklock.models.families import PRESETS, Decodings, preset_of
from forklock.sandbox.fault import Fault

STAGES = ("prompts", "samples", "dataset", "adapter", "gate", "promote")

EXIT_PROMOTED, EXIT_REJECTED, EXIT_INPUT, EXIT_INFRASTRUCTURE, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


class RoundFault(Fault):
    """A round cannot start or go on. `fix` says what the user can do next.

    `exit_code` is 2 where the input is at fault and 3 where the machine is."""

    def __init__(self, message: str, *, fix: str = "", exit_code: int = EXIT_INPUT) -> None:
        super().__init__(message, fix=fix)
        self.exit_code = exit_code


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TrainConfig(_Frozen):
    """Settings of the LoRA training. Each of them changes the weights that come out."""

    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    alpha: Annotated[int, Field(ge=1)] = 32
    lr: Annotated[float, Field(gt=0, lt=1)] = 1e-4
    """Peak learning rate. It falls along a cosine to a fifth of that (the paper: 5e-6 to 1e-6)."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient over all adapter weights."""
    epochs: Annotated[int, Field(ge=1)] = 1
    steps: Annotated[int, Field(ge=1)] | None = None
    """Optimiser steps; None: as many as `epochs` passes over the data take."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Samples per optimiser step."""
    micro_tokens: Annotated[int, Field(ge=16)] = 2048
    """Padded tokens per forward pass. Bounds memory, and decides how a batch is split."""
    max_length: Annotated[int, Field(ge=16)] = 4096
    """Tokens of prompt and completion together. Longer examples are dropped and counted, never cut."""
    checkpoint_every: Annotated[int, Field(ge=1)] = 5
    """Optimiser steps between checkpoints."""


class Recipe(_Frozen):
    """Everything that shapes a round's outcome."""

    model: str
    """Catalogue name or a folder of transformers weights."""
    arm: str = "ssd"
    """Name of an arm (`forklock.selfdistill.arms.known`)."""
    prompts: str = "auto"
    """`tasks`, `runs`, `runs:REPO`, a set's name or file, or several joined by `+`. `auto` takes past runs, if there
    are any, and the prompts part of HumanEval."""
    limit: Annotated[int, Field(ge=1)] = 48
    """Prompts at most."""
    sampling: Decoding
    """How the frozen base is sampled for training data. `n` is 1."""
    training: TrainConfig = TrainConfig()
    gate_set: str = "humaneval"
    gate_limit: Annotated[int, Field(ge=1)] = 24
    """Problems of the gate set's development split."""
    gate_n: Annotated[int, Field(ge=1)] = 2
    """Samples per problem and side."""
    gate_decoding: Decoding
    device: str = "cpu"
    seed: int = 0

    def digest(self, *, but_seed: bool = False) -> str:
        """Return the hash of the recipe; with `but_seed`, of all of it except the seed."""
        fields = self.model_dump_json(exclude={"seed"} if but_seed else None)
        return hashlib.sha256(fields.encode()).hexdigest()


class Prompt(_Frozen):
    """One prompt to sample from, and where it came from."""

    prompt_id: str
    """`<set>/<question id>` or `run/<run id>/<request>`: unique in a round."""
    request: Request
    statement: str
    """The task's own words. They are compared with the gate's problems to find overlap."""
    source: str
    """The set's name or file, or `runs`."""
    problem_id: str | None = None
    """Id in its problem set, where it has one. Only prompts with an id can be judged (arm `rft`)."""


__all__ = [
    "EXIT_INFRASTRUCTURE",
    "EXIT_INPUT",
    "EXIT_INTERRUPTED",
    "EXIT_PROMOTED",
    "EXIT_REJECTED",
    "PRESETS",
    "STAGES",
    "Decodings",
    "Message",
    "Prompt",
    "Recipe",
    "RoundFault",
    "TrainConfig",
    "preset_of",
]
