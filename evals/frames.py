"""evals: the judge's side of the talk with `evals.driver`: length-prefixed JSON frames.

In: values, or bytes that came from a driver (and may be cut or forged). Out: bytes, or the well-formed
leading frames. Pure.
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


def frames(data: bytes) -> Iterator[Any]:
    """The leading frames that are whole and hold JSON; stops at the first that is not."""
    at = 0
    while at + _HEAD <= len(data):
        end = at + _HEAD + int.from_bytes(data[at : at + _HEAD], "big")
        if end > len(data):
            return
        try:
            yield json.loads(data[at + _HEAD : end])
        except (ValueError, RecursionError):
            return
        at = end
