"""Qwen3: general models, trained to call tools as JSON in tags."""

from __future__ import annotations

from forklock.models.contract import Decoding
from forklock.models.families.family import Family, HubCard
from forklock.models.families.profile import Profile

QWEN3 = Family(
    name="qwen3",
    in_names=("qwen3",),
    profile=Profile(
        calls="hermes", decoding=Decoding(temperature=0.7, top_k=20, top_p=0.8, max_tokens=4_096)
    ),
    hub=(
        HubCard("Qwen/Qwen3-4B-Instruct-2507", "apache-2.0", 262_144, 4_000_000_000),
        HubCard("Qwen/Qwen3-30B-A3B-Instruct-2507", "apache-2.0", 262_144, 30_500_000_000),
    ),
)
