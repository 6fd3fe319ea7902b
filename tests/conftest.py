"""Fixtures for every room's tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Tiny models gain nothing from threads, and lose fortyfold to spinning ones on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# How long an example takes says how busy the machine is.
settings.register_profile("forklock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("forklock")
sys.path.insert(0, str(Path(__file__).parent / "models"))


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Qwen2 with a byte tokenizer and a chat template (see tests/models/tiny.py)."""
    pytest.importorskip("transformers", reason="the `local` extra is not installed")
    from tiny import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny-qwen2")


@pytest.fixture(scope="session")
def tiny_adapter_dir(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random LoRA for `tiny_model_dir`."""
    pytest.importorskip("peft", reason="the `local` extra is not installed")
    from tiny import make_tiny_adapter

    return make_tiny_adapter(tiny_model_dir, tmp_path_factory.mktemp("adapter") / "v1")
