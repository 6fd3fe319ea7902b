"""The catalogue, and folders of weights: whole, damaged, unsafe; revisions that follow the weights."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from forklock.models.catalogue.catalogue import find_card, resolve_model
from forklock.models.catalogue.weights import read_header
from forklock.models.contract import ModelFault
from forklock.models.families import CATALOGUE, PackageMirror


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def model_folder(folder: Path, value: float = 0.0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"w": np.full((64, 64), value, np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_cards_are_complete_and_distinct() -> None:
    assert {card.name for card in CATALOGUE} >= {"qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b", "smollm2-135m"}
    for card in CATALOGUE:
        assert len(card.sha256) == 64
        assert card.licence == "Apache-2.0"
        assert len(card.mirrors) == 2
    assert len({card.sha256 for card in CATALOGUE}) == len(CATALOGUE)


def test_package_mirrors_name_each_part_in_order() -> None:
    mirror = PackageMirror("x-part{i}", "1", "x_part{i}/data/part{i:02d}.bin", parts=12)
    assert mirror.packages()[0] == ("x-part1", "x_part1/data/part01.bin")
    assert mirror.packages()[11] == ("x-part12", "x_part12/data/part12.bin")


def test_near_misses_are_suggested() -> None:
    assert find_card(" SmolLM2-135M ").name == "smollm2-135m"
    with pytest.raises(ModelFault) as caught:
        find_card("qwen-coder-0.5b")
    assert "'qwen2.5-coder-0.5b'" in caught.value.fix
    assert caught.value.exit_code == 2  # type: ignore[attr-defined]


def test_a_model_that_is_not_pulled_names_the_command() -> None:
    with pytest.raises(ModelFault, match="not on this machine") as caught:
        resolve_model("smollm2-135m")
    assert "agent models pull smollm2-135m" in caught.value.fix


def test_a_folder_without_its_record_is_damaged(home: Path) -> None:
    model_folder(home / "models" / "smollm2-135m")
    with pytest.raises(ModelFault, match=r"damaged: .*forklock\.json") as caught:
        resolve_model("smollm2-135m")
    assert "agent models remove smollm2-135m" in caught.value.fix


def test_revisions_follow_the_weights_and_not_the_place(tmp_path: Path) -> None:
    one = resolve_model(model_folder(tmp_path / "a", 1))
    same = resolve_model(str(model_folder(tmp_path / "b", 1)))
    other = resolve_model(model_folder(tmp_path / "c", 2))
    assert one.name == "a"
    assert one.revision == same.revision != other.revision


def _break_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    os.truncate(path, path.stat().st_size - 1)


def _escape(folder: Path) -> None:
    index = {"weight_map": {"w": "../../outside.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_break_config, "JSON"),
        (_pickle_only, "pickle"),
        (_truncate, "asks for"),
        (_escape, "lacks the weight file"),
        (_no_tokenizer, "no tokenizer"),
    ],
)
def test_bad_folders_are_refused(tmp_path: Path, damage, message: str) -> None:
    folder = model_folder(tmp_path / "m")
    damage(folder)
    with pytest.raises(ModelFault, match=message):
        resolve_model(folder)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelFault, match="no model folder"):
        resolve_model(str(tmp_path / "none"))


@settings(max_examples=60)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_header_or_a_fault(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("h") / "x.safetensors"
    for prefix in (b"", len(data).to_bytes(8, "little")):
        path.write_bytes(prefix + data)
        try:
            header = read_header(path)
        except ModelFault:
            continue
        assert json.loads(header) is not None
