"""Settings: the order of the sources, where values come from, and errors that name file and key."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from forklock.models.contract import ModelFault
from forklock.models.engines.open import ENGINES, check_engine
from forklock.models.settings import (
    FaultClass,
    ModelSettings,
    Origin,
    RepositoryMay,
    RoomSettings,
    find_settings_file,
)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No variables of the environment, and an empty folder for the user's own file."""
    for name in list(os.environ):
        if name.startswith("FORKLOCK_"):
            monkeypatch.delenv(name)
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("FORKLOCK_HOME", str(folder))
    return folder


def write(folder: Path, text: str, name: str = "forklock.toml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text)
    return path


class Decoded(RoomSettings):
    """A section with settings that a repository may choose."""

    section: ClassVar[str] = "agent"
    fault: ClassVar[FaultClass] = ModelFault
    repository_may: ClassVar[Mapping[str, RepositoryMay]] = {
        "temperature": "yes",
        "top_k": "yes",
        "top_p": "yes",
        "min_p": "yes",
    }
    model: str = ""
    temperature: float = 0.8
    top_k: int = 20
    top_p: float = 1.0
    min_p: float = 0.0
    threads: int = 0


def test_sources_override_each_other_and_are_named(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = write(home, '[agent]\nmodel = "from-file"\ntop_k = 3\nmin_p = 0.1\nthreads = 1\n')
    path = write(tmp_path, "[agent]\ntop_k = 7\ntop_p = 0.5\nmin_p = 0.2\n")
    monkeypatch.setenv("FORKLOCK_AGENT__TOP_K", "9")
    monkeypatch.setenv("FORKLOCK_AGENT__THREADS", "2")
    settings = Decoded.load(tmp_path, threads=3, temperature=None)
    chosen = (settings.model, settings.top_k, settings.top_p, settings.min_p, settings.threads)
    assert chosen == ("from-file", 9, 0.5, 0.2, 3)
    assert settings.temperature == 0.8
    origins = settings.origins()
    assert origins["model"] == Origin("file", f"{own} [agent] model")
    assert origins["min_p"] == Origin("repository", f"{path} [agent] min_p")
    assert origins["top_k"] == Origin("environment", "FORKLOCK_AGENT__TOP_K")
    assert origins["threads"] == Origin("flag", "--threads")
    assert origins["temperature"] == Origin("default")
    assert list(origins) == list(Decoded.model_fields)


def test_calling_the_class_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL", "stray")
    monkeypatch.setenv("FORKLOCK_MODELS__MODEL", "env")
    assert ModelSettings().model == "qwen2.5-coder-0.5b"


def test_pyproject_table_and_search_upwards_to_the_repository_root(tmp_path: Path) -> None:
    write(tmp_path, "[agent]\ntop_k = 1\n")
    repo = tmp_path / "repo"
    write(repo, '[project]\nname = "x"\n[tool.forklock.agent]\ntop_k = 2\n', "pyproject.toml")
    (repo / ".git").mkdir()
    inner = repo / "a" / "b"
    inner.mkdir(parents=True)
    assert Decoded.load(inner).top_k == 2
    (repo / "pyproject.toml").unlink()
    assert find_settings_file(inner) is None


def test_two_files_in_one_folder_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "[models]\n")
    write(tmp_path, "[tool.forklock.models]\n", "pyproject.toml")
    with pytest.raises(ModelFault, match="both hold settings"):
        ModelSettings.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("[models\n", "not valid TOML", "line"),
        ("[models]\nadaptr = 1\n", r"\[models\] adaptr", "'adapter'"),
        ("[models]\nthreads = -2\n", r"\[models\] threads: .*greater than or equal to 0.*-2", "agent config"),
        ("[models]\ntop_p = 0.5\n", r"\[models\] top_p: nothing reads the setting 'top_p'", r"\[agent\]"),
        ("[models]\nmin_p = 0.5\n", r"\[models\] min_p: nothing reads", "--min-p"),
        ("[evals]\nn = 4\n", r"nothing reads the section \[evals\]", "evals --help"),
        ("[sandbox]\n", r"nothing reads the section \[sandbox\]", "agent sandbox --help"),
        ("[tools]\n", r"nothing reads the section \[tools\]", "tools --help"),
        ('[models]\nengine = "llama"\n', r"\[models\] engine: .*'llama'", "agent config"),
        ("[modles]\n", "no section 'modles'", r"\[models\]"),
        ("models = 3\n", "must be a table", "table"),
    ],
)
def test_a_bad_file_is_a_fault_that_names_file_and_key(
    tmp_path: Path, text: str, message: str, fix: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ModelFault, match=message) as caught:
        ModelSettings.load(tmp_path)
    assert str(path) in caught.value.message
    assert re.search(fix, caught.value.fix)


def test_a_file_that_is_not_utf8_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "forklock.toml").write_bytes(b"\xff\xfe[models]")
    with pytest.raises(ModelFault, match="not valid TOML"):
        ModelSettings.load(tmp_path)


def test_bad_environment_values_name_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORKLOCK_MODELS__THREADS", "many")
    with pytest.raises(ModelFault, match="environment FORKLOCK_MODELS__THREADS"):
        ModelSettings.load(tmp_path)
    monkeypatch.delenv("FORKLOCK_MODELS__THREADS")
    monkeypatch.setenv("FORKLOCK_MODELS__MODLE", "x")
    with pytest.raises(ModelFault, match="FORKLOCK_MODELS__MODLE") as caught:
        ModelSettings.load(tmp_path)
    assert "'model'" in caught.value.fix


def test_other_rooms_reuse_the_base_with_their_own_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OtherFault(Exception):
        def __init__(self, message: str, *, fix: str = "") -> None:
            super().__init__(message)

    class AgentSettings(RoomSettings):
        section: ClassVar[str] = "agent"
        fault: ClassVar[FaultClass] = OtherFault
        width: int = 1
        checks: tuple[str, ...] = ()

    monkeypatch.setenv("FORKLOCK_AGENT__CHECKS", '["ruff", "ty"]')
    settings = AgentSettings.load(tmp_path, width=4)
    assert (settings.width, settings.checks) == (4, ("ruff", "ty"))
    monkeypatch.setenv("FORKLOCK_AGENT__CHECKS", "[not json")
    with pytest.raises(OtherFault, match="FORKLOCK_AGENT__"):
        AgentSettings.load(tmp_path)


def test_the_list_of_engines_is_what_the_setting_takes() -> None:
    assert {"transformers", "hosted", "vllm"} <= set(ENGINES)
    for name in ("auto", *ENGINES):
        assert ModelSettings(engine=name).engine == check_engine(name) == name
