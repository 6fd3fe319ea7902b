"""From the decoding that is wanted to the one that a server can do.

In: a decoding, and which of its fields the user asked for. Out: the same with defaults left out that the server
does not know, a note for each, and a fault for what the user asked for and cannot have. Defaults are for whoever
serves; what a user asked for is never dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from forklock.models.contract import Decoding, Fitted, ModelFault

NEUTRAL: dict[str, Any] = {"top_k": 0, "min_p": 0.0, "top_p": 1.0, "seed": None}
"""Values that ask for nothing. A temperature has none: it is left out of the request instead."""


def fit(decoding: Decoding, unknown: Iterable[str], asked: Collection[str], *, where: str) -> Fitted:
    """Leave the fields in `unknown` out of `decoding`.

    Raises:
        ModelFault: the user asked for one of them.
    """
    changes: dict[str, Any] = {}
    notes = []
    for name in unknown:
        value = getattr(decoding, name)
        if name in NEUTRAL and value == NEUTRAL[name]:
            continue
        if name in asked:
            raise cannot(where, name)
        if name in NEUTRAL:
            changes[name] = NEUTRAL[name]
        notes.append(f"{where} takes no {name}: {name} = {value:g} is left out, and its own default applies.")
    return Fitted(decoding=decoding.model_copy(update=changes), notes=tuple(notes))


def cannot(where: str, name: str) -> ModelFault:
    """The fault for a field that a server does not honour."""
    verb = "truncate by" if name in ("top_k", "min_p", "top_p") else "take"
    neutral = NEUTRAL.get(name, "its default")
    return ModelFault(
        f"{where} does not {verb} {name}.",
        fix=f"Leave {name} out (or set it to {neutral}), or serve the model with --engine vllm or transformers.",
    )
