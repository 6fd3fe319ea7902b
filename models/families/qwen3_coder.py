"""Qwen3-Coder, and Qwen3.5, which shares its way of calling tools: tags with bare values."""

from __future__ import annotations

from forklock.models.contract import Decoding
from forklock.models.families.family import Family, HubCard
from forklock.models.families.profile import Profile

QWEN3_CODER = Family(
    name="qwen3-coder",
    in_names=("qwen3-coder", "qwen3_coder", "qwen3coder", "qwen3.5"),
    profile=Profile(
        calls="qwen3-xml",
        window=24_576,
        decoding=Decoding(temperature=0.7, top_k=20, top_p=0.8, max_tokens=4_096),
    ),
    hub=(HubCard("Qwen/Qwen3-Coder-30B-A3B-Instruct", "apache-2.0", 262_144, 30_500_000_000),),
)
