"""Models of the Hugging Face hub that are on this machine: where they lie, whether they are whole.

In: `owner/name`. Out: a folder that is whole as far as headers and sizes show, or a fault. Fetching is `hub_pull.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from forklock.models.catalogue.weights import (
    RECORD_NAME,
    FileRecord,
    check_against_record,
    check_weights,
    verify_hashes,
)
from forklock.models.contract import ModelFault
from forklock.models.paths import models_dir
from forklock.sandbox.terminal.progress import Advance

_REPO = re.compile(r"(?!.*\.\.)[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


class HubRecord(BaseModel):
    """What a pull recorded beside the weights, in `forklock.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    repo_id: str
    commit: str
    endpoint: str
    licence: str
    created: str
    """UTC, ISO 8601."""
    files: dict[str, FileRecord]

    @property
    def weights_bytes(self) -> int:
        return sum(file.bytes for name, file in self.files.items() if name.endswith(".safetensors"))


def is_hub_name(text: str) -> bool:
    """Return whether a text is `owner/name`."""
    return _REPO.fullmatch(text.strip()) is not None


def folder_name(repo_id: str) -> str:
    """Return the name of a hub model's folder, which is also its name in runs and adapters."""
    return repo_id.strip().replace("/", "--")


def hub_folder(repo_id: str) -> Path:
    """Return the folder of a pulled model of the hub, whether it is there or not."""
    return models_dir() / folder_name(repo_id)


def check_hub(repo_id: str) -> Path:
    """Check a pulled model by its sizes and headers, and return its folder.

    Raises:
        ModelFault: not pulled, or damaged.
    """
    folder = hub_folder(repo_id)
    if not folder.exists():
        raise ModelFault(
            f"Model {repo_id} is not on this machine yet.", fix=f"Run `agent models pull {repo_id}`."
        )
    if what := damage(folder):
        raise _damaged(repo_id, what)
    return folder


def verify_hub(repo_id: str, advance: Advance) -> None:
    """Compare every byte of a pulled model with the hashes of the pull.

    Raises:
        ModelFault: not pulled, or damaged.
    """
    folder = check_hub(repo_id)
    try:
        verify_hashes(folder, _record(folder).files, advance)
    except ModelFault as fault:
        raise _damaged(repo_id, fault.message) from None


def pulled_hub() -> list[HubRecord]:
    """Return the records of all hub models on this machine, by name."""
    found = []
    for folder in sorted(models_dir().glob("*--*")) if models_dir().is_dir() else ():
        try:
            record = _record(folder)
        except ModelFault:
            continue
        if folder_name(record.repo_id) == folder.name:
            found.append(record)
    return found


def _record(folder: Path) -> HubRecord:
    path = folder / RECORD_NAME
    try:
        return HubRecord.model_validate_json(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFault(f"{path} is missing or unreadable ({type(error).__name__}).") from None


def damage(folder: Path) -> str:
    """Return what is wrong with a pulled model, "" if nothing is."""
    try:
        check_against_record(folder, _record(folder).files)
        check_weights(folder)
    except ModelFault as fault:
        return fault.message
    return ""


def _damaged(repo_id: str, what: str) -> ModelFault:
    return ModelFault(
        f"Model {repo_id} is damaged: {what}",
        fix=f"Run `agent models remove {repo_id}`, then `agent models pull {repo_id}`.",
    )
