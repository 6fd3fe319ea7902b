"""A transformers folder on disk: is it whole, is it safe to load, and what is its revision.

In: a folder. Out: a fault that says what is wrong, or a digest. Safetensors only: a folder that has its
weights in pickle files alone is refused. The cheap checks read headers and sizes; a flipped bit inside a
tensor is found by `verify_hashes` only.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from models.contract import ModelFault

RECORD_NAME = "forklock.json"
MAX_HEADER_BYTES = 100_000_000
"""The safetensors library's own bound on a header."""
SAMPLED_BLOCKS, BLOCK_BYTES = 64, 4096


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileRecord(_Frozen):
    bytes: int
    sha256: str


class ModelRecord(_Frozen):
    """What conversion wrote down beside the weights, in `forklock.json`."""

    schema_version: int = 1
    name: str
    gguf_sha256: str
    source: str
    """The mirror that served the GGUF."""
    conversion: int
    """Version of the conversion code."""
    transformers: str
    created: str
    """UTC, ISO 8601."""
    files: dict[str, FileRecord]


def read_record(folder: Path) -> ModelRecord:
    """
    Raises:
        ModelFault: missing or unreadable record.
    """
    path = folder / RECORD_NAME
    try:
        return ModelRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ModelFault(f"{path} is missing.") from None
    except (OSError, ValidationError) as error:
        raise ModelFault(f"{path} is unreadable ({type(error).__name__}).") from None


def check_against_record(folder: Path, record: ModelRecord) -> None:
    """That each recorded file is there in its recorded size."""
    for name, expected in record.files.items():
        path = folder / name
        if not path.is_file():
            raise ModelFault(f"{name} is missing.")
        if (size := path.stat().st_size) != expected.bytes:
            raise ModelFault(f"{name} has {size:,} bytes, {expected.bytes:,} were recorded.")


def verify_hashes(
    folder: Path, record: ModelRecord, on_bytes: Callable[[int], None] = lambda _: None
) -> None:
    """Read everything and compare with the recorded hashes; `on_bytes` gets the bytes read since last."""
    check_against_record(folder, record)
    for name, expected in record.files.items():
        if hash_file(folder / name, on_bytes) != expected.sha256:
            raise ModelFault(f"{name} does not match its recorded sha256.")


def hash_file(path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
            on_bytes(len(block))
    return digest.hexdigest()


def check_weights(folder: Path) -> None:
    """That `folder` holds a loadable transformers model: config, tokenizer, whole safetensors.

    Raises:
        ModelFault: what is missing or damaged.
    """
    config = _json(folder / "config.json")
    if not isinstance(config.get("model_type"), str):
        raise ModelFault(
            f"{folder / 'config.json'} names no model_type.", fix="Is this a transformers folder?"
        )
    for path in safetensors_files(folder):
        read_header(path)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise ModelFault(f"{folder} has no tokenizer.", fix="Save the tokenizer beside the weights.")


def safetensors_files(folder: Path) -> list[Path]:
    """The weight files, by the index where there is one, in name order."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        weight_map = _json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise ModelFault(f"{index} has no weight_map.")
        return [_inside(folder, str(name)) for name in sorted(set(weight_map.values()))]
    files = sorted(folder.glob("*.safetensors"))
    if files:
        return files
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")) or any(folder.glob("*.pth")):
        raise ModelFault(
            f"{folder} holds its weights as pickle files, which can run code when they are loaded.",
            fix="Save it again with safetensors: `model.save_pretrained(folder)` of a current transformers.",
        )
    raise ModelFault(f"{folder} has no safetensors weights.", fix="Is this a transformers folder?")


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if Path(name).name != name or not path.is_file():
        raise ModelFault(f"{folder} lacks the weight file {name!r} that its index names.")
    return path


def read_header(path: Path) -> bytes:
    """The header of a safetensors file whose size is what the header says.

    Format: 8 bytes little-endian header length, JSON of {name: {dtype, shape, data_offsets}}, data.

    Raises:
        ModelFault: torn, truncated, or no safetensors file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MAX_HEADER_BYTES):
            raise ModelFault(f"{path} is truncated or no safetensors file.")
        header = file.read(length)
    try:
        tensors: dict[str, Any] = json.loads(header)
        ends = [int(entry["data_offsets"][1]) for name, entry in tensors.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise ModelFault(f"{path} has a damaged header.") from None
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise ModelFault(f"{path} has {size:,} bytes, its header asks for {expected:,}.")
    return header


def folder_revision(folder: Path) -> str:
    """Digest for cache keys: names, sizes, configs, headers, and blocks spread over each weight file.

    64 blocks of 4 KiB a file are read, so that two fine-tunes of one shape differ, in milliseconds.
    """
    digest = hashlib.sha256()
    small = [path for path in sorted(folder.glob("*.json")) if path.name != RECORD_NAME]
    for path in (*small, *sorted(folder.glob("*.jinja"))):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    for path in safetensors_files(folder):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        digest.update(hashlib.sha256(read_header(path)).digest())
        with path.open("rb") as file:
            for block in range(SAMPLED_BLOCKS):
                file.seek(block * max(0, size - BLOCK_BYTES) // (SAMPLED_BLOCKS - 1), os.SEEK_SET)
                digest.update(file.read(BLOCK_BYTES))
    return digest.hexdigest()


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelFault(f"{path} is missing.", fix="Is this a transformers folder?") from None
    except (OSError, ValueError):
        raise ModelFault(f"{path} is not readable JSON.") from None
    if not isinstance(content, dict):
        raise ModelFault(f"{path} is not a JSON object.")
    return content
