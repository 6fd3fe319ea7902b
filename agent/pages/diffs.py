"""The lines of a diff, each with its kind, for colours."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a diff."""

    kind: str
    """`add`, `del`, `hunk`, `file` or ``."""
    text: str


def diff_lines(text: str) -> tuple[Line, ...]:
    return tuple(Line(_kind(line), line) for line in text.splitlines())


def _kind(line: str) -> str:
    if line.startswith(
        ("+++ ", "--- ", "diff ", "index ", "new file", "deleted file", "rename ", "similarity ")
    ):
        return "file"
    return {"+": "add", "-": "del", "@": "hunk"}.get(line[:1], "")
