"""Search by plain words: what is found first, and that nothing makes it fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forklock.tools.index.files import load_index
from forklock.tools.index.search import Search, search, stems


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    (tmp_path / "cache.py").write_text(
        "class PageCache:\n"
        "    # drops the pages that were used longest ago\n"
        "    def evict(self, count):\n        return self.pages[:count]\n\n"
        "    def lookup(self, key):\n        return self.pages.get(key)\n"
    )
    (tmp_path / "mail.ts").write_text(
        "export class Mailer {\n  sendInvoiceReminder(to: string): void { this.queue.push(to) }\n}\n"
    )
    (tmp_path / "test_cache.py").write_text("def test_evict_pages():\n    PageCache().evict(1)\n")
    (tmp_path / "empty.py").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("question", "first"),
    [
        ("evict pages", "PageCache.evict"),
        ("dropping the page used longest ago", "PageCache.evict"),
        ("remind customers of invoices", "Mailer.sendInvoiceReminder"),
        ("look up a key", "PageCache.lookup"),
    ],
)
def test_the_definition_that_is_meant_comes_first(repo: Path, question: str, first: str) -> None:
    hits = search(repo, question)
    assert hits[0].head.name_path == first
    assert hits == search(repo, question)


def test_nothing_fits(repo: Path) -> None:
    assert search(repo, "zebra") == [] and search(repo, "where is the") == [] and search(repo, "") == []


def test_nothing_to_search(tmp_path: Path) -> None:
    assert search(tmp_path, "anything") == []


def test_limit(repo: Path) -> None:
    assert len(search(repo, "page cache evict lookup", limit=2)) == 2


def test_the_command(repo: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "forklock.tools.commands.main",
        "search",
        "evict",
        "pages",
        "--repo",
        str(repo),
        "--limit",
        "1",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "cache.py:3\tPageCache.evict\tdef evict(self, count)\n"


def test_stems_take_names_apart() -> None:
    assert stems("HTTPServer.parse_requests2x") == ["http", "server", "pars", "request"]


@settings(max_examples=30)
@given(st.text(max_size=80), st.text(max_size=80))
def test_no_text_makes_it_fail(tmp_path_factory: pytest.TempPathFactory, code: str, question: str) -> None:
    root = tmp_path_factory.mktemp("r")
    (root / "a.py").write_text(f"def f():\n    {code}\n", "utf-8", "replace")
    for hit in Search(load_index(root)).ask(question):
        assert hit.score > 0
