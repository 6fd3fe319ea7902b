"""The section `[models]`: which model answers `agent`, and how it is run. `selfdistill` takes its base from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from forklock.models.engines.open import EngineName, check_engine
from forklock.models.settings.room import RepositoryMay, RoomSettings

_OF_AGENT = "Set it in [agent], where `agent solve` reads it; `evals` and `selfdistill` take it as a flag."


class ModelSettings(RoomSettings):
    """Section `[models]`."""

    section: ClassVar[str] = "models"
    flags: ClassVar[Mapping[str, str]] = {key: f"--{key}" for key in ("model", "engine", "adapter")}
    # Which weights and which server see the code, and on what they run: all of it is the user's.
    repository_may: ClassVar[Mapping[str, RepositoryMay]] = dict.fromkeys(
        ("model", "engine", "adapter", "device", "threads"), "no"
    )
    gone: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("temperature", "top_k", "top_p", "max_tokens"), _OF_AGENT),
        "min_p": "Remove it; `evals run --min-p` takes it as a flag.",
    }

    model: str = "qwen2.5-coder-0.5b"
    """A catalogue name, a folder with transformers weights, LiteLLM's id of a provider's model, or the URL
    of a server."""
    engine: Annotated[EngineName, AfterValidator(check_engine)] = "auto"
    """A name of `forklock.models.engines.open.ENGINES`, or `auto`."""
    adapter: str = "current"
    """`current` (the promoted one of this base), `none` (the bare base), a version, or a folder."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`: for the in-process engine."""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads for the in-process engine; 0 leaves it to torch."""

    @property
    def torch_device(self) -> str | None:
        """The device for `open_engine`; None leaves the choice to the engine."""
        return None if self.device == "auto" else self.device

    @property
    def torch_threads(self) -> int | None:
        """The threads for `open_engine`; None leaves the choice to torch."""
        return self.threads or None
