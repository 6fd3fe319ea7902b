"""Where tokens come from: engines, decoding, adapters and the model catalogue.

The interface is `contract.py` (`Engine`, `Request`, `Decoding`, `Completion`); `open.py` has the list of engines.
Heavy libraries are imported inside functions, so that importing this room stays cheap.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forklock.models.contract import (
        Completion,
        Decoding,
        Engine,
        FinishReason,
        FirstStage,
        Message,
        ModelFault,
        ModelIdentity,
        Request,
    )
    from forklock.models.engines.open import EngineName, open_engine

# OpenMP threads that spin at barriers starve whatever shares the cores: with tests running beside it,
# decoding on two cores falls from about 70 to 7 tokens a second. Must be set before torch loads its OpenMP runtime.
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("KMP_BLOCKTIME", "0")

__all__ = [
    "Completion",
    "Decoding",
    "Engine",
    "EngineName",
    "FinishReason",
    "FirstStage",
    "Message",
    "ModelFault",
    "ModelIdentity",
    "Request",
    "open_engine",
]

_HOMES = {"EngineName": "forklock.models.engines.open", "open_engine": "forklock.models.engines.open"}


def __getattr__(name: str) -> Any:
    """Load on first use: the commands import this package to start, and pydantic alone takes a tenth of a second."""
    if name not in __all__:
        raise AttributeError(f"module 'forklock.models' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "forklock.models.contract")), name)
