"""Llama: the paper's decoding; its weights come from a folder of yours."""

from __future__ import annotations

from forklock.models.families.family import Decodings, Family

LLAMA = Family(
    name="llama",
    in_names=("llama",),
    decodings=Decodings(temperature=0.8, top_k=20, top_p=0.8, eval_temperature=0.7),
)
