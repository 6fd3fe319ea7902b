"""A small repository with a suite and a history, for tests of tasks."""

from __future__ import annotations

import subprocess
import textwrap
from pathlib import Path

CODE = '''
"""Prices."""


def total(prices, count=1):
    """Sum the prices that are not negative, each taken `count` times."""
    found = 0
    for price in prices:
        if price < 0:
            continue
        found = found + price * count
    return found


def cheapest(prices, most):
    """Return the `most` cheapest prices, sorted."""
    if most <= 0 or not prices:
        return []
    ordered = sorted(prices)
    return ordered[:most]
'''
WORDS = '''
"""Labels."""


def label(name, price):
    """Return a shelf label, upper case, with two decimals."""
    text = name.strip().upper()
    if len(text) > 8:
        text = text[:8]
    return f"{text}: {price:.2f}"


def parsed(text):
    """Return name and price of a label; the inverse of `label`."""
    name, _, price = text.partition(": ")
    return name, float(price)
'''
BROKEN = WORDS.replace("    if len(text) > 8:\n        text = text[:8]\n", "")
TESTS = """
import random
from pathlib import Path

from till.prices import cheapest, total
from till.words import label, parsed


def test_total():
    assert total([1, 2, 3]) == 6


def test_total_counts():
    assert total([2, -5], count=3) == 6


def test_cheapest():
    assert cheapest([3, 1, 2], 2) == [1, 2]
    assert cheapest([1], 0) == []


def test_label():
    assert label(" tea ", 2) == "TEA: 2.00"


def test_long_label_is_cut():
    assert label("cucumber salad", 1) == "CUCUMBER: 1.00"


def test_parsed():
    assert parsed("TEA: 2.00") == ("TEA", 2.0)


def test_red():
    assert total([1]) == 2


def test_flaky():
    assert random.random() < 0.5
"""


def git(folder: Path, *words: str, when: str = "2020-01-01T00:00:00") -> str:
    dates = {
        "GIT_AUTHOR_DATE": when,
        "GIT_COMMITTER_DATE": when,
        "HOME": str(folder),
        "PATH": "/usr/bin:/bin",
    }
    who = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main")
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True, env=dates
    )
    return done.stdout.strip()


def make_till(root: Path, *, flaky: bool = False) -> Path:
    """Make the repository: the first commit lacks a cut of long labels, which the second one adds."""
    (root / "till").mkdir(parents=True)
    (root / "tests").mkdir()
    (root / "conftest.py").write_text("")
    (root / "till" / "__init__.py").write_text("")
    (root / "till" / "prices.py").write_text(CODE.lstrip())
    (root / "till" / "words.py").write_text(BROKEN.lstrip())
    tests = TESTS if flaky else TESTS.partition("\n\ndef test_red")[0] + "\n"
    (root / "tests" / "test_till.py").write_text(textwrap.dedent(tests).lstrip())
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "Prices and labels")
    (root / "till" / "words.py").write_text(WORDS.lstrip())
    git(
        root,
        "commit",
        "-qam",
        "Cut labels that are too long for the shelf (fixes #12)\n\nSigned-off-by: t <t@t>",
        when="2021-01-01T00:00:00",
    )
    return root
