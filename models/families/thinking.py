"""Thinking models of any make: the paper decodes them alike."""

from __future__ import annotations

from forklock.models.families.family import Decodings, Family

THINKING = Family(
    name="thinking",
    in_names=("thinking",),
    decodings=Decodings(temperature=1.2, top_k=20, top_p=0.95, eval_temperature=0.7),
)
