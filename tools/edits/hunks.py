"""Git's unified diffs as data: parsed, split by file, turned around, and applied to texts in memory.

The only reader of diffs. A line of a hunk is never taken for a head, whatever it says: a candidate could write
`+++ b/x` into a file. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

_HEAD = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@(.*)", re.DOTALL)
_NO_NEWLINE = "\\ No newline at end of file"
_PART = re.compile(r"^(?=diff --git )", re.MULTILINE)
_ADDED = re.compile(r"^diff --git a/(.+) b/\1\nnew file mode ", re.MULTILINE)
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)")
_ESCAPED = {b"a": b"\a", b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r"}


@dataclass(frozen=True, slots=True)
class Hunk:
    """A changed passage. Lines have no newline."""

    old_path: str
    """The file before; "" where it is new."""
    new_path: str
    """The file after; "" where it is removed."""
    start: int
    """First line before, from 1; the line before it where `old` is empty."""
    new_start: int
    lines: tuple[str, ...]
    """Each begins with a blank, `-` or `+`; marks of a missing last newline are left out."""

    @property
    def path(self) -> str:
        return self.new_path or self.old_path

    @property
    def old(self) -> list[str]:
        return [line[1:] for line in self.lines if line[0] != "+"]

    @property
    def new(self) -> list[str]:
        return [line[1:] for line in self.lines if line[0] != "-"]

    @property
    def added(self) -> list[str]:
        return [line[1:] for line in self.lines if line[0] == "+"]

    @property
    def removed(self) -> list[str]:
        return [line[1:] for line in self.lines if line[0] == "-"]

    def touched(self) -> Iterator[int]:
        """Yield the lines of the original that are taken away, or that lines are put after; from 1."""
        line = self.start + (not self.old)
        for one in self.lines:
            if one[0] != " ":
                yield line if one[0] == "-" else max(line - 1, 1)
            line += one[0] != "+"


def hunks_of(diff: str) -> Iterator[Hunk]:
    """Yield the hunks of files that are changed and neither new, removed nor renamed, in the diff's order."""
    return (hunk for hunk in all_hunks_of(diff) if hunk.old_path == hunk.new_path)


def all_hunks_of(diff: str) -> Iterator[Hunk]:
    """Yield the hunks of a git diff, in its order. Binary files and mere moves have none."""
    old = new = ""
    left = right = 0
    head: tuple[int, int] | None = None
    body: list[str] = []
    for line in diff.split("\n"):
        if head is not None and (left > 0 or right > 0):
            mark = line[:1] or " "
            if mark == "\\":
                continue
            body.append(mark + line[1:])
            left -= mark != "+"
            right -= mark != "-"
            if left <= 0 and right <= 0:
                yield Hunk(old, new, head[0], head[1], tuple(body))
                head = None
        elif line.startswith("diff --git "):
            old = new = ""
        elif line.startswith("--- "):
            old = _name(line[4:], "a/")
        elif line.startswith("+++ "):
            new = _name(line[4:], "b/")
        elif (old or new) and (found := _HEAD.match(line)):
            head = int(found[1]), int(found[3])
            left, right = int(found[2] or "1"), int(found[4] or "1")
            body = []


def _name(text: str, side: str) -> str:
    """A path as a head names it: quoted where it holds odd bytes, with a tab behind it where it holds blanks."""
    text = text.rstrip("\r").removesuffix("\t")
    if text.startswith('"') and text.endswith('"'):
        raw = text[1:-1].encode("utf-8", "surrogateescape")
        text = _ESCAPE.sub(_unescaped, raw).decode("utf-8", "surrogateescape")
    return text.removeprefix(side) if text.startswith(side) else ""


def _unescaped(match: re.Match[bytes]) -> bytes:
    said: bytes = match[1]
    return bytes([int(said, 8) & 255]) if len(said) == 3 else _ESCAPED.get(said, said)


def added_files(diff: str) -> list[str]:
    """Return the files that a diff makes."""
    return _ADDED.findall(diff)


def split_off(diff: str, paths: Collection[str]) -> tuple[str, str]:
    """Return the diff without some files, and the diff of those files alone."""
    heads = tuple(f"diff --git a/{path} b/{path}\n" for path in paths)
    parts = _PART.split(diff)
    apart = [part for part in parts if heads and part.startswith(heads)]
    return "".join(part for part in parts if part not in apart), "".join(apart)


def applied(text: str, hunks: list[Hunk]) -> str | None:
    """Return the text with the hunks of its own diff applied; None where one does not fit exactly."""
    lines, shift = text.split("\n"), 0
    for hunk in hunks:
        at = hunk.start - 1 + shift + (not hunk.old)
        if lines[at : at + len(hunk.old)] != hunk.old:
            return None
        lines[at : at + len(hunk.old)] = hunk.new
        shift += len(hunk.new) - len(hunk.old)
    return "\n".join(lines)


def reverted(text: str, hunk: Hunk, *, context: int = 3) -> tuple[str, tuple[int, ...]] | None:
    """Take a hunk back in a text that may have changed since.

    What the hunk made has to stand in the text exactly once, with as much of the context as there is; less context is
    tried where the surroundings have changed.

    Returns:
        The new text, and the lines of the old one (from 1) that change; None where it cannot be done.
    """
    lines = text.split("\n")
    for size in range(context, 0, -1):
        body = _trimmed(hunk, size)
        made, before = [one[1:] for one in body if one[0] != "-"], [one[1:] for one in body if one[0] != "+"]
        if not any(line.strip() for line in made):
            continue
        places = _places(lines, made)
        if len(places) == 1:
            at = places[0]
            after = "\n".join([*lines[:at], *before, *lines[at + len(made) :]])
            return after, tuple(_changed(body, at + 1))
        if places:
            return None
    return None


def _changed(body: list[str], line: int) -> Iterator[int]:
    """Yield the lines that a hunk changed in what it made, which begins at `line`."""
    for one in body:
        if one[0] == "+":
            yield line
        elif one[0] == "-":
            yield max(line - 1, 1)
        line += one[0] != "-"


def _trimmed(hunk: Hunk, size: int) -> list[str]:
    changed = [n for n, line in enumerate(hunk.lines) if line[0] != " "]
    return list(hunk.lines[max(0, changed[0] - size) : changed[-1] + 1 + size]) if changed else []


def _places(lines: list[str], wanted: list[str]) -> list[int]:
    return [at for at in range(len(lines) - len(wanted) + 1) if lines[at : at + len(wanted)] == wanted]


def turned_around(diff: str) -> str:
    """Return the diff that takes a git diff back. It has to change lines of files and nothing else."""
    out: list[str] = []
    run: list[str] = []  # changed lines that follow each other, turned around
    left = right = 0
    for line in diff.split("\n"):
        if left > 0 or right > 0 or line == _NO_NEWLINE:
            mark = line[:1] or " "
            left -= mark in " -"
            right -= mark in " +"
            if mark in "-+":
                run.append({"-": "+", "+": "-"}[mark] + line[1:])
                continue
            if line == _NO_NEWLINE and run:
                run[-1] += f"\n{line}"
                continue
        out += _removals_first(run)
        run = []
        out.append(line if left > 0 or right > 0 or line[:1] in (" ", "\\") else _turned_head(line))
        if found := _HEAD.match(line):
            left, right = int(found[2] or "1"), int(found[4] or "1")
    return "\n".join([*out, *_removals_first(run)])


def _removals_first(run: list[str]) -> list[str]:
    return sorted(run, key=lambda line: line[0] != "-")


def _turned_head(line: str) -> str:
    if found := _HEAD.match(line):
        old, new = line.split(" ")[1:3]
        return f"@@ -{new[1:]} +{old[1:]} @@{found[5]}"
    if line.startswith("index ") and ".." in line:
        ids, blank, mode = line[6:].partition(" ")
        first, _, second = ids.partition("..")
        return f"index {second}..{first}{blank}{mode}"
    return line
