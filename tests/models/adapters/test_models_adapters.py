"""The adapter registry: versions never come back, pointers move whole, damage is a fault with a fix."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from forklock.models.adapters import AdapterManifest, AdapterRegistry, AdapterState, resolve_adapter
from forklock.models.adapters.history import History
from forklock.models.contract import ModelFault

BASE = "tiny"


def peft_folder(folder: Path, value: float = 0.0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"a.lora_A.weight": np.full((2, 4), value, np.float32)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2}))
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> AdapterRegistry:
    return AdapterRegistry(tmp_path / "registry")


def added(registry: AdapterRegistry, tmp_path: Path, value: float = 0.0, revision: str = "r1") -> str:
    version = registry.new_version(BASE)
    source = peft_folder(tmp_path / "trained", value)
    registry.add(source, AdapterManifest(base=BASE, base_revision=revision, version=version))
    return version


def test_an_added_adapter_is_listed_with_hashes_and_does_not_serve(
    registry: AdapterRegistry, tmp_path: Path
) -> None:
    version = added(registry, tmp_path)
    (manifest,) = registry.list(BASE)
    assert manifest.version == version
    assert manifest.state is AdapterState.CANDIDATE
    assert set(manifest.files) == {"adapter_model.safetensors", "adapter_config.json"}
    assert registry.current(BASE) is None


def test_promote_and_roll_back_through_what_served_before(registry: AdapterRegistry, tmp_path: Path) -> None:
    one, two, three = (added(registry, tmp_path, value) for value in (1, 2, 3))
    registry.promote(BASE, one)
    registry.promote(BASE, two)
    assert registry.rollback(BASE) == one
    registry.promote(BASE, three)
    assert registry.get(BASE, one).state is AdapterState.RETIRED
    assert registry.current_version(BASE) == three
    assert registry.rollback(BASE) == one
    assert registry.get(BASE, one).state is AdapterState.PROMOTED
    assert registry.get(BASE, three).state is AdapterState.RETIRED
    assert registry.rollback(BASE) is None
    assert registry.current(BASE) is None
    with pytest.raises(ModelFault, match="serves already"):
        registry.rollback(BASE)


def test_roll_back_steps_over_a_damaged_version(registry: AdapterRegistry, tmp_path: Path) -> None:
    one, two, three = (added(registry, tmp_path, value) for value in (1, 2, 3))
    for version in (one, two, three):
        registry.promote(BASE, version)
    (registry.folder(BASE, two) / "adapter_model.safetensors").unlink()
    assert registry.rollback(BASE) == one
    assert registry.rollback(BASE) is None


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=st.lists(st.sampled_from(["promote0", "promote1", "promote2", "rollback"]), max_size=12))
def test_any_sequence_agrees_with_a_stack(tmp_path_factory: pytest.TempPathFactory, moves: list[str]) -> None:
    root = tmp_path_factory.mktemp("registry")
    registry = AdapterRegistry(root / "registry")
    versions = [added(registry, root, value) for value in range(3)]
    stack: list[str | None] = [None]
    for move in moves:
        if move == "rollback":
            if len(stack) == 1:
                with pytest.raises(ModelFault):
                    registry.rollback(BASE)
            else:
                stack.pop()
                assert registry.rollback(BASE) == stack[-1]
        else:
            version = versions[int(move[-1])]
            registry.promote(BASE, version)
            if stack[-1] != version:
                stack.append(version)
        assert registry.current_version(BASE) == stack[-1]
        promoted = [m.version for m in registry.list(BASE) if m.state is AdapterState.PROMOTED]
        assert promoted == ([stack[-1]] if stack[-1] else [])


def test_versions_are_never_reused_after_deletion_or_a_clock_that_went_back(
    registry: AdapterRegistry, tmp_path: Path
) -> None:
    version = added(registry, tmp_path)
    registry.delete(BASE, version)
    with pytest.raises(ModelFault, match="never reserved, or was deleted"):
        registry.add(
            peft_folder(tmp_path / "x"), AdapterManifest(base=BASE, base_revision="", version=version)
        )
    future = "29990101-000000-000000"
    History(registry.root / BASE / "history.jsonl").append("reserved", future)
    names = [registry.new_version(BASE) for _ in range(5)]
    assert names == sorted({future, version, *names})[-5:]


def test_adding_the_same_again_changes_nothing_and_others_are_refused(
    registry: AdapterRegistry, tmp_path: Path
) -> None:
    version = added(registry, tmp_path, 1)
    manifest = AdapterManifest(base=BASE, base_revision="r1", version=version)
    assert registry.add(peft_folder(tmp_path / "trained", 1), manifest).version == version
    with pytest.raises(ModelFault, match="exists already"):
        registry.add(peft_folder(tmp_path / "trained", 2), manifest)


@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped", "manifest"])
def test_damage_is_a_fault_with_a_fix(registry: AdapterRegistry, tmp_path: Path, damage: str) -> None:
    version = added(registry, tmp_path)
    registry.promote(BASE, version)
    weights = registry.folder(BASE, version) / "adapter_model.safetensors"
    if damage == "missing":
        weights.unlink()
    elif damage == "truncated":
        os.truncate(weights, 10)
    elif damage == "flipped":
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
    else:
        (registry.folder(BASE, version) / "manifest.json").write_text("{")
        assert registry.torn(BASE) == [f"{BASE}/{version}"]
    with pytest.raises(ModelFault, match="damaged") as caught:
        resolve_adapter(BASE, "current", root=registry.root)
    assert "rollback" in caught.value.fix
    with pytest.raises(ModelFault):
        registry.promote(BASE, version)


def test_pickles_and_other_formats_are_refused(registry: AdapterRegistry, tmp_path: Path) -> None:
    version = registry.new_version(BASE)
    manifest = AdapterManifest(base=BASE, base_revision="", version=version)
    folder = peft_folder(tmp_path / "p")
    (folder / "optimizer.pt").write_bytes(b"pickle")
    registry.add(folder, manifest)
    assert not (registry.folder(BASE, version) / "optimizer.pt").exists()
    (folder / "adapter_config.json").write_text('{"peft_type": "IA3"}')
    with pytest.raises(ModelFault, match="no LoRA"):
        resolve_adapter(BASE, folder, root=registry.root)
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(b"pickle")
    with pytest.raises(ModelFault, match="pickle"):
        resolve_adapter(BASE, folder, root=registry.root)


def test_specs(registry: AdapterRegistry, tmp_path: Path) -> None:
    root = registry.root
    version = added(registry, tmp_path, revision="r1")
    for nothing in (None, "none", "current"):
        assert resolve_adapter(BASE, nothing, root=root) is None
    for spec in (version, f"{BASE}/{version}"):
        assert str(resolve_adapter(BASE, spec, root=root)) == f"{BASE}/{version}"
    registry.promote(BASE, version)
    found = resolve_adapter(BASE, "current", base_revision="r1", root=root)
    assert found is not None
    assert found.folder == registry.folder(BASE, version)
    with pytest.raises(ModelFault, match="other weights"):
        resolve_adapter(BASE, "current", base_revision="r2", root=root)
    one = resolve_adapter(BASE, peft_folder(tmp_path / "f", 1), root=root)
    two = resolve_adapter(BASE, peft_folder(tmp_path / "f", 2), root=root)
    assert one is not None
    assert two is not None
    assert one.version != two.version
    for bad in ("v1", "../../etc", "no/such/folder"):
        with pytest.raises(ModelFault):
            resolve_adapter(BASE, bad, root=root)


@pytest.mark.parametrize("base", ["", "..", "a/b", ".hidden", "/etc"])
def test_base_names_cannot_leave_the_registry(registry: AdapterRegistry, base: str) -> None:
    with pytest.raises(ModelFault, match="cannot name"):
        registry.new_version(base)


def test_a_torn_history_line_is_dropped_and_the_next_is_whole(
    registry: AdapterRegistry, tmp_path: Path
) -> None:
    one = added(registry, tmp_path)
    path = registry.root / BASE / "history.jsonl"
    path.write_bytes(path.read_bytes() + b'{"at": "2026-01-')
    registry.promote(BASE, one)
    assert History(path).served() == [None, one]


@pytest.mark.parametrize("kind", ["promoted", "rolled back"])
def test_a_move_killed_before_the_pointer_moved_is_finished(
    registry: AdapterRegistry, tmp_path: Path, kind: str
) -> None:
    one, two = added(registry, tmp_path, 1), added(registry, tmp_path, 2)
    registry.promote(BASE, one)
    if kind == "rolled back":
        registry.promote(BASE, two)
        History(registry.root / BASE / "history.jsonl").append("rolled back", one)
    else:
        History(registry.root / BASE / "history.jsonl").append("promoted", two)
    assert registry.rollback(BASE) == one
    assert registry.current_version(BASE) == one


CHILD = """
import itertools, pathlib, sys
from forklock.models.adapters import AdapterManifest, AdapterRegistry
registry, source = AdapterRegistry(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[2])
for i in itertools.count():
    version = registry.new_version("tiny")
    registry.add(source, AdapterManifest(base="tiny", base_revision="r", version=version))
    registry.promote("tiny", version)
    if i % 3 == 2:
        registry.rollback("tiny")
    print(version, flush=True)
"""


def test_sigkill_at_any_moment_leaves_a_registry_that_works(
    registry: AdapterRegistry, tmp_path: Path
) -> None:
    source = peft_folder(tmp_path / "trained")
    argv = [sys.executable, "-c", CHILD, str(registry.root), str(source)]
    for i in range(5):
        process = subprocess.Popen(argv, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.013 * i)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert registry.torn(BASE) == []
        current = registry.current(BASE)
        assert current is None or current.folder.is_dir()
        registry.promote(BASE, added(registry, tmp_path, 7))
        registry.rollback(BASE)
