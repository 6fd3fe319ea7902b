"""A small repository with a bug, its check, and a right and a wrong repair."""

from __future__ import annotations

import subprocess
import textwrap
from pathlib import Path

SOURCE = '''
def total(prices):
    """Sum of the prices."""
    result = 0
    for price in prices[1:]:
        result += price
    return result


def mean(prices):
    """Mean of the prices, 0 for none."""
    return total(prices) / len(prices) if prices else 0
'''
TESTS = """
from unittest import TestCase
from shop import mean, total


class Shop(TestCase):
    def test_total(self):
        assert total([1, 2, 3]) == 6

    def test_mean(self):
        assert mean([2, 4]) == 3

    def test_empty(self):
        assert mean([]) == 0
"""


def write_repo(folder: Path) -> Path:
    """A git repository with one bug in `total`, committed."""
    folder.mkdir(parents=True)
    (folder / "shop.py").write_text(SOURCE.lstrip())
    (folder / "test_shop.py").write_text(TESTS.lstrip())
    (folder / ".gitignore").write_text("__pycache__/\n.pytest_cache/\n")
    commit_all(folder)
    return folder


def commit_all(folder: Path) -> None:
    """Make a folder a git repository with one commit."""
    for args in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *args], cwd=folder, check=True)


TEST = "python -m pytest -q test_shop.py"
QUICK = "python -m unittest test_shop"
"""The same check, by a runner that starts four times as fast."""
RIGHT = textwrap.dedent(
    '''\
    def total(prices):
        """Sum of the prices."""
        return sum(prices)
    '''
)
WRONG = RIGHT.replace("sum(prices)", "sum(prices) + {n}")
