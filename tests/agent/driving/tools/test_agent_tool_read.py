"""`read` and `find`: what they show, where they stop, and what they say of what is not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from toolboxes import Box, Ground


def test_a_file_is_numbered(box: Box) -> None:
    answer = box("read", path="shop.py")
    assert answer.kind == "ok"
    assert answer.text.splitlines()[0] == "shop.py, 11 lines"
    assert " 4 |     for price in prices[1:]:" in answer.text


def test_a_range_is_read_and_says_where_it_is(box: Box) -> None:
    assert box("read", path="shop.py", start=3, end=4).text.splitlines() == [
        "shop.py, lines 3-4 of 11",
        "3 |     result = 0",
        "4 |     for price in prices[1:]:",
    ]
    assert "11 lines" in box("read", path="shop.py", start=400).text


def test_a_long_file_is_capped_and_read_on(box: Box) -> None:
    seen, start = [], 1
    for _ in range(20):
        answer = box("read", path="long.py", start=start)
        assert len(answer.text) < 7000
        seen += [line for line in answer.text.splitlines() if " | value_" in line]
        if "more lines: read(" not in answer.text:
            break
        start = int(answer.text.rpartition("start=")[2].rstrip(")"))
    assert len(seen) == 1000


def test_a_definition_comes_with_what_is_around_it(box: Box) -> None:
    answer = box("read", symbol="total")
    assert answer.text.startswith("shop.py:1-6 total\n1 | def total(prices):")
    assert "def mean(prices)" in answer.text, "what else the file defines"


def test_names_are_taken_as_models_write_them(box: Box) -> None:
    whole = box("read", symbol="total").text
    assert box("read", path="./shop.py", symbol="`total()`").text == whole
    assert box("read", path=f"{box.fork.workdir}/shop.py", symbol="total").text == whole


def test_what_is_missing_is_answered_by_what_is_near(box: Box) -> None:
    assert "Did you mean shop.py" in box("read", path="shp.py").text
    assert "Did you mean docs/notes.md" in box("read", path="notes.md").text
    answer = box("read", path="shop.py", symbol="totl")
    assert answer.kind == "refused"
    assert "total" in answer.text


def test_folders_are_listed(box: Box) -> None:
    top = box("read").text
    assert "docs/ (1 file)" in top
    assert "shop.py" in top
    assert box("read", path="docs").text.splitlines() == ["docs/", "  notes.md"]
    assert ".git" not in box("read").text.replace(".gitignore", "")


def test_what_is_no_text_is_refused(box: Box) -> None:
    answer = box("read", path="picture.png")
    assert answer.kind == "refused"
    assert "not text" in answer.text


@pytest.mark.hostile("sandbox")
@pytest.mark.parametrize(
    "path", ["../secret", "/etc/passwd", "out", "folder/passwd", ".git/config", "a\0b", "pipe"]
)
def test_nothing_outside_is_read(box: Box, tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_text("SECRET")
    (box.fork.root / "out").symlink_to(tmp_path / "secret")
    (box.fork.root / "folder").symlink_to("/etc")
    os.mkfifo(box.fork.root / "pipe")
    answer = box("read", path=path)
    assert answer.kind == "refused"
    assert "SECRET" not in answer.text
    assert "root:" not in answer.text


@pytest.mark.hostile("terminal")
def test_control_characters_are_escapes(box: Box) -> None:
    (box.fork.root / "evil.py").write_text("x = 1  # \x1b]0;title\x07 \u202e\n")
    text = box("read", path="evil.py").text
    assert "\x1b" not in text
    assert "\\x1b]0;title\\x07 \\u202e" in text


@pytest.mark.hostile("damage")
def test_huge_files_and_lines_are_capped(box: Box) -> None:
    (box.fork.root / "line.py").write_text(f"x = '{'a' * 1_000_000}'\n")
    (box.fork.root / "huge.txt").write_text("line\n" * 2_000_000)
    assert len(box("read", path="line.py").text) < 1000
    answer = box("read", path="huge.txt")
    assert answer.kind == "refused"
    assert "larger than" in answer.text
    assert len(box("find", query="aaaa").text) < 7000


# --- find ------------------------------------------------------------------------------------------


def test_a_name_is_found_with_its_uses(box: Box) -> None:
    text = box("find", query="total").text
    assert "defined at:\n  shop.py:1-6 total: def total(prices)" in text
    assert "shop.py:11 in mean: return total(prices)" in text
    assert "test_shop.py:7 in Shop.test_total" in text
    assert "searched: definitions in" in text


def test_kinds_narrow_a_search(box: Box) -> None:
    assert "used at" not in box("find", query="total", kind="definition").text
    assert "defined at" not in box("find", query="total", kind="references").text
    assert "docs/notes.md:6" in box("find", query="total([1])", kind="text").text
    assert box("find", query="total", kind="nonsense").kind == "refused"


def test_text_is_found_and_nothing_is_said_to_be_nothing(box: Box) -> None:
    assert "shop.py:2 in total" in box("find", query="sum of THE prices").text
    nothing = box("find", query="no such words anywhere")
    assert nothing.text.startswith("nothing like")
    assert "the text of" in nothing.text


def test_what_was_written_is_found(box: Box) -> None:
    assert "fresh" not in box("find", query="fresh_name").text.splitlines()[0].replace("fresh_name", "")
    box("edit", path="fresh.py", content="def fresh_name():\n    return 1\n")
    assert "fresh.py:1-2 fresh_name" in box("find", query="fresh_name").text
    box("run", command="printf 'def by_command():\\n    return 1\\n' > made.py")
    assert "made.py:1-2 by_command" in box("find", query="by_command").text
    box("edit", path="fresh.py", delete=True)
    assert "fresh.py" not in box("find", query="fresh_name").text


def test_language_servers_answer_where_they_run(shop_ground: Ground) -> None:
    with shop_ground.rollout(servers=True) as box:
        assert "by the language server" in box("find", query="total").text
        assert "# shop.py:11 in mean" in box("read", symbol="total").text, "callers"
