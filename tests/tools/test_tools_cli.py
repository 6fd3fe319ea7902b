"""The `tools` command as a user types it: answers, and bad input as a sentence and an exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SHOP = '''\
class Cart:
    """Prices."""

    def total(self, prices: list[int]) -> int:
        """Their sum."""
        return add(prices[1:])


def add(prices: list[int]) -> int:
    return sum(prices)
'''
TESTS = "from shop import Cart\n\n\ndef test_total():\n    assert Cart().total([1, 2]) == 3\n"


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.py").write_text(SHOP)
    (folder / "test_shop.py").write_text(TESTS)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


def tools(*args: str, repo: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.cli", *args, "--repo", str(repo)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_the_frame(repo: Path) -> None:
    done = tools("frame", "shop.py:Cart.total", repo=repo)
    assert done.returncode == 0, done.stderr
    assert "### `Cart.total` in `shop.py`, lines 4-6" in done.stdout
    assert "def add(prices: list[int]) -> int" in done.stdout and "test_shop.py:5" in done.stdout
    short = tools("frame", "Cart.total", "--tokens", "60", repo=repo)
    assert 0 < len(short.stdout) <= 60 * 3.5 + 1


def test_symbols_and_the_map(repo: Path) -> None:
    rows = [line.split("\t") for line in tools("symbols", "shop.py", repo=repo).stdout.splitlines()]
    assert ["4-6", "Cart.total", "def total(self, prices: list[int]) -> int"] in rows
    assert "class Cart" in tools("map", "--tokens", "100", repo=repo).stdout


def test_localise_with_words_and_with_a_failing_test(repo: Path) -> None:
    assert "Cart.total" in tools("localise", "`total` is too small", repo=repo).stdout
    test = "python -m pytest -q"
    done = tools("localise", "it is wrong", "--test", test, "--sandbox", "host", repo=repo)
    assert "called by test_shop.py::test_total" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["frame", "shop.py:nope"], 2, "shop.py:Cart.total"),
        (["frame", "gone.py:f"], 2, "no file gone.py"),
        (["symbols", "../x.py"], 2, "not a path inside"),
        (["map", "--tokens", "none"], 2, "tokens"),
        (["localise", "x", "--test", "true", "--sandbox", "moon"], 2, "--sandbox"),
        (["localise", "x", "--test", "a | b", "--sandbox", "host"], 3, "needs a shell"),
        (["localise", "x", "--test", "no-such-program", "--sandbox", "host"], 3, "cannot be started"),
        (["localise", "xyzzy"], 1, "nothing points at a definition"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_bad_input(repo: Path, args: list[str], code: int, words: str) -> None:
    done = tools(*args, repo=repo)
    assert done.returncode == code, done.stderr
    assert words in done.stderr and "Traceback" not in done.stderr
