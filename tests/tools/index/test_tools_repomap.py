"""The map: within budget, deterministic, the referenced first."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from forklock.tools.index.files import code_files, load_index
from forklock.tools.index.map import repo_map
from forklock.tools.languages.python.language import PYTHON


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
    assert "pkg/core.py" in code_files(repo)
    assert not (repo / "owned").exists()


def test_no_files_no_map(tmp_path: Path) -> None:
    assert repo_map(tmp_path, budget_tokens=100, count_tokens=words) == ""


UTILITIES = {
    "util/__init__.py": "from util.strings import slugify\nfrom util.dicts import *\n",
    "util/strings.py": "def slugify(text):\n    '''pop keys len get pop keys len get'''\n    return text\n\n\n"
    "def quiet(x):\n    return x\n",
    "util/dicts.py": "class Bag(dict):\n    def pop(self, key): ...\n    def keys(self): ...\n"
    "    def get(self, key): ...\n    def values(self): ...\n\n\ndef merge(*bags):\n    return Bag()\n",
    "util/streams.py": "class Tape:\n    def write(self, s): ...\n    def len(self): ...\n    def close(self): ...\n",
}


def in_the_map(repo: Path, budget: int) -> str:
    return repo_map(repo, budget_tokens=budget, count_tokens=words)


@pytest.mark.hostile("answers")
def test_a_library_of_utilities_is_not_what_dicts_have(tmp_path: Path, tried: Callable[[int], None]) -> None:
    """Members with everyday names are called everywhere, of things that are none of theirs."""
    for path, text in UTILITIES.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    for number in range(20):
        noise = "\n".join(
            f"    d.{name}(x); d.{name}(y)" for name in ("pop", "keys", "get", "values", "write", "close")
        )
        head = f"from util import slugify, merge\nimport json\n\n\ndef use_{number}(d, x, y, f):\n"
        user = f"{head}{noise}\n    f.len()\n"
        (tmp_path / f"user_{number}.py").write_text(
            user + "    return slugify(merge(d, x))\n# Bag.pop quiet quiet\n"
        )
    found = in_the_map(tmp_path, 6)
    tried(1)
    assert "def slugify(text)" in found and "def merge(*bags)" in found, found
    assert not any(
        f"def {name}(" in found for name in ("pop", "keys", "get", "values", "write", "len", "close")
    )
    assert "quiet" not in found


@pytest.mark.hostile("answers")
@pytest.mark.parametrize(
    "mention", ["'''{}'''", "x = '{}'", "# {}", 'x = "a {} b"', "print(f'{{x}} {}')", "y = x.{}"]
)
def test_a_mention_is_no_reference(tmp_path: Path, mention: str) -> None:
    (tmp_path / "lib.py").write_text("def used(x):\n    return x\n\n\ndef mentioned(x):\n    return x\n")
    for number in range(9):
        text = "\n".join(mention.format("mentioned") for _ in range(9))
        (tmp_path / f"m{number}.py").write_text(f"x = 1\n{text}\n")
    (tmp_path / "one.py").write_text("import lib\nprint(lib.used(1))\n")
    found = in_the_map(tmp_path, 3)
    assert "def used(x)" in found and "mentioned" not in found


@pytest.mark.parametrize(
    "use",
    [
        "from pkg.core import wanted\nwanted(1)",
        "from pkg import wanted\nwanted(1)",
        "from pkg import core\ncore.wanted(1)",
        "import pkg.core\npkg.core.wanted(1)",
        "import pkg.core as c\nc.wanted(1)",
        "import pkg\npkg.wanted(1)",
        "from pkg.core import *\nwanted(1)",
        "from pkg.core import (\n    other,\n    wanted as w,\n)\nw(1)",
    ],
)
def test_references_are_followed_through_imports(tmp_path: Path, use: str) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/__init__.py").write_text("from .core import *\n")
    (tmp_path / "pkg/core.py").write_text("def other(x):\n    return x\n\n\ndef wanted(x):\n    return x\n")
    (tmp_path / "use.py").write_text(f"{use}\n")
    assert "def wanted(x)" in in_the_map(tmp_path, 3)


def test_methods_count_where_the_object_is_known(tmp_path: Path) -> None:
    (tmp_path / "lib.py").write_text(
        "class Bag:\n    def pop(self): ...\n    def rest(self): ...\n    def keys(self): ...\n"
    )
    for number in range(5):
        (tmp_path / f"u{number}.py").write_text("from lib import Bag\nbag = Bag()\nbag.keys()\nother.pop()\n")
    index = load_index(tmp_path)
    found = {target for target, _, _ in PYTHON.references(index).of(index.files["u0.py"])}
    assert ("lib.py", "Bag.keys") in found and ("lib.py", "Bag") in found
    assert ("lib.py", "Bag.pop") not in found
