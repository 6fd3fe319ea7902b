"""Fixtures of the tests of the tools with which a model drives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from shop import QUICK, write_repo
from toolboxes import Box, Ground, ground


@pytest.fixture(scope="session")
def shop_ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """The shop with its bug, and files around it that tools meet."""
    repo = tmp_path_factory.mktemp("driving") / "shop"
    write_repo(repo)
    (repo / "docs").mkdir()
    (repo / "docs" / "notes.md").write_text(
        "# Notes\n\nThe shop sums prices.\n\n```python\ntotal([1])\n```\n"
    )
    (repo / "long.py").write_text("".join(f"value_{n} = {n}  # {'x' * 30}\n" for n in range(1000)))
    (repo / "picture.png").write_bytes(b"\x89PNG\0\0\0")
    with ground(repo, QUICK) as found:
        yield found


@pytest.fixture
def box(shop_ground: Ground) -> Iterator[Box]:
    """The tools on a fork of the shop, without language servers."""
    with shop_ground.rollout() as opened:
        yield opened
