"""Families of models: one file each (names, decodings, gap marks, tokenizer, cards), and the list of them."""

from forklock.models.families.family import Decodings, Family, HubMirror, Mirror, ModelCard, PackageMirror
from forklock.models.families.known import (
    CATALOGUE,
    END_OF_TURN,
    EVAL_TOP_K,
    EVAL_TOP_P,
    FAMILIES,
    PRESETS,
    family_of,
    infill_of,
    preset_of,
    restore_tokenizer,
)

__all__ = [
    "CATALOGUE",
    "END_OF_TURN",
    "EVAL_TOP_K",
    "EVAL_TOP_P",
    "FAMILIES",
    "PRESETS",
    "Decodings",
    "Family",
    "HubMirror",
    "Mirror",
    "ModelCard",
    "PackageMirror",
    "family_of",
    "infill_of",
    "preset_of",
    "restore_tokenizer",
]
