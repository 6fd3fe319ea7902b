"""Every setting of every section does something: a changed value reaches what the commands are about to do.

A new field fails here until it says, in `OTHER`, which value changes what.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forklock import models
from forklock.agent.commands import solve
from forklock.agent.repo import inspect_repo
from forklock.agent.session import Assignment, prepare
from forklock.agent.settings import AgentSettings
from forklock.models import ModelIdentity
from forklock.models.settings import ModelSettings, RoomSettings
from forklock.models.settings.files import FLAGS_ONLY, SECTIONS
from forklock.sandbox.terminal import screen
from forklock.selfdistill.settings import SelfdistillSettings, pick_device

OTHER: dict[type[RoomSettings], dict[str, Any]] = {
    AgentSettings: {
        "width": 3, "steps": 2, "max_tokens_total": 999, "seconds": 7.0, "cost_usd": 0.5, "temperature": 0.1,
        "top_k": 3, "top_p": 0.5, "max_tokens": 99, "prompt_tokens": 999, "seed": 5, "protocol": "file",
        "styles": ("bare",), "sandbox": "host", "test_timeout_s": 3.0, "diagnostics": False, "regression": "none",
        "bell": False, "strategy": "drive", "rollouts": 3, "turns": 5, "turn_tokens": 99, "window": 9000,
    },
    ModelSettings: {
        "model": "smollm2-135m", "engine": "vllm", "adapter": "none", "device": "cuda:1", "threads": 1,
    },
    SelfdistillSettings: {
        "model": "other", "prompts": "humaneval", "limit": 3, "gate_set": "mbpp", "gate_limit": 3, "gate_n": 7,
        "gate_max_tokens": 77, "arm": "rft", "temperature": 0.3, "top_k": 3, "top_p": 0.3, "steps": 3, "epochs": 7,
        "lr": 0.1, "rank": 3, "max_tokens": 33, "device": "meta",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repo")
    (root / "shop.py").write_text("def total(items):\n    return 0\n")
    (root / "test_shop.py").write_text(
        "from shop import total\n\n\ndef test_total():\n    assert total([1]) == 1\n"
    )
    git = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"]}
    for words in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *words], cwd=root, check=True, env=git)
    return root


def started_run(settings: AgentSettings, repo: Path) -> Any:
    """What a run begins with, as its log says it."""
    test = "python -m pytest -q test_shop.py"
    assignment = Assignment("total() is wrong", inspect_repo(repo), test, settings, allow_dirty=True)
    prepared = prepare(assignment, ModelIdentity(name="m", engine="e"), preset="weak")
    first = prepared.log.read().events[0].model_dump(mode="json")
    return {key: value for key, value in first.items() if key not in ("run_id", "at", "pid")}


class _Opened:
    identity = ModelIdentity(name="m", engine="e")

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def opened_engine(settings: ModelSettings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What `agent solve` asks `open_engine` for."""
    import contextlib

    asked: list[Any] = []

    def opening(*words: Any, **named: Any) -> _Opened:
        asked.append((words, named))
        return _Opened()

    monkeypatch.setattr(models, "open_engine", opening, raising=False)
    with contextlib.ExitStack() as stack:
        solve._open_engine(settings, screen(quiet=True), stack)
    return asked


@pytest.fixture
def observed(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[RoomSettings], Any]:
    """What the settings lead to."""

    def look(settings: RoomSettings) -> Any:
        if isinstance(settings, AgentSettings):
            return started_run(settings, repo)
        if isinstance(settings, ModelSettings):
            return opened_engine(settings, monkeypatch)
        assert isinstance(settings, SelfdistillSettings)
        return settings.recipe(pick_device(settings.device), seed=0)

    return look


@pytest.mark.parametrize("room", OTHER, ids=lambda room: room.section)
def test_every_field_of_a_section_changes_something(
    room: type[RoomSettings], observed: Callable[[RoomSettings], Any]
) -> None:
    assert set(OTHER[room]) == set(room.model_fields), "say in OTHER what the new field changes"
    plain = observed(room())
    assert observed(room()) == plain
    for key, value in OTHER[room].items():
        assert getattr(room(), key) != value
        assert observed(room(**{key: value})) != plain, f"nothing reads [{room.section}] {key}"


def test_every_section_belongs_to_a_room_with_settings() -> None:
    assert set(SECTIONS) == {room.section for room in OTHER}
    assert not set(SECTIONS) & set(FLAGS_ONLY)
