"""Where tokens come from: engines, decoding, adapters and the model catalogue.

The seam is `contract.py` (`Engine`, `Request`, `Decoding`, `Completion`). Three engines implement it:
`transformers` (in-process, the embedded default), `hosted` (LiteLLM) and `vllm` (a server). Heavy
libraries are imported inside functions, so that importing this room stays cheap.
"""

from models.contract import (
    Completion,
    Decoding,
    Engine,
    FinishReason,
    Message,
    ModelFault,
    ModelIdentity,
    Request,
)
from models.open import EngineName, open_engine

__all__ = [
    "Completion",
    "Decoding",
    "Engine",
    "EngineName",
    "FinishReason",
    "Message",
    "ModelFault",
    "ModelIdentity",
    "Request",
    "open_engine",
]
