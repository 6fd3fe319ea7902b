"""Nobody outside of `tools/languages/` asks which language a file is of: what is wanted is asked of its `Language`."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
_ASKS = re.compile(
    r"\bis_python\b|\bis_braced\b|_SUFFIXES\b.*\.py|\bis (?:not )?PYTHON\b|suffix (?:==|in) [\"'({]\"?\."
)
"""A question for one language by name or by its suffix."""
_WINGS = (
    "tools/edits",
    "tools/index",
    "tools/frame",
    "tools/localise",
    "tools/lsp",
    "tools/frozen",
    "agent/asking",
)


def test_no_wing_asks_for_a_language_by_name() -> None:
    found: dict[str, int] = {}
    for wing in _WINGS:
        for file in sorted((ROOT / wing).rglob("*.py")):
            lines = [line for line in file.read_text("utf-8").splitlines() if _ASKS.search(line)]
            if lines:
                found[str(file.relative_to(ROOT))] = len(lines)
    assert not found
