"""Devstral and other models of Mistral's.

Their own calls are made of control tokens, which no chat template passes on from a message's text: so they get the text
format. Calls in their own form are read as well.
"""

from __future__ import annotations

from forklock.models.families.family import Family, HubCard
from forklock.models.families.profile import Profile

MISTRAL = Family(
    name="mistral",
    in_names=("devstral", "mistral", "codestral"),
    profile=Profile(),
    hub=(HubCard("mistralai/Devstral-Small-2-24B-Instruct-2512", "apache-2.0", 262_144, 24_000_000_000),),
)
