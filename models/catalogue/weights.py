"""Checks whether a transformers folder is whole and safe to load, and computes its revision.

In: a folder. Out: a fault that says what is wrong, or a digest. Safetensors only: a folder that has its
weights in pickle files alone is refused. The cheap checks read headers and sizes; a flipped bit inside a
tensor is found by `verify_hashes` only.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from forklock.models.catalogue.safetensors_header import TensorInfo, read_header, read_tensors, require_floats
from forklock.models.contract import ModelFault
from forklock.models.paths import cache_dir
from forklock.sandbox.files.atomic import write_atomic

RECORD_NAME = "forklock.json"
SAMPLED_BLOCKS, BLOCK_BYTES = 64, 4096
MOST_JSON_BYTES = 16 << 20
"""Largest configuration, in bytes; tokenizers are read by their own library."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileRecord(_Frozen):
    bytes: int
    sha256: str


class ModelRecord(_Frozen):
    """What the conversion recorded beside the weights, in `forklock.json`."""

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
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFault(f"{path} is unreadable ({type(error).__name__}).") from None


def check_against_record(folder: Path, files: Mapping[str, FileRecord]) -> None:
    """Check that each recorded file is there in its recorded size, and that small ones are unchanged."""
    for name, expected in files.items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise ModelFault(f"{name!r} is missing.")
        if (size := path.stat().st_size) != expected.bytes:
            raise ModelFault(f"{name} has {size:,} bytes, {expected.bytes:,} were recorded.")
        if size <= MOST_JSON_BYTES and hash_file(path) != expected.sha256:
            raise ModelFault(f"{name} is not as it was recorded.")


def verify_hashes(
    folder: Path, files: Mapping[str, FileRecord], on_bytes: Callable[[int], None] = lambda _: None
) -> None:
    """Read everything and compare with the recorded hashes; `on_bytes` gets the bytes read since last."""
    check_against_record(folder, files)
    for name, expected in files.items():
        if hash_file(folder / name, on_bytes) != expected.sha256:
            raise ModelFault(f"{name} does not match its recorded sha256.")


def hash_file(path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
            on_bytes(len(block))
    return digest.hexdigest()


def _hash_part(path: Path, start: int, count: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(start)
        while count and (block := file.read(min(count, 1 << 22))):
            digest.update(block)
            count -= len(block)
    return digest.hexdigest()


def check_weights(folder: Path) -> None:
    """Check that `folder` holds a loadable transformers model: config, tokenizer, whole safetensors.

    Raises:
        ModelFault: what is missing or damaged.
    """
    config = read_json(folder / "config.json")
    if not isinstance(config.get("model_type"), str):
        raise ModelFault(
            f"{folder / 'config.json'} names no model_type.", fix="Is this a transformers folder?"
        )
    tensors = base_tensors(folder)
    if not config.get("quantization_config"):
        require_floats(folder, tensors.values())
    _refuse_two_heads(folder, config, tensors)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise ModelFault(f"{folder} has no tokenizer.", fix="Save the tokenizer beside the weights.")


def base_tensors(folder: Path) -> dict[str, TensorInfo]:
    """Return all tensors of a model, by name.

    Raises:
        ModelFault: a damaged file, a tensor in two files, or an index that says something else than the files.
    """
    found: dict[str, TensorInfo] = {}
    index = folder / "model.safetensors.index.json"
    files = safetensors_files(folder)
    places = read_json(index)["weight_map"] if index.is_file() else None
    for path in files:
        for name, tensor in read_tensors(path).items():
            if name in found:
                raise ModelFault(f"{folder} has the tensor {name!r} in two files.")
            if places is not None and places.get(name) != path.name:
                raise ModelFault(f"{index} does not say that {path.name} has the tensor {name!r}.")
            found[name] = tensor
    if places is not None and (missing := next((name for name in places if name not in found), None)):
        raise ModelFault(f"{folder} lacks the tensor {missing!r} that its index names.")
    return found


def _refuse_two_heads(folder: Path, config: dict[str, Any], tensors: dict[str, TensorInfo]) -> None:
    """Refuse a model that shares input and output embeddings but has two that differ: loaders drop one."""
    head = tensors.get("lm_head.weight")
    embedding = tensors.get("model.embed_tokens.weight")
    if not config.get("tie_word_embeddings") or head is None or embedding is None:
        return
    places = {name: path for path in safetensors_files(folder) for name in read_tensors(path)}
    digests = set()
    for tensor in (head, embedding):
        digests.add(_hash_part(places[tensor.name], tensor.start, tensor.bytes))
    if head.shape != embedding.shape or head.dtype != embedding.dtype or len(digests) > 1:
        raise ModelFault(
            f"{folder}: its config shares input and output embeddings, but 'lm_head.weight' differs from them.",
            fix="Correct tie_word_embeddings in config.json, or save the model again.",
        )


def safetensors_files(folder: Path) -> list[Path]:
    """Return the weight files, by the index if there is one, in name order."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise ModelFault(f"{index} has no weight_map.")
        return [_inside(folder, name) for name in sorted(set(map(str, weight_map.values())))]
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


def folder_revision(folder: Path) -> str:
    """Return a digest, for cache keys, of everything in a folder that shapes tokens.

    That is each weight file, byte by byte, and every small file beside them but notes: configurations, tokenizer,
    templates. Hashes of weight files are remembered as long as the file is not written to.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in _NOTES or path.name == RECORD_NAME or not path.is_file():
            continue
        weights = path.suffix in (".safetensors", ".gguf", ".bin", ".pt", ".pth")
        if not weights:
            digest.update(f"{path.name}\0{hash_file(path)}\0".encode())
    for path in safetensors_files(folder):
        digest.update(f"{path.name}\0{remembered_hash(path)}\0".encode())
    return digest.hexdigest()


_NOTES = frozenset({".md", ".png", ".jpg", ".pdf", ".gitattributes", ".lock"})


def remembered_hash(path: Path) -> str:
    """Return `hash_file`, cached while size, place and times of the file stay the same."""
    facts = path.stat()
    key = f"{facts.st_dev} {facts.st_ino} {facts.st_size} {facts.st_mtime_ns} {facts.st_ctime_ns}"
    note = cache_dir() / "weight-hashes" / hashlib.sha256(str(path.resolve()).encode()).hexdigest()
    try:
        known, _, found = note.read_text(encoding="ascii").partition("\n")
        if known == key and len(found) == 64:
            return found
    except (OSError, ValueError):
        pass  # Hashed anew below.
    found = hash_file(path)
    with suppress(OSError):  # A cache that cannot be written costs time only.
        note.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(note, f"{key}\n{found}", durable=False)
    return found


def former_revision(folder: Path) -> str:
    """Return the digest that `folder_revision` gave before it read everything; manifests of adapters hold it.

    It covers configurations, headers, and 64 blocks of 4 KiB spread over each weight file.
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


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ModelFault: missing, unreadable, too large or too deep, not JSON, or no object.
    """
    try:
        if path.stat().st_size > MOST_JSON_BYTES:
            raise ModelFault(f"{path} is larger than {MOST_JSON_BYTES:,} bytes.")
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelFault(f"{path} is missing.", fix="Is this a transformers folder?") from None
    except (OSError, ValueError, RecursionError):
        raise ModelFault(f"{str(path)!r} is not readable JSON.") from None
    if not isinstance(content, dict):
        raise ModelFault(f"{path} is not a JSON object.")
    return content
