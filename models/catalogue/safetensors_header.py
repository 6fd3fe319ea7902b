"""Reads the header of a safetensors file strictly, and checks its numbers for NaN and infinity.

It returns name, type, shape and place of each tensor, or raises a fault that names what is wrong. Format: 8 bytes
little-endian header length, JSON of {name: {dtype, shape, data_offsets}}, data without gaps or overlaps. Stricter
than the library: no name twice, no infinite or huge sizes. Nothing is allocated by what a header claims.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forklock.models.contract import ModelFault

MAX_HEADER_BYTES = 100_000_000
"""The safetensors library's own bound on a header."""
ITEM_BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "U64": 64, "I32": 32, "U32": 32, "I16": 16, "U16": 16,
    "I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
"""Types that weights have unless they are quantised."""
_EXPONENTS = {"F64": (8, 0x7FF0), "F32": (4, 0x7F80), "F16": (2, 0x7C00), "BF16": (2, 0x7F80)}
"""Bytes of a number, and those of its highest 16 bits that are all set in infinities and NaN only."""
_BLOCK = 1 << 22
"""Bytes that are read at once; a multiple of every width above."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One entry of a header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    """First byte in the file."""
    bytes: int


def read_header(path: Path) -> bytes:
    """Return the raw header, after `read_tensors` has checked it."""
    return _read(path)[0]


def read_tensors(path: Path) -> dict[str, TensorInfo]:
    """Return the tensors of a file, by name.

    Raises:
        ModelFault: torn, truncated, damaged, or no safetensors file.
    """
    return _read(path)[1]


def _read(path: Path) -> tuple[bytes, dict[str, TensorInfo]]:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, MAX_HEADER_BYTES):
                raise ModelFault(f"{path} is truncated or no safetensors file.")
            header = file.read(length)
    except (OSError, ValueError) as error:
        raise ModelFault(f"{str(path)!r} cannot be read: {error}.") from None
    try:
        entries = json.loads(header, object_pairs_hook=_no_name_twice, parse_constant=_refuse)
        tensors = [
            _tensor(name, entry, 8 + length) for name, entry in entries.items() if name != "__metadata__"
        ]
        _refuse_strange_metadata(entries.get("__metadata__", {}))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ModelFault(
            f"{path} has a damaged header: {str(error)[:200] or type(error).__name__}."
        ) from None
    end = _contiguous_end(path, tensors, 8 + length)
    if size != end:
        raise ModelFault(f"{path} has {size:,} bytes, its header asks for {end:,}.")
    return header, {tensor.name: tensor for tensor in tensors}


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _refuse_strange_metadata(metadata: object) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata are not words")


def _tensor(name: str, entry: dict[str, Any], data: int) -> TensorInfo:
    dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BITS:
        raise ValueError(f"{name!r} is of no known type")
    if (
        not isinstance(shape, list)
        or not all(map(_is_size, shape))
        or not (_is_size(start) and _is_size(end))
    ):
        raise ValueError(f"{name!r} has no whole sizes")
    bits = math.prod(shape) * ITEM_BITS[dtype]
    if bits % 8 or end - start != bits // 8:
        raise ValueError(f"{name!r} has {end - start} bytes, its shape asks for {bits // 8}")
    return TensorInfo(name, dtype, tuple(shape), data + start, end - start)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


def _contiguous_end(path: Path, tensors: Iterable[TensorInfo], start: int) -> int:
    """Where the last tensor ends.

    Raises:
        ModelFault: bytes between two tensors, or bytes that belong to two.
    """
    place = start
    for tensor in sorted(tensors, key=lambda one: (one.start, one.bytes)):
        if tensor.start != place:
            what = "overlaps another tensor" if tensor.start < place else "stands behind a gap"
            raise ModelFault(f"{path} has a damaged header: {tensor.name!r} {what}.")
        place += tensor.bytes
    return place


def require_floats(path: Path, tensors: Iterable[TensorInfo]) -> None:
    """
    Raises:
        ModelFault: a tensor of another type, which a loader would convert silently.
    """
    for tensor in tensors:
        if tensor.dtype not in FLOATS:
            raise ModelFault(
                f"{path}: the tensor {tensor.name!r} is of type {tensor.dtype}, not of a float type."
            )


def require_finite(path: Path, tensors: Iterable[TensorInfo]) -> None:
    """Read every number.

    Raises:
        ModelFault: a tensor holds NaN or infinity.
    """
    with path.open("rb") as file:
        for tensor in tensors:
            if tensor.dtype not in _EXPONENTS:
                continue
            width, exponent = _EXPONENTS[tensor.dtype]
            file.seek(tensor.start)
            left = tensor.bytes
            while left and (block := file.read(min(left, _BLOCK))):
                left -= len(block)
                if _has_all_set(block, width, exponent):
                    raise ModelFault(f"{path}: the tensor {tensor.name!r} holds NaN or infinity.")


def _has_all_set(block: bytes, width: int, bits: int) -> bool:
    """Whether a little-endian number of `width` bytes has all these bits set among its highest 16.

    NumPy would be shorter, but it is a third of a base install, which does not need it otherwise.
    """
    high = block[width - 1 :: width]
    if not any(value in high for value in range(256) if value & bits >> 8 == bits >> 8):
        return False  # so it is in real weights: their exponents are small
    low = block[width - 2 :: width]
    return any(
        one & bits >> 8 == bits >> 8 and two & bits & 0xFF == bits & 0xFF
        for one, two in zip(high, low, strict=True)
    )
