"""Fixtures of the agent's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from shop import write_repo


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    return write_repo(tmp_path / "repo")
