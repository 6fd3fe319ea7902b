"""Shows a git diff as an editor does: old and new text of each hunk, within a bound.

In: a diff that git made of a workspace. Out: contents of a tool call. A hunk's lines are in the diff, so no file is
read, and what is sent does not grow with the file. Readers of standard input often have a bound of 64 KB for a message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from acp.helpers import ToolCallContentVariant, text_block, tool_content, tool_diff_content
from acp.schema import ToolCallLocation

from forklock.sandbox.terminal import printable
from forklock.tools.edits.hunks import all_hunks_of

MOST_BYTES = 32_000
"""Bytes, as JSON, of the contents of one message."""
_MOST_FILES = 50


def paths_of(diff: str) -> list[str]:
    """The files that a diff changes, in order, each once."""
    return list(dict.fromkeys(hunk.path for hunk in all_hunks_of(diff)))


def locations(diff: str, root: Path) -> list[ToolCallLocation]:
    """The first changed line of each file below `root`."""
    first: dict[str, int] = {}
    for hunk in all_hunks_of(diff):
        first.setdefault(hunk.path, max(1, hunk.new_start))
    places = [(place, line) for path, line in first.items() if (place := inside(root, path))]
    return [ToolCallLocation(path=str(place), line=line) for place, line in places[:_MOST_FILES]]


def contents(diff: str, root: Path, more: str, text: Sequence[str] = ()) -> list[ToolCallContentVariant]:
    """A diff as contents of a tool call, `MOST_BYTES` at most.

    Args:
        more: the command that prints what is left out.
        text: paragraphs that stand before the diff.
    """
    found: list[ToolCallContentVariant] = [tool_content(text_block(part)) for part in text if part]
    left = MOST_BYTES - sum(_size(part) for part in text)
    skipped = 0
    for hunk in all_hunks_of(diff):
        place = inside(root, hunk.path)
        old, new = _whole("\n".join(hunk.old)), _whole("\n".join(hunk.new))
        size = _size(old) + _size(new) + 500
        if place is None or size > left:
            skipped += 1
            continue
        left -= size
        found.append(tool_diff_content(str(place), new, old if hunk.old_path else None))
    if skipped:
        found.append(tool_content(text_block(f"{skipped} more changed places: `{more}`")))
    return found


def inside(root: Path, path: str) -> Path | None:
    """The place of a path that a diff names; None where it would lie outside of the repository."""
    parts = Path(path).parts
    if not path or "\0" in path or Path(path).is_absolute() or ".." in parts:
        return None
    return root / _whole(path)


def fenced(text: str, most: int = 4000) -> str:
    """Foreign text as a block that no editor reads as markup, cut to so many characters."""
    text = printable(text.strip())
    cut = text if len(text) <= most else f"{text[:most]}\n(the rest is cut)"
    fence = "`" * max(3, 1 + _longest_run(re.findall("`+", cut)))
    return f"{fence}\n{cut}\n{fence}"


def inline(text: str, most: int = 200) -> str:
    """Foreign text as one line of code in a sentence."""
    line = " ".join(printable(text, newlines=False).replace("`", "'").split())
    return f"`{line[:most]}…`" if len(line) > most else f"`{line}`"


def _longest_run(runs: Iterable[str]) -> int:
    return max((len(run) for run in runs), default=0)


def _size(text: str) -> int:
    return len(json.dumps(text))


def _whole(text: str) -> str:
    """Text without halves of surrogate pairs, which readers of JSON refuse."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
