"""Decodings of the SSD paper (arXiv 2604.01193, its table of settings), by family of models.

In: a model's name. Out: how training data is sampled, and how the trained model is decoded. Rounds take
their defaults here, and `evals sweep` its controls. Below 4B parameters none of them is tried by the paper.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from models.contract import FirstStage

EVAL_TOP_K, EVAL_TOP_P = 20, 0.8


class Decodings(BaseModel):
    """Train-time and eval-time decoding of one family of models."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: Annotated[float, Field(gt=0, le=5)]
    top_k: int
    top_p: float
    eval_temperature: float

    @property
    def stage(self) -> FirstStage:
        """The train-time decoding as the first stage of virtual SSD."""
        return FirstStage(temperature=self.temperature, top_k=self.top_k, top_p=self.top_p)


PRESETS: dict[str, Decodings] = {
    "llama": Decodings(temperature=0.8, top_k=20, top_p=0.8, eval_temperature=0.7),
    "qwen": Decodings(temperature=1.6, top_k=20, top_p=0.8, eval_temperature=1.1),
    "thinking": Decodings(temperature=1.2, top_k=20, top_p=0.95, eval_temperature=0.7),
}
"""The paper's settings per family."""


def family_of(model: str) -> str:
    """A key of `PRESETS` for a model of this name; Qwen's where the name tells nothing."""
    name = model.lower()
    return next((family for family in ("thinking", "llama") if family in name), "qwen")


def preset_of(model: str) -> Decodings:
    """The paper's decoding for a model of this name."""
    return PRESETS[family_of(model)]
