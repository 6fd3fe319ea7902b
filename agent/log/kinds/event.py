"""What all events share, and the references by which they name long texts."""

from __future__ import annotations

import time

from pydantic import BaseModel, ConfigDict, Field


class LoggedEvent(BaseModel):
    """One line of a log."""

    # `ignore`, not `forbid`: an old reader meets logs of a newer minor version.
    # No infinities: times and counts are added up.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    at: float = Field(default_factory=time.time)
    """Unix seconds."""


Text = str
"""Either the text itself, or `sha256:<hex>` where it is a blob. `RunLog.text` resolves it."""


class MessageRef(BaseModel):
    """A message of a request."""

    model_config = ConfigDict(frozen=True)

    role: str
    """`text` for a prompt that is no chat."""
    content: Text
    sampled: bool = False
    """The model wrote it, word for word: the rest of a chat is no text to learn from."""
