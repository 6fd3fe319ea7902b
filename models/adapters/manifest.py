"""What is recorded about one adapter, and how an adapter that is whole is named."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from forklock.models.adapters.lora import CONFIG, WEIGHTS
from forklock.models.catalogue.weights import FileRecord
from forklock.models.contract import Decoding

MANIFEST = "manifest.json"
TAKEN_IN = (WEIGHTS, CONFIG, "README.md")
"""Files that `add` copies; anything else in the folder stays behind."""
VERSION_FORMAT, VERSION_PATTERN = "%Y%m%d-%H%M%S-%f", re.compile(r"\d{8}-\d{6}-\d{6}")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AdapterState(StrEnum):
    CANDIDATE = "candidate"
    PROMOTED = "promoted"
    REJECTED = "rejected"
    RETIRED = "retired"
    """Was promoted, and is not serving any more."""


class AdapterManifest(_Frozen):
    """What one adapter is and where it came from."""

    schema_version: int = 1
    base: str
    base_revision: str
    """`ModelIdentity.revision` of the weights it was trained on."""
    version: str
    parent: str | None = None
    """The version that was serving when it was trained; None for the bare base."""
    data: dict[str, str] = Field(default_factory=dict)
    """Digests of what it was trained on, by role."""
    recipe: dict[str, Any] = Field(default_factory=dict)
    """Arm, LoRA shape, optimiser settings."""
    decoding: Decoding | None = None
    """How the training samples were drawn."""
    gate: dict[str, Any] | None = None
    """What the gate measured; None before it ran."""
    state: AdapterState = AdapterState.CANDIDATE
    created: datetime = Field(default_factory=lambda: datetime.now(UTC))
    files: dict[str, FileRecord] = Field(default_factory=dict)
    """Filled in by `AdapterRegistry.add`."""


@dataclass(frozen=True, slots=True)
class AdapterRef:
    """An adapter that is whole."""

    base: str
    version: str
    """The registry's version, or `folder-<digest>` for a folder outside it."""
    folder: Path

    def __str__(self) -> str:
        return f"{self.base}/{self.version}"
