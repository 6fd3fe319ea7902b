"""Shows a git diff as an editor does: old and new text of each hunk, within a bound.

In: a diff that git made of a workspace. Out: contents of a tool call. A hunk's lines are in the diff, so no file is
read, and what is sent does not grow with the file. Readers of standard input often have a bound of 64 KB for a message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from acp.helpers import ToolCallContentVariant, text_block, tool_content, tool_diff_content
from acp.schema import ToolCallLocation

from forklock.sandbox.terminal import printable

MOST_BYTES = 32_000
"""Bytes, as JSON, of the contents of one message."""
_MOST_FILES = 50
_HUNK = re.compile(r"@@ -\d+(?:,\d+)? \+(\d+)(?:,\d+)? @@")
_BODY = (" ", "-", "+", "\\")
"""First characters of a hunk's lines; a backslash begins the note that a file ends without a newline."""
_OCTAL = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"t": b"\t"}


@dataclass(slots=True)
class Hunk:
    """One changed place."""

    path: str
    """Below the repository's top."""
    line: int
    """In the new file, from 1."""
    old: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    is_new_file: bool = False


def hunks(diff: str) -> Iterator[Hunk]:
    """Yield the hunks of a diff, in order. Never raises: a line that is no diff's is skipped."""
    path, is_new = "", False
    now: Hunk | None = None
    for line in diff.split("\n"):
        if now is not None and line[:1] in _BODY:
            _add(now, line)
            continue
        if now is not None:
            yield now
            now = None
        found = _HUNK.match(line)
        if found and path:
            now = Hunk(path, max(1, int(found[1])), is_new_file=is_new)
        elif line.startswith("--- "):
            path, is_new = _path(line[4:]), line[4:] == "/dev/null"
        elif line.startswith("+++ ") and line[4:] != "/dev/null":
            path = _path(line[4:])
    if now is not None:
        yield now


def _add(hunk: Hunk, line: str) -> None:
    if line[0] in " -":
        hunk.old.append(line[1:])
    if line[0] in " +":
        hunk.new.append(line[1:])


def paths_of(diff: str) -> list[str]:
    """The files that a diff changes, in order, each once."""
    return list(dict.fromkeys(hunk.path for hunk in hunks(diff)))


def locations(diff: str, root: Path) -> list[ToolCallLocation]:
    """The first changed line of each file below `root`."""
    first: dict[str, int] = {}
    for hunk in hunks(diff):
        first.setdefault(hunk.path, hunk.line)
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
    for hunk in hunks(diff):
        place = inside(root, hunk.path)
        old, new = "\n".join(hunk.old), "\n".join(hunk.new)
        size = _size(old) + _size(new) + 500
        if place is None or size > left:
            skipped += 1
            continue
        left -= size
        found.append(tool_diff_content(str(place), new, None if hunk.is_new_file else old))
    if skipped:
        found.append(tool_content(text_block(f"{skipped} more changed places: `{more}`")))
    return found


def inside(root: Path, path: str) -> Path | None:
    """The place of a path that a diff names; None where it would lie outside of the repository."""
    parts = Path(path).parts
    if not path or "\0" in path or Path(path).is_absolute() or ".." in parts:
        return None
    return root / path


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


def _path(name: str) -> str:
    """A path of a diff's head line, without `a/` or `b/` and without git's quotes."""
    name = name.rstrip("\t")
    if name.startswith('"') and name.endswith('"') and len(name) > 1:
        raw = name[1:-1].encode("utf-8", "surrogateescape")
        plain = _OCTAL.sub(
            lambda m: bytes([int(m[1], 8) & 255]) if len(m[1]) == 3 else _ESCAPES.get(m[1], m[1]), raw
        )
        name = plain.decode("utf-8", "replace")
    return name[2:] if name.startswith(("a/", "b/")) else ""
