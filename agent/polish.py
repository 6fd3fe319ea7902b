"""The format and lint-fix hops of a candidate: what a developer's editor would do on saving.

Only where it keeps diffs small: a file is formatted when it was formatted before the edit, and only lint
rules that the repo or the default set enables are fixed. Missing ruff is no reason to stop a run.
"""

from __future__ import annotations

from tools.contract import ToolFault


def polish(path: str, before: str | None, after: str) -> str:
    """`after`, linted and formatted as the file was; unchanged where that cannot be done."""
    try:
        from tools.checks import format_text, lint_fix

        fixed = lint_fix(path, before, after)
        return format_text(path, before, fixed)
    except (ToolFault, ImportError):
        return after
