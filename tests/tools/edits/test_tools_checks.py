"""Format and lint-fix, with the real ruff."""

from __future__ import annotations

from pathlib import Path

import pytest

import forklock.tools.edits.tidy
from forklock.tools.contract import ToolFault
from forklock.tools.edits.tidy import format_text, lint_fix


def test_formats_only_what_was_formatted() -> None:
    assert format_text("a.py", "y = 2\n", "x=1\n") == "x = 1\n"
    assert format_text("a.py", "y=2\n", "x=1\n") == "x=1\n"
    assert format_text("a.py", None, "x=1\n") == "x=1\n"
    assert format_text("a.md", "y = 2\n", "x=1\n") == "x=1\n"


def test_line_ends_survive() -> None:
    assert format_text("a.py", "y = 2\r\n", "x=1\r\n") == "x = 1\r\n"


def test_text_that_does_not_parse_comes_back() -> None:
    assert format_text("a.py", "y = 2\n", "def f(:\n") == "def f(:\n"
    assert lint_fix("a.py", "y = 2\n", "def f(:\n") == "def f(:\n"


def test_a_new_unused_import_goes_and_an_old_habit_stays() -> None:
    assert lint_fix("a.py", "", "import os\nimport sys\nprint(sys)\n") == "import sys\nprint(sys)\n"
    kept = "import os\nimport sys\nprint(1)\n"
    assert lint_fix("a.py", "import os\n", kept) == kept


def test_the_repos_own_rules_apply(tmp_path: Path) -> None:
    text = "import sys\nimport os\nprint(os, sys)\n"
    (tmp_path / "ruff.toml").write_text('[lint]\nselect = ["E"]\n')
    assert lint_fix("a.py", "", text, root=tmp_path) == text
    (tmp_path / "ruff.toml").write_text('[lint]\nselect = ["I"]\n')
    assert lint_fix("a.py", "", text, root=tmp_path).startswith("import os\nimport sys\n")


def test_a_missing_ruff_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forklock.tools.edits.tidy, "find_ruff", lambda: None)
    with pytest.raises(ToolFault) as caught:
        format_text("a.py", "y = 2\n", "x=1\n")
    assert "pip install ruff" in caught.value.fix
