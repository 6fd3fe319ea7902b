"""A project from nothing: what counts as nothing, its first files, and the environment that uv makes in the sandbox."""

from __future__ import annotations

import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypi_simple import PYPI_SIMPLE_ENDPOINT

from forklock.agent.driving import new_project
from forklock.agent.driving.new_project import COMMAND, NewProject, find_uv, is_empty, manifest, set_up
from forklock.sandbox import Policy, open_sandbox, workspace_policy
from forklock.sandbox.interpreters.environments import find_environment
from forklock.tools.contract import TestStatus
from forklock.tools.testing.run import run_tests

needs_uv = pytest.mark.skipif(
    find_uv() is None, reason="uv IS NOT INSTALLED: its run in the sandbox was not tested"
)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    (tmp_path / "a page").mkdir()
    return tmp_path / "a page"


def test_nothing_is_a_folder_without_code(empty: Path) -> None:
    for name in (".gitignore", "README.md", "LICENSE"):
        (empty / name).touch()
    (empty / ".git").mkdir()
    assert is_empty(empty)
    (empty / "main.py").touch()
    assert not is_empty(empty)


@given(name=st.text(max_size=30))
def test_a_manifest_is_valid_whatever_the_folder_is_called(name: str) -> None:
    found = tomllib.loads(manifest(name, ['flask>=3; python_version > "3"']))
    assert found["project"]["name"].replace("-", "").isalnum()
    assert found["project"]["dependencies"] == ['flask>=3; python_version > "3"']


def test_files_that_are_there_stay(empty: Path, tmp_path: Path) -> None:
    (empty / ".gitignore").write_text("mine\n")
    (empty / "uv.lock").symlink_to(tmp_path / "elsewhere")
    NewProject({"pyproject.toml": "x", ".gitignore": "ours", "uv.lock": "ours"}).put(empty)
    assert (empty / "pyproject.toml").read_text() == "x"
    assert (empty / ".gitignore").read_text() == "mine\n"
    assert not (tmp_path / "elsewhere").exists()


def test_without_uv_the_managed_environment_serves(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_project, "find_uv", lambda: None)
    made = set_up(empty, backend="bubblewrap")
    assert made.environment is None
    assert "uv is not installed" in made.note
    assert set(made.files) == {"pyproject.toml", ".gitignore"}
    assert list(empty.iterdir()) == []


@needs_uv
@pytest.mark.hostile("sandbox")
def test_uv_reaches_no_other_host(empty: Path) -> None:
    made = set_up(empty, backend="bubblewrap", hosts=("packages.invalid",))
    assert made.environment is None
    index = urlsplit(PYPI_SIMPLE_ENDPOINT).hostname
    assert index and index in made.note, "what it asked for and did not get"
    assert find_environment(empty) is None or "projects" not in str(find_environment(empty))


@needs_uv
@pytest.mark.network
def test_uv_makes_an_environment_once_and_tests_run_in_it(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    made = set_up(empty, backend="bubblewrap", progress=told.append)
    assert made.note == ""
    assert 'name = "pytest"' in made.files["uv.lock"]
    assert list(empty.iterdir()) == []
    found = find_environment(empty)
    assert found is not None
    assert found.prefix == made.environment
    assert set_up(empty, backend="bubblewrap", progress=told.append) == made
    assert len(told) == 1, "the second time nothing is installed"
    made.put(empty)
    (empty / "test_page.py").write_text("def test_page():\n    assert True\n")
    with open_sandbox(empty, workspace_policy(empty, Policy()), backend="bubblewrap") as sandbox:
        report = run_tests(sandbox, COMMAND)
        assert report.status is TestStatus.PASSED, report.output
        where = sandbox.exec(["python", "-c", "import pytest; print(pytest.__file__)"]).stdout.decode()
    assert where.startswith(str(made.environment))
