"""The map: within budget, deterministic, the referenced first."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.index.files import load_index, python_files
from tools.index.map import repo_map


def words(text: str) -> int:
    return len(text.split())


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/core.py").write_text(
        'class Engine(Base):\n    """def fake(): pass"""\n'
        "    def start(self, key: str,\n              speed: int = 1) -> None:\n        pass\n"
        "def popular(x):\n    return x\n"
    )
    for name in "abc":
        (tmp_path / f"pkg/{name}.py").write_text(
            "from pkg.core import popular, Engine\n"
            f"def only_{name}():\n    Engine().start('k')\n    return popular(1)\n"
        )
    (tmp_path / "pkg/binary.py").write_bytes(b"x = 1\0")
    (tmp_path / "pkg/broken.py").write_text("def broken(:\n")
    return tmp_path


def test_the_most_referenced_come_first(repo: Path) -> None:
    text = repo_map(repo, budget_tokens=12, count_tokens=words)
    assert "def popular(x)" in text or "class Engine(Base)" in text
    assert "only_a" not in text


def test_signatures_under_their_class_and_nothing_from_strings(repo: Path) -> None:
    text = repo_map(repo, budget_tokens=10_000, count_tokens=words)
    assert (
        "pkg/core.py\n  class Engine(Base)\n    def start(self, key: str, speed: int = 1) -> None\n" in text
    )
    assert "fake" not in text
    assert "binary.py" not in text
    assert "def broken(" in text


@pytest.mark.parametrize("budget", [0, 1, 5, 9, 20, 50])
def test_budget_is_kept(repo: Path, budget: int) -> None:
    assert words(repo_map(repo, budget_tokens=budget, count_tokens=words)) <= budget


def test_deterministic_and_focused(repo: Path) -> None:
    once = repo_map(repo, budget_tokens=20, count_tokens=words)
    assert once == repo_map(repo, budget_tokens=20, count_tokens=words)
    assert "only_b" in repo_map(repo, budget_tokens=20, count_tokens=words, focus={"only_b"})


def test_ignored_files_and_links_are_left_out(repo: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=repo, check=True)
    (repo / ".gitignore").write_text("gen.py\n")
    (repo / "gen.py").write_text("def generated(): pass\n")
    (repo / "link.py").symlink_to("/etc/passwd")
    index = load_index(repo)
    assert "gen.py" not in index.files
    assert "link.py" not in index.files
    assert "pkg/core.py" in index.files


def test_a_hostile_git_config_runs_nothing(repo: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=repo, check=True)
    with (repo / ".git/config").open("a") as config:
        config.write(f"[core]\n\tfsmonitor = touch {repo}/owned\n\tworktree = /etc\n")
    assert "pkg/core.py" in python_files(repo)
    assert not (repo / "owned").exists()


def test_no_files_no_map(tmp_path: Path) -> None:
    assert repo_map(tmp_path, budget_tokens=100, count_tokens=words) == ""
