"""The intellisense frame: what is in it, in which order, within the budget, with and without a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forklock.tools.contract import Symbol
from forklock.tools.frame.frame import intellisense_frame
from forklock.tools.languages.known import find_symbol, language_of
from forklock.tools.lsp import Intel, open_intel
from forklock.tools.lsp.servers.server import Server
from forklock.tools.lsp.wire.process import Launch

STORE = '''\
"""A store."""

from rich.text import Text

from items import Item, discount

LIMIT = 10


class Store:
    """Holds items."""

    def __init__(self) -> None:
        self.items: list[Item] = []

    def add(self, item: Item) -> None:
        """Put one in."""
        self.items.append(item)

    def total(self, item: Item, label: Text) -> float:
        """What they cost."""
        label.append("total")
        if len(self.items) > LIMIT:
            raise Unknown
        self.add(item)
        return discount(item.price) + item.tax()


def other() -> int:
    """Something else."""
    return 1
'''
ITEMS = '''\
class Item:
    """One thing."""

    price: float = 1.0

    def tax(self) -> float:
        """A fifth."""
        return self.price / 5


def discount(price: float) -> float:
    """A tenth less.

    ```
    a fence inside
    ```
    """
    return price * 0.9
'''
ITS_LANGUAGES = {".py": "python"}
SHOP = "from store import Store\n\n\ndef bill(s: Store) -> float:\n    return s.total(s.items[0], None)\n"


def count(text: str) -> int:
    return len(text) // 4 + 1


class Ghost(Server):
    """A server whose program is not installed."""

    name = "ghost"
    argv = ("no-such-language-server",)
    languages = ITS_LANGUAGES
    fix = "install the ghost"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    for name, text in (("store", STORE), ("items", ITEMS), ("shop", SHOP)):
        (folder / f"{name}.py").write_text(text)
    return folder


@pytest.fixture(scope="module")
def intel(root: Path) -> Iterator[Intel]:
    with open_intel(root, timeout_s=30.0) as one:
        yield one


@pytest.fixture(scope="module")
def total() -> Symbol:
    symbol = find_symbol("store.py", STORE, "Store.total")
    assert symbol is not None
    return symbol


def section(frame: str, title: str) -> str:
    return next((part for part in frame.split("### ") if part.startswith(title)), "")


def test_everything_that_a_developer_would_see(intel: Intel, root: Path, total: Symbol) -> None:
    frame = intellisense_frame(intel, root, total, budget_tokens=4000, count_tokens=count)
    assert "20 |     def total(" in section(frame, "`Store.total`")
    assert "Unknown" in section(frame, "Diagnostics now") and "line 24" in section(frame, "Diagnostics now")
    used = section(frame, "Used here")
    assert "def discount(price: float) -> float  # items.py: A tenth less." in used
    assert "def tax(self) -> float  # Item.tax in items.py: A fifth." in used
    assert "rich.text" in used  # an installed package
    assert "LIMIT = 10" in used
    members = section(frame, "Members")
    assert "item: Item" in members and "tax()" in members and "label: Text" in members
    assert "class Store:  # Holds items." in section(frame, "Its class")
    assert "return s.total(s.items[0], None)  # shop.py:5 in bill" in section(frame, "Callers")
    assert "def other() -> int  # Something else." in section(frame, "Also in this file")
    titles = [line[4:8] for line in frame.split("\n") if line.startswith("### ")]
    assert titles == ["`Sto", "Diag", "Used", "Memb", "Its ", "Call", "Also"]


def test_it_is_the_same_every_time(intel: Intel, root: Path, total: Symbol) -> None:
    frames = {intellisense_frame(intel, root, total, budget_tokens=900, count_tokens=count) for _ in range(3)}
    assert len(frames) == 1


def test_line_numbers_are_optional(intel: Intel, root: Path, total: Symbol) -> None:
    frame = intellisense_frame(intel, root, total, budget_tokens=900, count_tokens=count, numbered=False)
    assert "\n    def total(" in frame


def test_fences_hold_fences(intel: Intel, root: Path) -> None:
    symbol = find_symbol("items.py", ITEMS, "discount")
    assert symbol is not None
    frame = intellisense_frame(intel, root, symbol, budget_tokens=900, count_tokens=count)
    assert section(frame, "`discount`").split("\n")[1] == "````python"


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(budget=st.integers(0, 1200), per=st.sampled_from([1, 3, 7]))
def test_never_over_budget(budget: int, per: int, root: Path, total: Symbol) -> None:
    def odd(text: str) -> int:
        return (len(text) + per - 1) // per + (1 if "\n" in text else 0)

    frame = intellisense_frame(None, root, total, budget_tokens=budget, count_tokens=odd)
    assert frame == "" or odd(frame) <= budget


def test_never_over_budget_with_a_server(intel: Intel, root: Path, total: Symbol) -> None:
    for budget in (10, 40, 80, 160, 250, 400):
        frame = intellisense_frame(intel, root, total, budget_tokens=budget, count_tokens=count)
        assert frame == "" or count(frame) <= budget
    assert "more line" in intellisense_frame(intel, root, total, budget_tokens=120, count_tokens=count)


def test_without_a_server_the_text_is_told_and_one_line_says_so(root: Path, total: Symbol) -> None:
    with Intel([Ghost()], Launch(root)) as intel:
        frame = intellisense_frame(intel, root, total, budget_tokens=2000, count_tokens=count)
    silent = section(frame, "No language server")
    assert "install the ghost" in silent and len(silent.strip().split("\n")) == 4
    assert "LIMIT = 10" in section(frame, "Used here")
    assert "def add(" in frame and "def other() -> int" in frame


def test_unreadable_file_is_said(root: Path) -> None:
    gone = Symbol("gone.py", "f", "function", 1, 2)
    assert "gone.py" in intellisense_frame(None, root, gone, budget_tokens=200, count_tokens=count)


def test_uses_prefer_the_place_that_reads() -> None:
    text = "def f():\n    é = 1; x = é\n    x.y.z(x)\n"
    found = {u.dotted: (u.line, u.column) for u in language_of("m.py").uses(text, 1, 3)}
    assert found == {"é": (2, 15), "x": (3, 4), "x.y": (3, 6), "x.y.z": (3, 8)}
    assert language_of("m.py").uses("def (", 1, 1) == []
