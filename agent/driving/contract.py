"""What the tools of a rollout and the loop over them share: the answer to a call, and what a profile says of edits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from forklock.models.families.profile import EditFormat
from forklock.tools.contract import TestReport


class EditProfile(Protocol):
    """The part of a model's profile that decides which edits it is offered."""

    @property
    def edit(self) -> EditFormat: ...


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What became of one call."""

    text: str
    """What the model is shown: capped, and without control characters."""
    kind: Literal["ok", "refused", "failed"]
    """`refused`: the call itself was wrong. `failed`: it was carried out, and what it ran did not succeed."""
    wrote: tuple[str, ...] = ()
    """Files that the call changed, made or removed."""
    no_op: bool = False
    """An edit that changes nothing."""
    finished: str | None = None
    """The model's closing words, if the call ends the rollout."""
    report: TestReport | None = None
    """What the task's check said, if it was run."""
