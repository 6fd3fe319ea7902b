"""Weights and adapters that do not match are refused by each engine, and every difference has an identity.

The generator damages one tensor of each kind in each way, and the settings in each way; nothing that it makes may be
served. `check_loads` and `VllmLora` are what the vLLM engine asks before it starts a server.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from forklock.models import Decoding, ModelFault, Request
from forklock.models.adapters import resolve_adapter
from forklock.models.adapters.lora import adapter_digest
from forklock.models.catalogue.catalogue import ResolvedModel, resolve_model
from forklock.models.catalogue.safetensors_header import read_tensors
from forklock.models.catalogue.strict_loading import check_loads, load_causal_lm
from forklock.models.catalogue.weights import folder_revision
from forklock.models.engines.transformers_engine import TransformersEngine
from forklock.models.engines.vllm.lora import VllmLora

Tensors = dict[str, torch.Tensor]
Damage = Callable[[Tensors, str], None]
SHORT = Decoding(temperature=0, max_tokens=2)


def _drop(tensors: Tensors, name: str) -> None:
    del tensors[name]


def _rename(tensors: Tensors, name: str) -> None:
    tensors[name.replace(".", ".x_", 1)] = tensors.pop(name)


def _end_renamed(tensors: Tensors, name: str) -> None:
    tensors[name + "_2"] = tensors.pop(name)


def _wider(tensors: Tensors, name: str) -> None:
    tensors[name] = torch.cat([tensors[name], tensors[name]], -1)


def _longer(tensors: Tensors, name: str) -> None:
    tensors[name] = torch.cat([tensors[name], tensors[name][:1]], 0)


def _flat(tensors: Tensors, name: str) -> None:
    tensors[name] = tensors[name].reshape(1, -1, 1)


def _empty(tensors: Tensors, name: str) -> None:
    tensors[name] = tensors[name][:0]


def _nan(tensors: Tensors, name: str) -> None:
    tensors[name] = torch.full_like(tensors[name], torch.nan)


def _one_nan(tensors: Tensors, name: str) -> None:
    tensors[name] = tensors[name].clone()
    tensors[name].view(-1)[-1] = torch.nan


def _infinite(tensors: Tensors, name: str) -> None:
    tensors[name] = tensors[name].clone()
    tensors[name].view(-1)[0] = -torch.inf


def _half_nan(tensors: Tensors, name: str) -> None:
    tensors[name] = torch.full_like(tensors[name], torch.nan).bfloat16()


def _integers(tensors: Tensors, name: str) -> None:
    tensors[name] = (tensors[name] * 100).to(torch.int8)


def _booleans(tensors: Tensors, name: str) -> None:
    tensors[name] = tensors[name] > 0


def _surplus(tensors: Tensors, name: str) -> None:
    tensors[f"{name}.more"] = tensors[name].clone()


def _scrambled(tensors: Tensors, _name: str) -> None:
    for name in list(tensors):
        tensors["other." + name] = tensors.pop(name)


DAMAGES: tuple[Damage, ...] = (
    _drop, _rename, _end_renamed, _wider, _longer, _flat, _empty, _nan, _one_nan, _infinite, _half_nan, _integers,
    _booleans, _surplus, _scrambled,
)  # fmt: skip
BASE_KINDS = ("model.embed_tokens.weight", "model.norm.weight", "model.layers.0.self_attn.q_proj.weight",
              "model.layers.1.self_attn.k_proj.bias", "model.layers.1.mlp.down_proj.weight",
              "model.layers.0.input_layernorm.weight")  # fmt: skip
LORA = "base_model.model.model.layers.{}.{}.lora_{}.weight"
ADAPTER_KINDS = tuple(
    LORA.format(layer, module, side)
    for layer, module in ((0, "self_attn.q_proj"), (1, "self_attn.v_proj"), (1, "mlp.down_proj"))
    for side in "AB"
)
SETTINGS: tuple[dict[str, Any], ...] = (
    {"r": 8}, {"r": 0}, {"r": -4}, {"r": "4"}, {"r": None}, {"r": 4.5}, {"r": 10**9}, {"r": True},
    {"lora_alpha": 0}, {"lora_alpha": -8}, {"lora_alpha": float("nan")}, {"lora_alpha": float("inf")},
    {"lora_alpha": "8"}, {"lora_alpha": 1e30}, {"lora_alpha": None}, {"rank_pattern": {"q_proj": 2}},
    {"rank_pattern": [1]}, {"alpha_pattern": {"q_proj": float("nan")}}, {"peft_type": "IA3"}, {"peft_type": None},
    {"peft_type": ["LORA"]}, {"use_dora": True}, {"modules_to_save": ["lm_head"]}, {"lora_bias": True},
    {"target_modules": ["q_proj", "no_such"]}, {"a_setting_of_tomorrow": True}, {"target_parameters": ["x"]},
)  # fmt: skip


def _copy(source: Path, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    return folder


def _damaged(source: Path, folder: Path, file: str, damage: Damage, name: str) -> Path:
    _copy(source, folder)
    tensors = load_file(folder / file)
    assert name in tensors
    damage(tensors, name)
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / file, {"format": "pt"})
    return folder


def _refused(*engines: Callable[[], object]) -> Iterator[str]:
    """Messages of the engines' refusals."""
    for engine in engines:
        with pytest.raises(ModelFault) as caught:
            engine()
        yield caught.value.message


@pytest.mark.hostile("weights")
@pytest.mark.parametrize("name", BASE_KINDS)
def test_a_base_with_a_wrong_tensor_is_served_by_no_engine(
    tiny_model_dir: Path, tmp_path: Path, name: str, tried: Callable[[int], None]
) -> None:
    for damage in DAMAGES:
        folder = _damaged(tiny_model_dir, tmp_path / "base", "model.safetensors", damage, name)
        messages = list(
            _refused(
                partial(TransformersEngine.open, folder),
                partial(check_loads, folder),
                partial(load_causal_lm, folder, dtype="auto"),
            )
        )
        part = name.rpartition(".")[0].rpartition(".")[2] if damage is not _scrambled else "."
        assert all(part in message for message in messages), (damage, messages)
    tried(3 * len(DAMAGES))


@pytest.mark.hostile("weights")
@pytest.mark.parametrize("name", ADAPTER_KINDS)
def test_an_adapter_with_a_wrong_tensor_is_served_by_no_engine(
    tiny_model_dir: Path, tiny_adapter_dir: Path, tmp_path: Path, name: str, tried: Callable[[int], None]
) -> None:
    base = resolve_model(tiny_model_dir)
    for damage in DAMAGES:
        folder = _damaged(tiny_adapter_dir, tmp_path / "lora", "adapter_model.safetensors", damage, name)
        _expect_refused(tiny_model_dir, base, folder)
    tried(2 * len(DAMAGES))


def _expect_refused(model: Path, base: ResolvedModel, adapter: Path) -> None:
    list(
        _refused(
            lambda: TransformersEngine.open(model, adapter=adapter),
            lambda: VllmLora.read(base.name, adapter, base),
        )
    )


@pytest.mark.hostile("weights")
def test_adapters_of_another_base_and_empty_ones_are_refused(
    tiny_model_dir: Path, tiny_adapter_dir: Path, tmp_path: Path
) -> None:
    from tiny import make_tiny_adapter, make_tiny_model

    base = resolve_model(tiny_model_dir)
    deeper = make_tiny_model(tmp_path / "deeper", layers=3)
    _expect_refused(tiny_model_dir, base, make_tiny_adapter(deeper, tmp_path / "of-deeper"))
    wider = _wider_model(tmp_path / "wider")
    _expect_refused(wider, resolve_model(wider), tiny_adapter_dir)
    empty = _copy(tiny_adapter_dir, tmp_path / "empty")
    save_file({}, empty / "adapter_model.safetensors")
    _expect_refused(tiny_model_dir, base, empty)


def _wider_model(folder: Path) -> Path:
    from tiny import make_tiny_tokenizer
    from transformers import Qwen2Config, Qwen2ForCausalLM

    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = Qwen2Config(vocab_size=259, num_hidden_layers=2, tie_word_embeddings=True, **sizes)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    make_tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.hostile("weights")
def test_settings_that_cannot_be_or_are_not_served_are_refused(
    tiny_model_dir: Path, tiny_adapter_dir: Path, tmp_path: Path, tried: Callable[[int], None]
) -> None:
    base = resolve_model(tiny_model_dir)
    for change in SETTINGS:
        folder = _copy(tiny_adapter_dir, tmp_path / "lora")
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps(config | change))
        if "a_setting_of_tomorrow" in change or "no_such" in str(change):
            with pytest.raises(ModelFault):
                TransformersEngine.open(tiny_model_dir, adapter=folder)
        elif "target_parameters" in change:
            with pytest.raises(ModelFault):
                VllmLora.read(base.name, folder, base)
        else:
            _expect_refused(tiny_model_dir, base, folder)
    tried(len(SETTINGS))


def test_whole_ones_are_served(tiny_model_dir: Path, tiny_adapter_dir: Path) -> None:
    check_loads(tiny_model_dir)
    base = resolve_model(tiny_model_dir)
    assert VllmLora.read(base.name, tiny_adapter_dir, base) is not None
    with TransformersEngine.open(tiny_model_dir, adapter=tiny_adapter_dir) as engine:
        assert engine.complete([Request.chat("x")], SHORT)


@pytest.mark.hostile("weights")
@pytest.mark.parametrize("change", [{"num_hidden_layers": 1}, {"num_hidden_layers": 3}, {"hidden_size": 64},
                                    {"intermediate_size": 32}, {"vocab_size": 300}, {"num_key_value_heads": 1},
                                    {"tie_word_embeddings": False}], ids=str)  # fmt: skip
def test_a_config_that_asks_for_other_tensors_is_refused(
    tiny_model_dir: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    folder = _copy(tiny_model_dir, tmp_path / "base")
    config = json.loads((folder / "config.json").read_text())
    if "num_hidden_layers" in change:
        config.pop("layer_types", None)
    (folder / "config.json").write_text(json.dumps(config | change))
    list(_refused(lambda: TransformersEngine.open(folder), lambda: check_loads(folder)))


@pytest.mark.hostile("weights")
def test_a_second_output_matrix_is_not_dropped(tiny_model_dir: Path, tmp_path: Path) -> None:
    folder = _copy(tiny_model_dir, tmp_path / "base")
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] * 2
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    messages = list(_refused(lambda: TransformersEngine.open(folder), lambda: check_loads(folder)))
    assert all("lm_head" in message for message in messages)


# -- identities ------------------------------------------------------------------------------------------

SHAPES_TOKENS: tuple[dict[str, Any], ...] = (
    {"lora_alpha": 800}, {"lora_alpha": 8.5}, {"use_rslora": True}, {"use_dora": True}, {"fan_in_fan_out": True},
    {"rank_pattern": {"q_proj": 4}}, {"alpha_pattern": {"q_proj": 4}}, {"target_modules": ["q_proj"]},
    {"layers_to_transform": [0]}, {"bias": "all"}, {"modules_to_save": ["x"]}, {"exclude_modules": ["q_proj"]},
    {"layer_replication": [[0, 1]]}, {"a_setting_of_tomorrow": 1},
)  # fmt: skip
ORIGIN: tuple[dict[str, Any], ...] = (
    {"base_model_name_or_path": "/elsewhere"}, {"peft_version": "9"}, {"inference_mode": False}, {"lora_dropout": 0.1},
)  # fmt: skip


@pytest.mark.hostile("answers")
def test_an_adapters_identity_is_all_that_shapes_tokens(
    tiny_adapter_dir: Path, tmp_path: Path, tried: Callable[[int], None]
) -> None:
    config = json.loads((tiny_adapter_dir / "adapter_config.json").read_text())
    digests = {adapter_digest(tiny_adapter_dir)}
    folder = _copy(tiny_adapter_dir, tmp_path / "v1")
    for change in SHAPES_TOKENS:
        (folder / "adapter_config.json").write_text(json.dumps(config | change))
        found = resolve_adapter("base", folder)
        assert found is not None and found.version.removeprefix("folder-") not in {d[:16] for d in digests}, (
            change
        )
        digests.add(adapter_digest(folder))
    assert len(digests) == 1 + len(SHAPES_TOKENS)
    for change in ORIGIN:
        (folder / "adapter_config.json").write_text(json.dumps(dict(reversed((config | change).items()))))
        assert adapter_digest(folder) == adapter_digest(tiny_adapter_dir), change
    tried(len(SHAPES_TOKENS))


@pytest.mark.hostile("answers")
def test_equal_adapters_by_another_alpha_have_other_identities(
    tiny_model_dir: Path, tiny_adapter_dir: Path, tmp_path: Path
) -> None:
    """Same folder name, same weights: stored samples of the one must not be taken for the other's."""
    found = set()
    for alpha in (8, 80):
        folder = _copy(tiny_adapter_dir, tmp_path / str(alpha) / "same" / "v1")
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": alpha}))
        for merge in (True, False):
            with TransformersEngine.open(tiny_model_dir, adapter=folder, merge=merge) as engine:
                found.add(engine.identity.model_dump_json())
        lora = VllmLora.read("base", folder)
        assert lora is not None
        found.add(lora.served_name)
    assert len(found) == 6


@pytest.mark.hostile("answers")
def test_a_bases_identity_is_every_byte_that_shapes_tokens(
    tiny_model_dir: Path, tmp_path: Path, tried: Callable[[int], None]
) -> None:
    folder = _copy(tiny_model_dir, tmp_path / "base")
    found = [folder_revision(folder)]
    files = [path for path in sorted(folder.iterdir()) if path.suffix != ".safetensors"]
    for path in files:
        path.write_bytes(path.read_bytes() + b" ")
        found.append(folder_revision(folder))
    for name in ("merges.txt", "vocab.txt", "tokenizer.model", "x.tiktoken", "chat_template.jinja"):
        (folder / name).write_text("x")
        found.append(folder_revision(folder))
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    for place in range(-1, -len(data) // 2, -len(data) // 40):
        data[place] ^= 1
        weights.write_bytes(data)
        found.append(folder_revision(folder))
    assert len(set(found)) == len(found)
    (folder / "README.md").write_text("words")
    assert folder_revision(folder) == found[-1]
    tried(len(found))


@pytest.mark.hostile("answers")
def test_a_byte_in_the_middle_of_a_large_file_counts(tiny_model_dir: Path, tmp_path: Path) -> None:
    folder = _copy(tiny_model_dir, tmp_path / "base")
    tensors = load_file(folder / "model.safetensors")
    large = torch.zeros(4_000_000)
    revisions = set()
    for value in (0.0, 1.0):
        large[2_000_123] = value
        save_file({**tensors, "z.large": large}, folder / "model.safetensors")
        revisions.add(folder_revision(folder))
    assert len(revisions) == 2


# -- damaged files ---------------------------------------------------------------------------------------


def _header(*entries: str, data: int = 8) -> bytes:
    text = ("{" + ",".join(entries) + "}").encode()
    return len(text).to_bytes(8, "little") + text + b"\0" * data


_ONE = '"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}'
HEADERS = {
    "infinite size": _header('"a": {"dtype": "F32", "shape": [1e999], "data_offsets": [0, 8]}'),
    "infinite end": _header('"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 1e999]}'),
    "not a number": _header('"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 8]}'),
    "fraction": _header('"a": {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}'),
    "negative": _header('"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}'),
    "truth": _header('"a": {"dtype": "U8", "shape": [true], "data_offsets": [0, 1]}', data=1),
    "huge": _header('"a": {"dtype": "F32", "shape": [4611686018427387904, 4], "data_offsets": [0, 8]}'),
    "long number": _header('"a": {"dtype": "F32", "shape": [' + "9" * 5000 + '], "data_offsets": [0, 8]}'),
    "name twice": _header(_ONE, _ONE),
    "key twice": _header('"a": {"dtype": "F32", "dtype": "I32", "shape": [2], "data_offsets": [0, 8]}'),
    "overlap": _header(_ONE, '"b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}', data=12),
    "same place": _header(_ONE, _ONE.replace('"a"', '"b"')),
    "gap": _header(_ONE, '"b": {"dtype": "F32", "shape": [1], "data_offsets": [12, 16]}', data=16),
    "late start": _header('"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}'),
    "backwards": _header('"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}'),
    "short": _header('"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}'),
    "surplus data": _header(_ONE, data=9),
    "missing data": _header(_ONE, data=7),
    "no such type": _header('"a": {"dtype": "F7", "shape": [2], "data_offsets": [0, 8]}'),
    "type as a list": _header('"a": {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]}'),
    "three offsets": _header('"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4, 8]}'),
    "no object": _header('"a": 5'),
    "deep": _header('"a": ' + "[" * 100_000),
    "a list": (2).to_bytes(8, "little") + b"[]",
    "metadata": _header('"__metadata__": {"a": 5}', _ONE),
    "no text": (4).to_bytes(8, "little") + b"\xff\xfe{}",
    "endless header": (2**63).to_bytes(8, "little") + b"{}",
    "nothing": b"",
    "seven bytes": b"1234567",
}  # fmt: skip


@pytest.mark.hostile("damage")
@pytest.mark.parametrize("name", HEADERS)
def test_damaged_headers_are_refused(
    tiny_model_dir: Path, tiny_adapter_dir: Path, tmp_path: Path, name: str, tried: Callable[[int], None]
) -> None:
    base = _copy(tiny_model_dir, tmp_path / "base")
    (base / "model.safetensors").write_bytes(HEADERS[name])
    adapter = _copy(tiny_adapter_dir, tmp_path / "lora")
    (adapter / "adapter_model.safetensors").write_bytes(HEADERS[name])
    list(
        _refused(
            lambda: read_tensors(base / "model.safetensors"),
            lambda: resolve_model(base),
            lambda: resolve_adapter("base", adapter),
            lambda: TransformersEngine.open(base),
            lambda: TransformersEngine.open(tiny_model_dir, adapter=adapter),
        )
    )
    tried(5)


@pytest.mark.hostile("damage")
@settings(max_examples=150)
@given(data=st.data())
def test_flipped_bits_are_a_fault_or_change_the_identity(
    tiny_model_dir: Path,
    tiny_adapter_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    source, name = data.draw(
        st.sampled_from(
            [(tiny_adapter_dir, "adapter_model.safetensors"), (tiny_adapter_dir, "adapter_config.json"),
             (tiny_model_dir, "config.json"), (tiny_model_dir, "model.safetensors"),
             (tiny_model_dir, "generation_config.json")]
        )
    )  # fmt: skip
    folder = tmp_path_factory.getbasetemp() / "flipped"
    _copy(source, folder)
    raw = bytearray((folder / name).read_bytes())
    # Half of the flips go where the header is.
    place = data.draw(st.one_of(st.integers(0, min(200, len(raw) - 1)), st.integers(0, len(raw) - 1)))
    raw[place] ^= 1 << data.draw(st.integers(0, 7))
    (folder / name).write_bytes(raw)
    try:
        if source is tiny_adapter_dir:
            found = resolve_adapter("base", folder)
            assert found is not None
        else:
            assert resolve_model(folder).revision != resolve_model(source).revision
    except ModelFault as fault:
        assert fault.message


JSONS = ("", "{", "[]", "null", "5", '"x"', "[" * 200_000, '{"a":' * 100_000, "\ufeff{}", '{"r": 1e999}', "\0",
         '{"model_type": ["x"]}', '{"peft_type": {"LORA": 1}}', "{" + '"a": 1,' * 10 + "}", "9" * 10_000)  # fmt: skip


@pytest.mark.hostile("damage")
def test_garbled_settings_are_faults(
    tiny_model_dir: Path, tiny_adapter_dir: Path, tmp_path: Path, tried: Callable[[int], None]
) -> None:
    for text in JSONS:
        base, adapter = _copy(tiny_model_dir, tmp_path / "base"), _copy(tiny_adapter_dir, tmp_path / "lora")
        (base / "config.json").write_text(text)
        (adapter / "adapter_config.json").write_text(text)
        list(
            _refused(
                partial(resolve_model, base),
                partial(TransformersEngine.open, base),
                partial(resolve_adapter, "base", adapter),
                partial(VllmLora.read, "base", adapter),
            )
        )
        shutil.rmtree(base)
        base = _copy(tiny_model_dir, tmp_path / "base")
        (base / "model.safetensors.index.json").write_text(text)
        list(_refused(partial(resolve_model, base)))
    tried(5 * len(JSONS))


@pytest.mark.hostile("damage")
@pytest.mark.parametrize(
    "name",
    ["a\0b", "./a\0b", "/\0", "~nobody-here/x", "~\0", "a/" * 3000, "x" * 5000, "/dev/null", "\udcff/x"],
)
def test_strange_names_are_faults(name: str) -> None:
    from forklock.models import open_engine

    with pytest.raises(ModelFault):
        open_engine(name, engine="transformers")
    with pytest.raises(ModelFault):
        resolve_adapter("base", name)
    with pytest.raises(ModelFault):
        open_engine(name)
