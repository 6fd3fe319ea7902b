"""Families of models: what each entry of the list must hold, and what follows for a model's name."""

from __future__ import annotations

import pytest

from forklock.models.calls import format_for, format_named
from forklock.models.families import (
    CATALOGUE,
    END_OF_TURN,
    FAMILIES,
    HUB,
    PRESETS,
    UNKNOWN,
    Family,
    family_of,
    hub_card,
    infill_of,
    preset_of,
    profile_of,
    restore_tokenizer,
)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_is_complete(family: Family) -> None:
    assert family.name and family.in_names and all(word == word.lower() for word in family.in_names)
    assert family.decodings or family.cards or family.profile, "it would change nothing"
    for card in family.cards:
        assert any(word in card.name for word in family.in_names)
        assert card.pre_tokenizer in family.restore_tokenizer
        assert family.end_of_turn
        assert card.mirrors and card.bytes > 0 and card.parameters > 0 and card.context_tokens > 0


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_profile_is_one_that_can_be_followed(family: Family) -> None:
    profile = family.profile or UNKNOWN
    assert format_named(profile.calls)
    assert 2 * profile.decoding.max_tokens <= profile.window
    for card in family.cards:
        assert profile.window <= card.context_tokens and profile_of(card.name) is family.profile
    for card in family.hub:
        assert profile.window <= card.context_tokens and profile_of(card.repo_id) is family.profile
        assert hub_card(card.repo_id.upper()) is card and card.needed_gb > 1


@pytest.mark.parametrize(
    ("model", "calls", "edit"),
    [
        ("qwen2.5-coder-1.5b", "text", "whole"),
        ("Qwen/Qwen3-4B-Instruct-2507", "hermes", "search-replace"),
        ("Qwen/Qwen3-4B-Thinking-2507", "hermes", "search-replace"),
        ("qwen3-coder:30b", "qwen3-xml", "search-replace"),
        ("hf.co/unsloth/Qwen3-Coder-30B-A3B-Instruct-GGUF:Q4_K_M", "qwen3-xml", "search-replace"),
        ("ollama/gpt-oss:20b", "harmony", "search-replace"),
        ("mistralai/Devstral-Small-2-24B-Instruct-2512", "text", "search-replace"),
        ("smollm2-135m", "text", "whole"),
        ("openai/gpt-5", "text", "search-replace"),
        ("somebody/else", "text", "search-replace"),
    ],
)
def test_profiles_by_name(model: str, calls: str, edit: str) -> None:
    assert (profile_of(model).calls, profile_of(model).edit) == (calls, edit)


def test_a_format_of_raw_text_needs_an_engine_that_continues_it() -> None:
    assert format_for("harmony", continues_text=True).name == "harmony"
    assert format_for("harmony", continues_text=False).name == "text"
    assert format_for("hermes", continues_text=False).name == "hermes"


def test_names_of_families_are_distinct() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    assert len({card.name for card in CATALOGUE}) == len(CATALOGUE)
    assert len({card.repo_id.lower() for card in HUB}) == len(HUB) >= 10


def test_architectures_of_cards_are_known_to_transformers() -> None:
    auto = pytest.importorskip("transformers.models.auto.modeling_auto", reason="needs the `local` extra")
    assert {card.architecture for card in CATALOGUE} <= set(auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("qwen2.5-coder-0.5b", "qwen"),
        ("Meta-Llama-3.1-8B", "llama"),
        ("Qwen3-4B-Thinking", "thinking"),
        ("smollm2-135m", "qwen"),
        ("somebody/else", "qwen"),
    ],
)
def test_the_papers_decodings_by_name(model: str, family: str) -> None:
    assert family_of(model) == family
    assert preset_of(model) == PRESETS[family]


def test_the_papers_settings() -> None:
    shown = {name: (d.temperature, d.top_k, d.top_p, d.eval_temperature) for name, d in PRESETS.items()}
    assert shown == {
        "llama": (0.8, 20, 0.8, 0.7),
        "qwen": (1.6, 20, 0.8, 1.1),
        "thinking": (1.2, 20, 0.95, 0.7),
    }


def test_marks_of_a_gap_need_all_three_in_the_vocabulary() -> None:
    marks = infill_of(["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "a"])
    assert marks is not None and marks.middle == "<|fim_middle|>"
    assert infill_of(["<|fim_prefix|>", "<|fim_suffix|>"]) is None
    assert infill_of([]) is None


def test_tokens_that_end_a_turn() -> None:
    assert END_OF_TURN == ("<|im_end|>", "<|endoftext|>")


def test_tokenizers_are_restored_by_the_name_in_the_gguf() -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="needs the `local` extra")
    restored = tokenizers.Tokenizer(tokenizers.models.BPE())
    restore_tokenizer(restored, "qwen2")
    assert restored.normalizer is not None and restored.pre_tokenizer is None
    restore_tokenizer(restored, "smollm")
    assert [piece for piece, _ in restored.pre_tokenizer.pre_tokenize_str("12")] == ["1", "2"]
    restore_tokenizer(restored, "nobody's")
