"""What comes along with a definition's new source in languages with braces: helpers and imports that the file lacks.

Comes in: the file, the definition, the source as it was read. Goes out: splices, or `EditRefused` where another
definition would change. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from forklock.tools.contract import EditRefused
from forklock.tools.edits.braced_splices import File, Splice, holds, moved, tail_of
from forklock.tools.edits.reindent import indent_of
from forklock.tools.edits.source import Import, Written, file_imports
from forklock.tools.languages.outline import Braced, last_row
from forklock.tools.languages.treesitter import Parsed

_FIRST = {
    "comment",
    "line_comment",
    "block_comment",
    "package_clause",
    "inner_attribute_item",
    "hash_bang_line",
}
"""Nodes that stay above a file's first import."""


def inserted(file: File, target: Braced, read: Written) -> list[Splice]:
    """Helpers before the definition (members in its class, others before the outermost one), and imports."""
    holders = [one for one in file.known if one is not target and holds(one.whole, target.whole)]
    outermost = min(holders, key=lambda one: one.whole.start_byte, default=target)
    splices: list[Splice] = []
    for found, scope, before in ((read.members, target.container, target), (read.others, "", outermost)):
        fresh = _fresh(file, found, scope, read.parsed)
        row = before.start_line - 1
        indent = indent_of(file.lines[row])
        made: list[str] = []
        for one, after in pairwise([*fresh, None]):
            assert one is not None
            values = (
                one.kind == "variable" and (after is None or after.kind == "variable") and before is target
            )
            tail = tail_of(read.passage.lines, one.whole)
            made += moved(read, one, one.whole, indent, None)
            made[-1] += tail if tail.strip() in {";", ","} else ""
            made += [] if values and after is not None else [""]
        splices += [Splice(row, row, made)] if made else []
    code = "\n".join(read.parsed.text(one.whole) for one in (*read.targets, *read.members, *read.others))
    return splices + _hoist(file, read.imports, code)


def _fresh(file: File, found: Iterable[Braced], scope: str, written: Parsed) -> list[Braced]:
    """Those that the file does not have yet. One that it has must be the same, or an empty stub."""
    fresh = []
    for one in found:
        places = {f"{scope}.{one.name}" if scope else one.plain, one.plain}
        old = [d for d in file.known if d.plain in places]
        if not old:
            fresh.append(one)
        elif not _stub(one) and not any(_same(file.parsed, d, written, one) for d in old):
            raise EditRefused(
                f"The source changes {old[0].name_path} too. Send one edit for each definition, "
                "and only the named one in it."
            )
    return fresh


def _same(parsed: Parsed, old: Braced, written: Parsed, new: Braced) -> bool:
    return parsed.text(old.node).split() == written.text(new.node).split()


def _stub(one: Braced) -> bool:
    """Without a body, or with nothing but comments in it: a reminder that the definition exists."""
    if one.kind == "variable":
        return False
    return one.body is None or all("comment" in child.type for child in one.body.named_children)


def _hoist(file: File, imports: Sequence[Import], code: str) -> list[Splice]:
    """Imports that the new code uses and the file lacks, after its last one."""
    present = list(file_imports(file.parsed))
    have = {one.text for _, one in present}
    bound = {name for _, one in present for name in one.names}
    words = set(re.findall(r"[A-Za-z_$][\w$]*", code))
    wanted = [_lacking(one, bound) for one in imports if one.text not in have]
    lines = [one.text for one in wanted if one is not None and (not one.names or words & set(one.names))]
    if not lines:
        return []
    if present:
        row = last_row(present[-1][0]) + 1
        return [Splice(row, row, lines)]
    top = next((n for n in file.parsed.root.named_children if n.type not in _FIRST), None)
    row = top.start_point[0] if top is not None else 0
    above = [one for one in file.known if one.head_line - 1 == row]
    row = above[0].start_line - 1 if above else row
    return [Splice(row, row, [*lines, ""])]


def _lacking(one: Import, bound: set[str]) -> Import | None:
    """Without names that are bound already; None where nothing is left."""
    missing = tuple(name for name in one.names if name not in bound)
    if not one.names or len(missing) == len(one.names):
        return one
    listed = re.match(r"(import (?:type )?)\{.*\}( from .*)", one.text)
    if not missing or listed is None:
        return None
    return Import(f"{listed[1]}{{ {', '.join(missing)} }}{listed[2]}", missing)
