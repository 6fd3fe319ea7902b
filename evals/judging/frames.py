"""evals: the judge's side of the talk with `evals.judging.driver.main`: length-prefixed JSON frames.

In: values, or bytes that came from a driver (and may be cut or forged). Out: bytes, or values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_HEAD = 8
"""Bytes of the big-endian length before each frame."""


@dataclass(frozen=True, slots=True)
class Job:
    """One program for the driver: what it may know at once, and what only its supervisor may."""

    payload: dict[str, Any]
    tests: dict[str, Any]
    nonce: str
    """Known to the judge and the supervisor alone: a result without it is forged."""


def frame(value: Any) -> bytes:
    data = json.dumps(value).encode()
    return len(data).to_bytes(_HEAD, "big") + data


def whole_frames(data: bytearray) -> Iterator[Any]:
    """The values of the leading frames that are whole, which are taken out of `data`.

    Raises:
        ValueError: one holds no JSON.
    """
    at = 0
    try:
        while at + _HEAD <= len(data):
            start = at + _HEAD
            end = start + int.from_bytes(data[at:start], "big")
            if end > len(data):
                return
            at = end
            try:
                yield json.loads(data[start:end])
            except RecursionError:
                raise ValueError("nested too deeply") from None
    finally:
        del data[:at]
