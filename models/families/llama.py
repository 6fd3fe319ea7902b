"""Llama: the paper's decoding, and the models of the hub."""

from __future__ import annotations

from forklock.models.contract import Decoding
from forklock.models.families.family import Decodings, Family, HubCard
from forklock.models.families.profile import Profile

LLAMA = Family(
    name="llama",
    in_names=("llama",),
    decodings=Decodings(temperature=0.8, top_k=20, top_p=0.8, eval_temperature=0.7),
    profile=Profile(decoding=Decoding(temperature=0.6, top_p=0.9, max_tokens=4_096)),
    hub=(HubCard("meta-llama/Llama-3.1-8B-Instruct", "llama3.1", 131_072, 8_030_000_000, asks_first=True),),
)
