"""The format and lint-fix hops of a candidate: what a developer's editor would do on saving.

Only where it keeps diffs small: a file is formatted when it was formatted before the edit, and only lint
findings that the edit brought are fixed. A missing ruff is no reason to stop a run.
"""

from __future__ import annotations

from pathlib import Path

from tools.contract import ToolFault
from tools.edits.tidy import format_text, lint_fix


def polish(root: Path, path: str, before: str | None, after: str) -> str:
    """`after`, linted and formatted as the file was; unchanged where that cannot be done."""
    try:
        fixed = lint_fix(path, before, after, root=root)
        return format_text(path, before, fixed, root=root)
    except ToolFault:
        return after
