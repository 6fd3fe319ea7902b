"""Several versions of the code in one sandbox: which ones pass, and how those behave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from forklock.sandbox import Sandbox, open_sandbox, workspace_policy
from forklock.tools.behaviour.ask import Plan, Target, ask
from forklock.tools.behaviour.compare import disagreements
from forklock.tools.behaviour.versions import try_versions
from forklock.tools.languages.known import symbols

CHECK = "python -m pytest -q test_shop.py"
SHOP = "def total(prices):\n    return sum(prices[1:])\n"
TEST = "from shop import total\n\n\ndef test_total():\n    assert total([2, 2]) == 4\n"
VERSIONS = {
    "right": "def total(prices):\n    return sum(prices)\n",
    "by length": "def total(prices):\n    return len(prices) * 2\n",
    "wrong": SHOP,
    "never ends": "def total(prices):\n    while True:\n        pass\n",
    "does not parse": "def total(prices:\n",
}


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "test_shop.py").write_text(TEST)
    with (
        open_sandbox(tmp_path, workspace_policy(tmp_path), backend="bubblewrap") as base,
        base.fork() as fork,
    ):
        yield fork


def test_versions_pass_or_fail_and_the_passing_ones_are_asked(sandbox: Sandbox) -> None:
    whole = next(one for one in symbols("shop.py", SHOP) if one.name_path == "total")
    plan = Plan(CHECK, (Target.of(whole),))
    versions = [{"shop.py": text} for text in VERSIONS.values()]
    tried = dict(
        zip(VERSIONS, try_versions(sandbox, versions, [(CHECK, ".")], [plan], run_s=5.0), strict=True)
    )
    assert {name for name, one in tried.items() if one.passed} == {"right", "by length"}
    assert all(tried[name].passed is False for name in ("wrong", "never ends", "does not parse"))
    right, other = tried["right"].behaviour, tried["by length"].behaviour
    assert right is not None and other is not None and disagreements(right, other)
    assert tried["wrong"].behaviour is None
    assert (sandbox.root / "shop.py").read_text() == SHOP
    (sandbox.root / "shop.py").write_text(VERSIONS["right"])
    alone = ask(sandbox, plan, timeout_s=60)
    assert alone is not None and not disagreements(right, alone)


def test_other_runners_are_not_covered(sandbox: Sandbox) -> None:
    (one,) = try_versions(sandbox, [{"shop.py": SHOP}], [("python -m unittest", ".")])
    assert one.passed is None and one.behaviour is None
