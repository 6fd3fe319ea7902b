"""Families of models: one file each (names, decodings, profile, gap marks, tokenizer, cards), and their list."""

from forklock.models.families.family import (
    Decodings,
    Family,
    HubCard,
    HubMirror,
    Mirror,
    ModelCard,
    PackageMirror,
)
from forklock.models.families.known import (
    CATALOGUE,
    END_OF_TURN,
    EVAL_TOP_K,
    EVAL_TOP_P,
    FAMILIES,
    HUB,
    PRESETS,
    family_of,
    hub_card,
    infill_of,
    preset_of,
    profile_of,
    restore_tokenizer,
)
from forklock.models.families.profile import UNKNOWN, EditFormat, Profile

__all__ = [
    "CATALOGUE",
    "END_OF_TURN",
    "EVAL_TOP_K",
    "EVAL_TOP_P",
    "FAMILIES",
    "HUB",
    "PRESETS",
    "UNKNOWN",
    "Decodings",
    "EditFormat",
    "Family",
    "HubCard",
    "HubMirror",
    "Mirror",
    "ModelCard",
    "PackageMirror",
    "Profile",
    "family_of",
    "hub_card",
    "infill_of",
    "preset_of",
    "profile_of",
    "restore_tokenizer",
]
