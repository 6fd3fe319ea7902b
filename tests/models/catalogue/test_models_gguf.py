"""GGUF conversion on a tiny real GGUF: weights, shared embeddings, tokenizer, end-of-turn tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
from package_index import write_tiny_gguf

from forklock.models.catalogue import gguf
from forklock.models.contract import ModelFault

torch = pytest.importorskip("torch", reason="conversion needs the `local` extra")
transformers = pytest.importorskip("transformers", reason="conversion needs the `local` extra")


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, int]]]:
    source = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_tiny_gguf(source)
    folder = tmp_path_factory.mktemp("converted")
    steps: list[tuple[int, int]] = []
    gguf.convert(
        source,
        folder,
        tied_embeddings=True,
        pre_tokenizer="smollm",
        context_tokens=128,
        on_step=lambda done, total: steps.append((done, total)),
    )
    return folder, steps


def test_weights_are_bf16_safetensors_and_the_finer_embedding_is_shared(converted: tuple) -> None:
    from safetensors.torch import load_file

    folder, steps = converted
    weights = load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    embeddings = [name for name in weights if "embed" in name or "lm_head" in name]
    assert len(embeddings) == 1
    # The coarse copy was rounded to hundredths; the shared one must be the fine one.
    values = weights[embeddings[0]].float()
    assert (values - (values * 100).round() / 100).abs().max() > 1e-3
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert steps[0][0] == 0
    assert steps[-1][0] == steps[-1][1] > 5


def test_every_end_of_turn_token_ends_an_answer(converted: tuple) -> None:
    folder, _ = converted
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    config = transformers.GenerationConfig.from_pretrained(folder)
    ends = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    assert config.eos_token_id == ends
    assert not config.do_sample
    assert config.temperature in (None, 1.0)


def test_tokenizer_keeps_template_special_tokens_and_splits_digits(converted: tuple) -> None:
    folder, _ = converted
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "x"}], tokenize=False, add_generation_prompt=True
    )
    assert text == "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert ids.count(tokenizer.convert_tokens_to_ids("<|im_start|>")) == 2
    sample = "ab 1234\n\té"
    assert tokenizer.decode(tokenizer(sample, add_special_tokens=False).input_ids) == sample
    pieces = [piece for piece, _ in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("12")]
    assert pieces == ["1", "2"]
    assert tokenizer.model_max_length == 128


def test_a_file_that_is_no_gguf_is_a_fault(tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF" + b"\0" * 100)
    with pytest.raises(ModelFault, match="cannot be converted") as caught:
        gguf.convert(bad, tmp_path, tied_embeddings=True, pre_tokenizer="", context_tokens=8)
    assert "pull" in caught.value.fix
