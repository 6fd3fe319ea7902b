"""gpt-oss: OpenAI's open weights. They were trained on the harmony format alone, and sampled at temperature 1."""

from __future__ import annotations

from forklock.models.contract import Decoding
from forklock.models.families.family import Family, HubCard
from forklock.models.families.profile import Profile

GPT_OSS = Family(
    name="gpt-oss",
    in_names=("gpt-oss", "gpt_oss", "gptoss"),
    profile=Profile(
        calls="harmony", window=24_576, decoding=Decoding(temperature=1.0, top_p=1.0, max_tokens=8_192)
    ),
    hub=(HubCard("openai/gpt-oss-20b", "apache-2.0", 131_072, 21_000_000_000, memory_gb=16),),
)
