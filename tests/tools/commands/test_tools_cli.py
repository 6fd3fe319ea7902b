"""The `tools` command as a user types it: answers, and bad input as a sentence and an exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from warm import warm_run

ROOT = Path(__file__).parents[3]
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
    command = [sys.executable, "-m", "forklock.tools.commands.main", *args, "--repo", str(repo)]
    return warm_run(command, cwd=ROOT)


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
        (["calls", "nope"], 2, "no definition 'nope'"),
        (["calls", "shop.py:nope"], 2, "no definition 'nope'"),
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


@pytest.mark.hostile("answers")
def test_a_rename_says_what_it_is_worth(tmp_path: Path) -> None:
    (tmp_path / "lib.py").write_text("def rate(x):\n    return x\n\n\ndef other(x):\n    return x\n")
    (tmp_path / "use.py").write_text(
        "import lib\n\nprint(lib.rate(1), getattr(lib, 'rate')(2), lib.other(1))\n"
    )
    shown = tools("rename", "lib.py:rate", "share", repo=tmp_path)
    assert shown.returncode == 1 and "+def share(x):" in shown.stdout and "use.py:3" in shown.stderr
    unwritten = tools("rename", "lib.py:rate", "share", "--apply", repo=tmp_path)
    assert unwritten.returncode == 1 and "nothing was written" in unwritten.stderr
    assert "--partial" in unwritten.stderr and "def rate(" in (tmp_path / "lib.py").read_text()
    for name in ("other", "class", "len", "a b"):
        taken = tools("rename", "lib.py:rate", name, "--apply", "--partial", repo=tmp_path)
        assert taken.returncode == 2 and name in taken.stderr, taken
    calls = tools("calls", "lib.py:rate", repo=tmp_path)
    assert calls.returncode == 1 and "use.py:3" in calls.stderr
    whole = tools("rename", "lib.py:other", "another", "--apply", repo=tmp_path)
    assert whole.returncode == 0 and whole.stderr.strip().endswith("complete")
    assert "lib.another(1)" in (tmp_path / "use.py").read_text()
    partly = tools("rename", "lib.py:rate", "share", "--apply", "--partial", repo=tmp_path)
    assert partly.returncode == 0 and "use.py:3" in partly.stderr
    assert "def share(" in (tmp_path / "lib.py").read_text()
